"""The directory of trace files: make one from a journal."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.traces import journal, otlp
from pocketflow_otel.traces.model import ScopeRecord, SpanRecord

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = "pocketflow-otel/1"
_IN_MEMORY: Final = 4_000_000
"""Bytes of a part of a trace file that are kept in memory; a larger part waits on disk."""

_SHOWN: Final = ("flow", "node")
"""The spans that have a line of their own in the timeline."""


def finish(path: Path, status: str | None = None) -> Path:
    """Make the trace file of a journal, put it in its place at once, and remove the journal.

    Works in bounded memory, however long the run was.

    Args:
        path: The journal.
        status: The run's, when its root's end does not tell (`interrupted`).

    Returns:
        The trace file.

    Raises:
        OSError: The disk is full, or the directory is gone; the journal is still there.
        ValueError: The journal is damaged.
    """
    target = path.with_suffix(".json")
    draft = path.with_suffix(".tmp")
    with ExitStack() as stack:
        timeline, spans = (stack.enter_context(_part(path.parent)) for _ in range(2))
        head = _write_parts(path, timeline, spans, status)
        stack.callback(draft.unlink, missing_ok=True)
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            file.write(json.dumps(head, ensure_ascii=False, indent=1)[:-2])
            file.write(',\n "events": [\n')
            _append(timeline, file)
            file.write('\n ],\n "resourceSpans": [')
            _append(spans, file)
            file.write("]\n}\n")
        draft.replace(target)
    path.unlink(missing_ok=True)
    return target


def _part(directory: Path) -> SpooledTemporaryFile[str]:
    return SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", dir=str(directory))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _append(part: IO[str], file: IO[str]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, file)


def _write_parts(path: Path, timeline: IO[str], spans: IO[str], status: str | None) -> dict[str, Any]:
    """Write the events and the spans of a journal; return the fields before them."""
    lines = journal.read_lines(path)
    header = next(lines, None)
    if header is None or header.get("format") != journal.FORMAT:
        raise ValueError(f"{path}: no journal of this version")
    run = _Run(header["root_id"], header["start"])
    separator = ""
    resource = json.dumps(header["resource"], ensure_ascii=False)
    schema = json.dumps(header.get("schema_url", ""))
    current: object = None
    for line in lines:
        for event in run.events_of(line):
            timeline.write(f"{separator}  {json.dumps(event, ensure_ascii=False)}")
            separator = ",\n"
        if "end" in line:
            scope = (line["scope"], line.get("schema_url", ""))
            if scope != current:
                spans.write(
                    f'\n  {{"resource": {resource}, "schemaUrl": {schema}, "scopeSpans": [{{"scope": '
                    if current is None
                    else '\n  ]},\n  {"scope": '
                )
                spans.write(f'{json.dumps(scope[0])}, "schemaUrl": {json.dumps(scope[1])}, "spans": [\n')
            else:
                spans.write(",\n")
            current = scope
            spans.write(f"   {json.dumps(line['end'], ensure_ascii=False)}")
    if current is not None:
        spans.write("\n  ]}]}")
    return run.head(header, status)


@dataclass(slots=True)
class _Run:
    """Turns a journal's lines into the timeline, and counts."""

    root_id: str
    start: int
    root: SpanRecord | None = None
    end: int = 0
    steps: int = 0
    flows: int = 0
    errors: int = 0
    late: int = 0
    depths: dict[str, int] = field(default_factory=dict)

    def events_of(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        self.late = line.get("late", self.late)
        content = line.get("start") or line.get("end")
        if content is None:
            return []
        span = otlp.decode_span(content, ScopeRecord(line["scope"].get("name", "")))
        return self._started(span) if "start" in line else self._ended(span)

    def _started(self, span: SpanRecord) -> list[dict[str, Any]]:
        depth = self.depths[span.span_id] = self.depths.get(span.parent_id, -1) + (span.role in _SHOWN)
        if span.span_id == self.root_id:
            self.root = span
        if span.role not in _SHOWN:
            return []
        event = self._event(f"{span.role}_start", span, span.start, depth)
        if span.role == "node":
            types = json.loads(span.attributes.get(semconv.SHARED_SCHEMA, "{}"))
            event |= {"shared_keys": list(types), "shared_types": types}
            event["visit"] = span.attributes.get(semconv.NODE_VISIT, 1)
        return [event]

    def _ended(self, span: SpanRecord) -> list[dict[str, Any]]:
        depth = self.depths.pop(span.span_id, 0)
        self.end = max(self.end, span.end)
        if span.span_id == self.root_id:
            self.root = span
        if not span.role:
            return []
        if span.role not in _SHOWN:
            return self._errors(span, depth)
        self.steps += span.role == "node"
        self.flows += span.role == "flow"
        event = self._event(f"{span.role}_complete", span, span.end, depth)
        event["duration"] = round(span.duration, 6)
        attributes = span.attributes
        action = attributes.get(semconv.NODE_ACTION, attributes.get(semconv.FLOW_ACTION))
        if action is not None:
            event["action"] = action
        if span.role == "node":
            event["attempts"] = attributes.get(semconv.NODE_ATTEMPTS)
            event["fallback"] = attributes.get(semconv.NODE_FALLBACK)
            event["changes"] = {
                "added": list(attributes.get(semconv.SHARED_ADDED_KEYS, ())),
                "modified": list(attributes.get(semconv.SHARED_MODIFIED_KEYS, ())),
                "removed": list(attributes.get(semconv.SHARED_REMOVED_KEYS, ())),
            }
        event["status"] = "failed" if span.failed else "ok"
        kept = {name: value for name, value in event.items() if value is not None}
        return [*self._errors(span, depth), kept]

    def _errors(self, span: SpanRecord, depth: int) -> list[dict[str, Any]]:
        """An `error` event for each exception where it was raised, not where it passed through."""
        found = []
        for raised in span.events:
            if raised.name == semconv.EXCEPTION_EVENT:
                self.errors += 1
                event = self._event("error", span, raised.time, depth)
                event["error_type"] = raised.attributes.get(semconv.EXCEPTION_TYPE)
                event["error_message"] = raised.attributes.get(semconv.EXCEPTION_MESSAGE, "")
                event["context"] = ".".join(
                    filter(None, (span.title, str(span.attributes.get(semconv.ERROR_PHASE, ""))))
                )
                found.append(event)
        return found

    def _event(self, kind: str, span: SpanRecord, time: int, depth: int) -> dict[str, Any]:
        event: dict[str, Any] = {"type": kind, "name": span.title}
        if span.role == "node":
            event["class"] = span.attributes.get(semconv.NODE_CLASS)
        return event | {
            "timestamp": round(time / 1e9, 6),
            "elapsed": round((time - self.start) / 1e9, 6),
            "depth": depth,
            "span_id": span.span_id,
        }

    def head(self, header: dict[str, Any], status: str | None) -> dict[str, Any]:
        root = self.root
        if status is None and root is not None and root.end:
            status = "failed" if root.failed else "ok"
        end = root.end if root is not None and root.end else self.end
        head: dict[str, Any] = {
            "format": FORMAT,
            "run_id": header["run_id"],
            "flow": (root.title if root is not None else "") or None,
            "starts_at": root.attributes.get(semconv.FLOW_START_NODE) if root is not None else None,
            "status": status or "interrupted",
            "start_time": datetime.fromtimestamp(self.start / 1e9, UTC).isoformat(timespec="milliseconds"),
            "duration": round(max(end - self.start, 0) / 1e9, 6),
            "trace_id": header["trace_id"],
            "summary": {
                "node_executions": self.steps,
                "flows_executed": self.flows,
                "errors": self.errors,
            },
        }
        if self.late:
            head["summary"]["spans_still_open"] = self.late
        return head
