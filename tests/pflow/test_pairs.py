"""A comparison of two runs sees all that differs, but for times, ids, and the order of what runs at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import zlib
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.pflow.contents import files_in
from tests.pflow.environments import VERSIONS
from tests.pflow.features import SCENARIOS
from tests.pflow.pairs import Done, differences

if TYPE_CHECKING:
    from collections.abc import Callable

EXPECTED: Final = Path(__file__).parent / "expected"


# What is printed

STDERR: Final = """\
  ✓ greet (9ms)
ok  0.03s · 2 steps · 1 LLM call · 120 tokens · cost $0.00012
slowest greet 0.01s (33%)
trace ~/.pflow/traces/20260101T000000Z-0a1b2c3d.json
Workflow trace saved: /home/ada/.pflow/debug/workflow-trace-0a1b2c3d-greet-20260101-000000-000001.json
"""
ITS_LINES: Final = "".join(STDERR.splitlines(keepends=True)[::4])
"""Without ours."""
OURS: Final = "20260101T000000Z-0a1b2c3d.json"


def done(code: int = 0, stdout: str = "", stderr: str = "", **how: Any) -> Done:
    """Return what came of one run."""
    taken = Done()
    taken.add(subprocess.CompletedProcess([], code, stdout.encode(), stderr.encode()), **how)
    return taken


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"code": 0}, {"code": 2}, id="an exit code"),
        pytest.param({"stdout": "1 line\n"}, {"stdout": "1 line \n"}, id="a byte of stdout"),
        pytest.param({"stdout": "0.1s\n"}, {"stdout": "0.2s\n"}, id="a time on stdout"),
        pytest.param({"stderr": "one\n"}, {"stderr": "one\ntwo\n"}, id="a line more on stderr"),
        pytest.param({"stderr": "one\ntwo\n"}, {"stderr": "two\n"}, id="a line less on stderr"),
        pytest.param({"stderr": "3 nodes, $0.10\n"}, {"stderr": "3 nodes, $0.11\n"}, id="a sum on stderr"),
    ],
)
def test_what_is_printed_otherwise_is_seen(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert len(list(differences(done(**one), done(**other)))) == 1


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_times_and_ids_are_not_seen_where_pflow_prints_them(name: str) -> None:
    one: dict[str, Any] = {name: "0.1s, 3ms\nresume 1a2b3c4d-0000-4000-8000-00000000000a\n"}
    other: dict[str, Any] = {name: "12.34s, 1.1s\nresume a1b2c3d4-0000-4000-8000-00000000000b\n"}

    assert list(differences(done(**one, timed=True), done(**other, timed=True))) == []


def test_our_lines_are_taken_out_of_what_a_traced_run_printed(tmp_path: Path) -> None:
    (tmp_path / OURS).touch()

    traced = done(stderr=STDERR, traces=tmp_path)

    assert list(differences(done(stderr=ITS_LINES), traced)) == []
    assert traced.told == traced.saved == [[OURS]]


def test_our_lines_are_seen_in_what_a_bare_run_printed(tmp_path: Path) -> None:
    assert len(list(differences(done(stderr=STDERR), done(stderr=STDERR, traces=tmp_path)))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "ok",
        "ok  all is well",
        "FAILED at greet",
        "slowest greet 0.01s (33%)",
        f"trace ~/.pflow/traces/{OURS}",
    ],
)
def test_a_line_like_ours_is_left_where_it_is(line: str, tmp_path: Path) -> None:
    traced = done(stderr=f"{STDERR}{line}\n", traces=tmp_path)

    assert traced.stderr == done(stderr=f"{ITS_LINES}{line}\n").stderr


def test_a_trace_that_nobody_told_of_is_seen(tmp_path: Path) -> None:
    (tmp_path / OURS).touch()

    traced = done(stderr=ITS_LINES, traces=tmp_path)

    assert (traced.told, traced.saved) == ([[]], [[OURS]])


# What is left in a home


def batch(*, parallel: bool) -> dict[str, Any]:
    """Return the event of a batch with two items, of which each was a call of a model."""
    timing = {"total_items_ms": 3.5, "avg_item_ms": 1.75, "min_item_ms": 1.5, "max_item_ms": 2.0}
    return {
        "node_id": "at-once" if parallel else "each",
        "duration_ms": 3.5,
        "timestamp": "2026-01-01T00:00:00.000001",
        "node_output": {"count": 2, "batch_metadata": {"parallel": parallel, "timing": timing}},
        "batch_items": [{"index": 0, "llm_prompt": "Say a."}, {"index": 1, "llm_prompt": "Say b."}],
        "llm_prompt": "Say b.",
    }


EACH: Final = batch(parallel=False)
AT_ONCE: Final = batch(parallel=True)
CALLS: Final = [
    {"node_id": "ask", "duration_ms": 2.5},
    {"node_id": "at-once", "batch_item_index": 0},
    {"node_id": "at-once", "batch_item_index": 1},
]
TRACE: Final = {
    "format_version": "2.0.0",
    "execution_id": "1a2b3c4d-0000-4000-8000-00000000000a",
    "start_time": "2026-01-01T00:00:00.000001",
    "final_status": "success",
    "nodes": [{"node_id": "ask"}, EACH, AT_ONCE],
    "shared_after": {"__llm_calls__": CALLS},
    "json_output": {"node_timings": {"ask": 2.5}},
}
EVENTS: Final = [
    {"kind": "meta", "run_id": "1a2b3c4d-0000-4000-8000-00000000000a", "resumed_from": None},
    {"kind": "event", "id": 0, "seq": 0, "parent_id": None, "ancestor_path": [], **AT_ONCE},
]
DOCUMENT: Final = ".pflow/debug/workflow-trace-greet-20260101-000000.json"
LINES: Final = ".pflow/debug/workflow-trace-0a1b2c3d-greet-20260101-000000-000001.json"
CACHE: Final = ".pflow/cache/cache.db"
ROWS: Final = [("k1", "ask", {"response": "yes", "duration_ms": 2.5}), ("k2", "tell", {"stdout": "done"})]


def home_at(home: Path, rows: list[tuple[str, str, Any]] = ROWS) -> Path:
    """Make a home with something of everything that pflow leaves behind."""
    for folder in (".pflow/debug", ".pflow/cache", "work/out", "work/empty"):
        (home / folder).mkdir(parents=True)
    (home / DOCUMENT).write_text(json.dumps(TRACE, indent=2))
    (home / LINES).write_text("".join(f"{json.dumps(event)}\n" for event in EVENTS))
    (home / "work/lines.txt").write_text("took 0.1s\ntook 0.2s\n")
    (home / "work/picture").write_bytes(b"\xff\x00")
    (home / "work/out/summary.md").write_text("- Status: success\n- Duration: 0.1s\n")
    with closing(sqlite3.connect(home / CACHE)) as database, database:
        database.execute(
            "CREATE TABLE cache_entries (cache_key, node_id, output BLOB, output_hash, created_at)"
        )
        database.executemany(
            "INSERT INTO cache_entries VALUES (?, ?, ?, '0a1b', 1.5)",
            [(key, node, zlib.compress(json.dumps(output).encode())) for key, node, output in rows],
        )
    return home


def edited(name: str, old: str, new: str) -> Callable[[Path], object]:
    """Return what puts one text in place of another, in a file."""

    def change(home: Path) -> None:
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new, 1))

    return change


def with_trace(**other: Any) -> Callable[[Path], object]:
    """Return what writes a trace of which something is different."""
    return lambda home: (home / DOCUMENT).write_text(json.dumps(TRACE | other, indent=2))


def with_row(statement: str, *values: Any) -> Callable[[Path], object]:
    """Return what changes the database."""

    def change(home: Path) -> None:
        with closing(sqlite3.connect(home / CACHE)) as database, database:
            database.execute(statement, values)

    return change


def turned(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch whose items are in another order."""
    return batch | {"batch_items": batch["batch_items"][::-1]}


