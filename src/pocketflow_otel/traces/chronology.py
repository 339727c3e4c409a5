"""The starts, events and ends of a run's spans, in the order in which they happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pocketflow_otel.traces.trace import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pocketflow_otel.traces.records import EventRecord, SpanRecord

_BETWEEN: Final = 1_000_000
"""More than the depth of any span: sorts events after starts and before ends."""

Occurrence = tuple[int, Literal["start", "event", "end"], "SpanRecord", "EventRecord | None"]
"""When, what, to which span; the event itself."""


def in_order(spans: Sequence[SpanRecord]) -> Iterator[Occurrence]:
    """Yield the starts, events and ends of a run's spans by their times; what never ended has no end."""
    found: list[tuple[int, Occurrence]] = []
    for root in tree(spans):
        for node in root.walk():
            span, depth = node.span, node.depth
            # Of what starts in one instant, the outer comes first; of what ends in one, the inner.
            found.append((depth, (span.start, "start", span, None)))
            found += [(_BETWEEN, (event.time, "event", span, event)) for event in span.events]
            if span.end and not node.interrupted:
                found.append((2 * _BETWEEN - depth, (span.end, "end", span, None)))
    found.sort(key=lambda entry: (entry[1][0], entry[0]))
    return (occurrence for _, occurrence in found)
