"""A run as Chrome's trace events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pocketflow_otel.analysis.rows import status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import SpanNode, Trace


def chrome_lines(trace: Trace, name: Callable[[SpanRecord], str]) -> Iterator[str]:
    """Yield the JSON of Chrome's trace events, which Perfetto opens: a track for each branch.

    https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

    Args:
        trace: The run.
        name: Returns what a span is called.
    """
    steps = sorted(trace.walk(), key=lambda step: (step.span.start, step.depth))
    first = steps[0].span.start if steps else 0
    last = max((step.span.end or step.span.start for step in steps), default=0)
    tracks = _Tracks()
    events: list[dict[str, Any]] = [_named("process_name", 0, trace.summary.title)]
    for step in steps:
        track, is_new = tracks.place(step, last)
        if is_new:
            events.append(_named("thread_name", track, "main" if track == 0 else name(step.span)))
        events.append(
            {
                "ph": "X",
                "name": name(step.span),
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