SEEN: Final[dict[str, Callable[[Path], object]]] = {
    "a byte of a text": edited("work/lines.txt", "0.1s", "0.3s"),
    "the end of a text": edited("work/lines.txt", "0.2s\n", "0.2s"),
    "what is no text": lambda home: (home / "work/picture").write_bytes(b"\xff\x01"),
    "a missing file": lambda home: (home / "work/lines.txt").unlink(),
    "an extra file": lambda home: (home / "work/empty/file").touch(),
    "a missing folder": lambda home: (home / "work/empty").rmdir(),
    "a trace more": lambda home: (home / LINES.replace("-000001", "-000002")).touch(),
    "what a report says": edited("work/out/summary.md", "success", "failed"),
    "a value": with_trace(final_status="failed"),
    "a value that seems to be an id": edited(DOCUMENT, '"node_id": "ask"', '"node_id": "asked"'),
    "a version": with_trace(format_version="2.0.1"),
    "the type of a time": with_trace(start_time=1.5),
    "the type of a duration": edited(DOCUMENT, '"duration_ms": 3.5', '"duration_ms": null'),
    "a duration of another node": with_trace(json_output={"node_timings": {"tell": 2.5}}),
    "the order of a list": with_trace(nodes=[EACH, {"node_id": "ask"}, AT_ONCE]),
    "the order of keys": lambda home: (home / DOCUMENT).write_text(json.dumps(TRACE, sort_keys=True)),
    "the order of items": with_trace(nodes=[{"node_id": "ask"}, turned(EACH), AT_ONCE]),
    "an item": edited(LINES, '"index": 1', '"index": 2'),
    "a prompt that is no item's": edited(LINES, '}], "llm_prompt": "Say b."', '}], "llm_prompt": "Say c."'),
    "an event": edited(LINES, '"seq": 0', '"seq": 1'),
    "an event more": lambda home: (home / LINES).write_text(f"{(home / LINES).read_text()}{{}}\n"),
    "a run that was resumed": edited(LINES, '"resumed_from": null', '"resumed_from": "1a2b"'),
    "a row less": with_row("DELETE FROM cache_entries WHERE cache_key = 'k1'"),
    "a row's key": with_row("UPDATE cache_entries SET cache_key = 'k3' WHERE cache_key = 'k1'"),
    "a row's output": with_row("UPDATE cache_entries SET output = ?", zlib.compress(b"{}")),
    "a table more": with_row("CREATE TABLE more (cache_key)"),
    "an index more": with_row("CREATE INDEX of_nodes ON cache_entries (node_id)"),
}

