"""Put together the runs that arrive as finished spans."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.export.records import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.traces.model import SpanRecord

_MAX_TRACES: Final = 1_000
"""Traces of which spans are kept while their run has not ended; the oldest go first."""


class FinishedRuns:
    """Collects finished spans until the root of their run, which ends last, arrives."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[SpanRecord]] = OrderedDict()

    def add(self, spans: Iterable[ReadableSpan]) -> Iterator[tuple[ReadableSpan, list[SpanRecord]]]:
        """Take spans, and yield each run that is now complete: its root, and all its spans."""
        for span in spans:
            record = record_of(span)
            waiting = self._waiting.setdefault(record.trace_id, [])
            waiting.append(record)
            if semconv.RUN_ID in record.attributes and semconv.FLOW_NESTED not in record.attributes:
                run = _below(record.span_id, waiting)
                inside = {member.span_id for member in run}
                waiting[:] = [other for other in waiting if other.span_id not in inside]
                yield span, run
            if not waiting:
                del self._waiting[record.trace_id]
            elif len(self._waiting) > _MAX_TRACES:
                self._waiting.popitem(last=False)

    def clear(self) -> None:
        """Forget what is incomplete."""
        self._waiting.clear()


def _below(root_id: str, spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    """Return the span `root_id` and all below it. Children end, and so come, before parents."""
    inside = {root_id}
    found = []
    for span in reversed(spans):
        if span.span_id in inside or span.parent_id in inside:
            inside.add(span.span_id)
            found.append(span)
    return found[::-1]
