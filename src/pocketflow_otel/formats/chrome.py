"""A run for other tools: OTLP/JSON, Chrome's trace events, CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.analysis.rows import COLUMNS, rows, status
from pocketflow_otel.traces import otlp_json
from pocketflow_otel.views.span_line import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import SpanNode, Trace

SPANS: Final = 512
"""Spans of one request, as the SDK's own batches have them."""


def request(trace: Trace, spans: Sequence[SpanRecord]) -> dict[str, Any]:
    """Return spans of a run as an OTLP/JSON `ExportTraceServiceRequest`, with their ids and times.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    groups: dict[int, dict[str, Any]] = {}
    known: dict[str, int] = {}
    for span in spans:
        scope = otlp_json.encode_scope(span.scope)
        place = known.setdefault(json.dumps(scope, sort_keys=True), len(known))
        groups.setdefault(place, {"scope": scope, "spans": []})["spans"].append(otlp_json.encode_span(span))
    resource = {"resource": trace.resource, "scopeSpans": list(groups.values())}
    if trace.schema_url:
        resource["schemaUrl"] = trace.schema_url
    return {"resourceSpans": [resource] if groups else []}


def requests(trace: Trace, size: int = SPANS) -> Iterator[tuple[SpanRecord, ...]]:
    """Yield the ended spans of a run by the start, so many at a time."""
    spans = [step.span for step in trace.walk() if step.span.end]
    for first in range(0, len(spans), size):
        yield tuple(spans[first : first + size])


def otlp_document(trace: Trace) -> Iterator[str]:
    """Yield one OTLP/JSON request with the whole run."""
    spans = [span for batch in requests(trace) for span in batch]
    yield json.dumps(request(trace, spans)) + "\n"


def otlp_lines(trace: Trace) -> Iterator[str]:
    """Yield lines of OTLP/JSON, a request each, as the collector's file receiver reads them."""
    for batch in requests(trace):
        yield json.dumps(request(trace, batch)) + "\n"


def table(trace: Trace) -> Iterator[str]:
    """Yield CSV: a row for each span. Lists are joined by spaces, values are JSON."""
    line = io.StringIO()
    writer = csv.writer(line)
    for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows(trace)]:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def chrome(trace: Trace) -> Iterator[str]:
    """Yield the JSON of Chrome's trace events, which Perfetto opens: a track for each branch.

    https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    """
    steps = sorted(trace.walk(), key=lambda step: (step.span.start, step.depth))
    first = steps[0].span.start if steps else 0
    last = max((step.span.end or step.span.start for step in steps), default=0)
    tracks = _Tracks()
    events: list[dict[str, Any]] = [_named("process_name", 0, trace.summary.title)]
    for step in steps:
        track, is_new = tracks.place(step, last)
        if is_new:
            events.append(_named("thread_name", track, "main" if track == 0 else name_of(step.span)))
        events.append(
            {
                "ph": "X",
                "name": name_of(step.span),
                "cat": step.span.role or "span",
                "ts": (step.span.start - first) / 1e3,
                "dur": ((step.span.end or last) - step.span.start) / 1e3,
                "pid": 1,
                "tid": track,
                "args": {"status": status(step)} | dict(step.span.attributes),
            }
        )
    document = {
        "traceEvents": events,
        "otherData": {"run_id": trace.summary.run_id, "trace_id": trace.summary.trace_id},
    }
    yield json.dumps(document, default=str) + "\n"


def _named(what: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": 1, "tid": track, "args": {"name": name}}


class _Tracks:
    """Gives each span a track on which it overlaps with nothing but what it lies in.

    Spans come by their start. One goes on its parent's track unless a sibling is busy there; else on
    the first track that is free, or a new one.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        self._placed: dict[str, int] = {}
        self._busy: dict[str, int] = {}

    def place(self, step: SpanNode, last: int) -> tuple[int, bool]:
        """Return the track of a span, and whether that is a new one."""
        span = step.span
        end = span.end or last
        track = self._placed.get(span.parent_id)
        if track is not None and self._busy.get(span.parent_id, 0) <= span.start:
            self._busy[span.parent_id] = end
            self._free[track] = max(self._free[track], end)
            is_new = False
        else:
            track, is_new = self._branch(span.start, end)
        self._placed[span.span_id] = track
        return track, is_new

    def _branch(self, start: int, end: int) -> tuple[int, bool]:
        for track, free in enumerate(self._free):
            if free <= start:
                self._free[track] = end
                return track, False
        self._free.append(end)
        return len(self._free) - 1, True