UNSEEN: Final[dict[str, Callable[[Path], object]]] = {
    "times": with_trace(start_time="2026-01-01T00:00:00"),
    "durations": edited(DOCUMENT, '"duration_ms": 3.5', '"duration_ms": 12.25'),
    "durations of nodes": with_trace(json_output={"node_timings": {"ask": 3.5}}),
    "durations of items": edited(LINES, '"min_item_ms": 1.5', '"min_item_ms": 1.25'),
    "ids of runs": edited(LINES, "1a2b3c4d-0000", "a1b2c3d4-0000"),
    "when a trace began": lambda home: (home / LINES).rename(home / LINES.replace("-000001", "-000002")),
    "when a report was made": edited("work/out/summary.md", "0.1s", "12ms"),
    "when a row was made": with_row("UPDATE cache_entries SET created_at = 2.5, output_hash = 'a0b1'"),
    "the order of what runs at once": with_trace(nodes=[{"node_id": "ask"}, EACH, turned(AT_ONCE)]),
    "the order of calls of models at once": with_trace(
        shared_after={"__llm_calls__": [CALLS[0], *CALLS[:0:-1]]}
    ),
    "which of these calls came last": edited(
        LINES, '}], "llm_prompt": "Say b."', '}], "llm_prompt": "Say a."'
    ),
    "what the database has not yet taken in": lambda home: (home / f"{CACHE}-shm").touch(),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in SEEN.items()])
def test_what_a_run_leaves_otherwise_is_seen(change: Callable[[Path], object], tmp_path: Path) -> None:
    assert len(differing(tmp_path, change)) == 1


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in UNSEEN.items()])
def test_what_differs_from_run_to_run_is_not_seen(change: Callable[[Path], object], tmp_path: Path) -> None:
    assert differing(tmp_path, change) == []


def test_the_order_of_rows_is_not_seen(tmp_path: Path) -> None:
    bare, traced = home_at(tmp_path / "bare"), home_at(tmp_path / "traced", rows=ROWS[::-1])

    assert dict(files_in(bare)) == dict(files_in(traced))


def differing(folder: Path, change: Callable[[Path], object]) -> list[str]:
    """Return the differences between a home and one like it that was changed."""
    bare, traced = home_at(folder / "bare"), home_at(folder / "traced")
    change(traced)
    return list(differences(Done(files=dict(files_in(bare))), Done(files=dict(files_in(traced)))))


# What is kept of traces


def test_each_kept_tree_is_a_scenario_s_and_other_than_the_one_before() -> None:
    kept: dict[str, list[str]] = {}
    for version in VERSIONS:
        for path in sorted(EXPECTED.glob(f"*@{version}.txt")):
            kept.setdefault(path.name.partition("@")[0], []).append(path.read_text(encoding="utf-8"))

    assert kept.keys() == {scenario.name for scenario in SCENARIOS}
    assert [
        name for name, trees in kept.items() for one, next_one in pairwise(trees) if one == next_one
    ] == []
