"""Put together the runs that arrive as finished spans."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.export.span_records import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.traces.records import SpanRecord

_MAX_TRACES: Final = 1_000
"""Traces of which spans are kept while their run has not ended; the oldest go first."""
_MAX_SPANS: Final = 100_000
"""Spans kept of one trace: one that never ends must not fill the memory."""


class RunAssembler:
    """Collects finished spans, of any thread, until the root of their run, which ends last, arrives."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[SpanRecord]] = OrderedDict()
        self._lock = threading.RLock()

    def add(self, spans: Iterable[ReadableSpan]) -> Iterator[tuple[ReadableSpan, list[SpanRecord]]]:
        """Take spans, and yield each run that is now complete: its root, and all its spans."""
        for span in spans:
            run = self._add(record_of(span))
            if run:
                yield span, run

    def _add(self, span: SpanRecord) -> list[SpanRecord]:
        """Keep a span, or return the run it completes."""
        with self._lock:
            waiting = self._waiting.setdefault(span.trace_id, deque(maxlen=_MAX_SPANS))
            waiting.append(span)
            if len(self._waiting) > _MAX_TRACES:
                self._waiting.popitem(last=False)
            if semconv.RUN_ID not in span.attributes or semconv.FLOW_NESTED in span.attributes:
                return []
            # Taken out first: whoever interrupts the rest, in this thread too, may add to what waits.
            del self._waiting[span.trace_id]
            inside = _below(span.span_id, waiting)
            others = [other for other in waiting if other.span_id not in inside]
            if others:
                later = self._waiting.setdefault(span.trace_id, deque(maxlen=_MAX_SPANS))
                later.extendleft(reversed(others))
            return [member for member in waiting if member.span_id in inside]

    def clear(self) -> None:
        """Forget what is incomplete."""
        with self._lock:
            self._waiting.clear()


def _below(root_id: str, spans: Iterable[SpanRecord]) -> set[str]:
    """Return the ids of the span `root_id` and all below it, whichever of them ended first."""
    children: defaultdict[str, list[str]] = defaultdict(list)
    for span in spans:
        children[span.parent_id].append(span.span_id)
    below, waiting = {root_id}, [root_id]
    while waiting:
        found = children[waiting.pop()]
        below.update(found)
        waiting += found
    return below
