"""What pflow leaves behind, as text: all but what differs from one bare run to the next."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zlib
from collections import Counter
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMES: Final = (
    (re.compile(rb"(?<![\d.])(?:\d+\.\d+s|\d+(?:\.\d+)?ms)\b"), b"<took>"),
    (re.compile(rb"(?<=_duration_seconds: )\d+\.\d+"), b"0"),
    (re.compile(rb'(?<="duration_ms": )\d+\.\d+'), b"0"),
    (re.compile(rb'(?<=": )\d+\.\d{8,}(?=,?\n)'), b"0"),  # Of a node: its name is the key.
    (re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?"), b"<time>"),
    (re.compile(rb"(?<=-)\d{8}-\d{6}(?:-\d{6})?(?=\.json)"), b"<time>"),  # Of a trace file.
    (re.compile(rb"\bexec-\d{10}-[0-9a-f]{8}\b"), b"exec-<id>"),  # Of a node that was run alone.
    (re.compile(rb"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), b"<id>"),
)
_VARYING: Final = frozenset(
    {
        "avg_item_ms",
        "cache_age_sec",
        "created_at",
        "duration_ms",
        "end_time",
        "execution_id",
        "generated_at",
        "last_core_scan",
        "max_item_ms",
        "min_item_ms",
        "output_hash",  # The output has durations.
        "response_time",
        "resumed_from",
        "run_id",
        "start_time",
        "timestamp",
        "total_items_ms",
        "trace_path",
    }
)
"""Keys of pflow's files, and columns of its database, whose values differ from run to run."""
_DURATIONS: Final = "node_timings"
"""The key of an object with a duration for each node."""
_MODEL_CALLS: Final = "__llm_calls__"
_PROMPT: Final = "llm_prompt"


def without_times(output: bytes) -> bytes:
    """Take the times and ids out of an output."""
    for pattern, replacement in _TIMES:
        output = pattern.sub(replacement, output)
    return output


def files_in(home: Path) -> Iterator[tuple[str, str]]:
    """Yield what a home has: the path of each file and folder, and what is in it, without times."""
    seen: Counter[str] = Counter()
    for path in sorted(home.rglob("*")):
        if path.name.endswith((".db-wal", ".db-shm")):
            continue  # Part of the database, and gone when that has been read.
        name = without_times(str(path.relative_to(home)).encode()).decode()
        seen[name] += 1
        if seen[name] > 1:  # The time alone told it from another.
            name = f"{name} ({seen[name]})"
        yield (name, _content(path)) if path.is_file() else (f"{name}/", "a folder")


def _content(path: Path) -> str:
    if path.suffix == ".db":
        return "\n".join(_rows(path))
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return hashlib.sha256(content).hexdigest()
    if path.suffix in (".json", ".jsonl"):
        return _records(text)
    return without_times(content).decode() if _tells_of_runs(path) else text


def _tells_of_runs(path: Path) -> bool:
    """Tell whether a text is a report of pflow's, or a workflow in its library, which notes the last run."""
    return path.with_name("summary.md").exists() or ".pflow" in path.parts


def _records(text: str) -> str:
    """Return a file of JSON, or of a JSON document a line, as its newest pflow's traces are."""
    for documents in ([text], text.splitlines()):
        try:
            return "\n".join(_text(_masked(json.loads(document))) for document in documents)
        except ValueError:
            continue
    return text


def _rows(path: Path) -> Iterator[str]:
    """Yield a database's schema and its rows: these sorted, since threads write them."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        schema = database.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
        ).fetchall()
        yield from (_text(list(row)) for row in schema)
        for table in [row["name"] for row in schema if row["type"] == "table"]:
            rows = database.execute(f'SELECT * FROM "{table}"')
            yield from sorted(f"{table}: {_text(_masked(_columns(row)))}" for row in rows)


def _columns(row: sqlite3.Row) -> dict[str, Any]:
    """Return a row by column; what a step put out is compressed JSON."""
    return {
        name: json.loads(zlib.decompress(value)) if isinstance(value, bytes) else value
        for name, value in dict(row).items()
    }


def _masked(value: Any) -> Any:
    """Return a value with its types in place of what varies; its order is kept, but for items run at once."""
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if not isinstance(value, dict):
        return value
    masked: dict[str, Any] = {
        key: _kind(each) if key in _VARYING else _masked(each) for key, each in value.items()
    }
    if isinstance(durations := masked.get(_DURATIONS), dict):
        masked[_DURATIONS] = {node: _kind(each) for node, each in durations.items()}
    if _MODEL_CALLS in masked:
        masked[_MODEL_CALLS] = list(_in_order(masked[_MODEL_CALLS]))
    if "batch_items" in masked and _at_once(masked):
        items = masked["batch_items"] = sorted(masked["batch_items"], key=lambda item: item["index"])
        if masked.get(_PROMPT) in [item.get(_PROMPT, "") for item in items]:
            masked[_PROMPT] = "one of its items'"  # The one that was sent last.
    return masked


def _at_once(event: dict[str, Any]) -> bool:
    """Tell whether the items of a batch are run at once, and end in any order."""
    output = event.get("node_output") or {}
    return bool(output.get("batch_metadata", {}).get("parallel"))


def _in_order(calls: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield calls of models, those of a batch by its items; they do not say whether these ran at once."""
    for _, of_node in groupby(calls, key=lambda call: call["node_id"]):
        yield from sorted(of_node, key=lambda call: call.get("batch_item_index", 0))


def _kind(value: Any) -> str:
    """Return what of a value that varies must not: its type, and of a text all but times, ids or digits."""
    if not isinstance(value, str):
        return type(value).__name__
    timeless = without_times(value.encode()).decode()
    return timeless if timeless != value else re.sub("[0-9a-f]", "0", value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
