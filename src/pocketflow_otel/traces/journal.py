"""The journal: one line of JSON for each start and end of a span, written while a run goes.

The first line says which run it is; `{"start": span}` and `{"end": span, "scope": ...}` follow,
the spans as OTLP/JSON has them. A process that dies leaves it; its last line may be cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import count, mapping
from pocketflow_otel.guard import let_through
from pocketflow_otel.traces import otlp_json
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.records import Attributes, SpanRecord

FORMAT: Final = "pocketflow-otel-journal/1"
BEGINNING: Final = f'{{"format":"{FORMAT.partition("/")[0]}/'.encode()
"""How a journal of whatever version begins."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a journal. `resource` is the OTLP/JSON of the process's resource."""

    run_id: str
    trace_id: str
    root_id: str
    start: int
    pid: int
    resource: dict[str, Any]
    resource_schema_url: str = ""


def header_line(header: Header) -> bytes:
    """Return the first line."""
    return _line(
        {
            "format": FORMAT,
            "run_id": header.run_id,
            "trace_id": header.trace_id,
            "root_id": header.root_id,
            "start": header.start,
            "pid": header.pid,
            "resource": header.resource,
            "schema_url": header.resource_schema_url,
        }
    )


def resource_json(attributes: Attributes) -> dict[str, Any]:
    """Return the OTLP/JSON of a resource."""
    return {"attributes": otlp_json.encode_attributes(attributes)}


def start_line(span: SpanRecord) -> bytes:
    """Return the line of a span that started."""
    return _line({"start": otlp_json.encode_span(span), "scope": otlp_json.encode_scope(span.scope)})


def end_line(span: SpanRecord) -> bytes:
    """Return the line of a span that ended."""
    line: dict[str, Any] = {"end": otlp_json.encode_span(span), "scope": otlp_json.encode_scope(span.scope)}
    if span.scope.schema_url:
        line["schema_url"] = span.scope.schema_url
    return _line(line)


def late_line(spans: int) -> bytes:
    """Return the line with the number of spans that were open when the root ended."""
    return _line({"late": spans})


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def read_lines(path: Path, damaged: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield a journal's lines; a last line that was cut off is left out.

    Args:
        path: The journal.
        damaged: Takes the numbers of lines that are no JSON object, which then do no harm.

    Raises:
        TraceError: A line that is not the last is no JSON object, and there is no `damaged`.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as error:
                let_through(error)
                content = None
                if not line.endswith(b"\n"):
                    return
            if isinstance(content, dict):
                yield content
            elif damaged is None:
                raise TraceError(f"{path}, line {number}: no JSON object")
            else:
                damaged.append(number)


def read_header(line: dict[str, Any] | None) -> dict[str, Any]:
    """Return the first line of a journal, checked.

    Raises:
        TraceError: It is none, or of another version.
    """
    if line is None:
        raise TraceError("the journal has no first line")
    if line.get("format") != FORMAT:
        raise TraceError(version_problem(line.get("format"), FORMAT))
    texts = all(isinstance(line.get(name), str) for name in ("run_id", "trace_id", "root_id"))
    if not texts or count(line.get("start")) is None:
        raise TraceError("the journal's first line is damaged")
    return {**line, "resource": mapping(line.get("resource"))}


def version_problem(found: Any, known: str) -> str:
    """Say what is wrong with a format that is not the one we know."""
    known_name, _, version = known.partition("/")
    name, _, number = found.partition("/") if isinstance(found, str) else ("", "", "")
    if name == known_name and number.isdecimal() and int(number) > int(version):
        return f"it was written by a newer pocketflow-otel ({found}; this one reads {known})"
    return f"it is no trace of pocketflow-otel (its format is {found!r}, not {known!r})"
