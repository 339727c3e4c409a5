"""Find the times of steps and batch items that a trace of pflow leaves out.

It says when a step ended, and how long it took; of an item of a batch only how long. What is missing
is laid out as pflow runs it: steps one after the other, and of a batch so many items at once as it
has places, in the order of their numbers.
"""

from __future__ import annotations

from heapq import heapreplace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pocketflow_otel.formats.pflow.recorded_run import RecordedBatch, RecordedItem, RecordedStep


class Interval(NamedTuple):
    """From when to when, in nanoseconds since the epoch."""

    start: int
    end: int


def of_steps(steps: Sequence[RecordedStep], within: Interval) -> Iterator[tuple[RecordedStep, Interval]]:
    """Yield the steps of a workflow with their times; one that runs still ends with what it lies in."""
    free = within.start
    for step in steps:
        start, end = free, within.end
        if step.running:
            start = max(free, step.begun or free)
        elif step.ended is not None:
            end = step.ended
            start = max(free, end - step.duration)
        else:
            end = free + step.duration
        found = _inside(start, end, within)
        yield step, found
        free = found.end


def of_items(batch: RecordedBatch, within: Interval) -> Iterator[tuple[RecordedItem, Interval]]:
    """Yield the items of a batch with their times, in the order of their numbers."""
    items = sorted(batch.items, key=lambda item: item.index)
    begin = within.start
    for item in items:
        if item.index < 0:  # A call that warms a cache up, before any item begins
            found = _inside(begin, begin + item.duration, within)
            yield item, found
            begin = found.end
    # A nanosecond apart: who sorts items by their start finds them in the order of their numbers.
    places = [min(begin + number, within.end) for number in range(batch.places)]
    for item in items:
        if item.index >= 0:
            end = _last_end(item)
            start = places[0] if end is None else end - item.duration
            found = _inside(start, start + item.duration if end is None else end, within)
            heapreplace(places, found.end)
            yield item, found


def _last_end(item: RecordedItem) -> int | None:
    """Return when the last step of the workflow in an item ended; the trace has that of steps alone."""
    steps = item.workflow.steps if item.workflow is not None else ()
    return max((step.ended for step in steps if step.ended is not None), default=None)


def _inside(start: int, end: int, within: Interval) -> Interval:
    start = min(max(start, within.start), within.end)
    return Interval(start, min(max(end, start), within.end))


def last_moment(steps: Sequence[RecordedStep], least: int) -> int:
    """Return the last sign of life in steps: when one of them began or ended."""
    waiting, last = list(steps), least
    while waiting:
        step = waiting.pop()
        last = max(last, step.begun or 0, step.ended or 0)
        waiting += step.workflow.steps if step.workflow is not None else ()
    return last
