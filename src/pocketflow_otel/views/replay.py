"""Render a saved run, or one that has just ended, as the live view did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.traces.chronology import in_order
from pocketflow_otel.traces.records import ENDED
from pocketflow_otel.views import wording
from pocketflow_otel.views.status import style_of
from pocketflow_otel.views.styled_text import SEPARATOR, Part, escape
from pocketflow_otel.views.summary import path_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pocketflow_otel.traces.records import EventRecord, SpanRecord
    from pocketflow_otel.traces.trace import Trace
    from pocketflow_otel.views.live import LiveRenderer
    from pocketflow_otel.views.styled_text import Line

_RUNNING: Final = 3
"""Steps that are named as having been running."""


def replay_lines(spans: Sequence[SpanRecord], renderer: LiveRenderer) -> Iterator[tuple[int, Line]]:
    """Yield the lines of a run, each with its time in nanoseconds since the epoch, in the order of the times.

    What never ended has no line for that.
    """
    for time, kind, span, event in in_order(spans):
        if event is not None:
            lines = event_lines(renderer, span, event)
        else:
            lines = renderer.started(span) if kind == "start" else renderer.ended(span)
        for line in lines:
            yield time, line


def event_lines(renderer: LiveRenderer, span: SpanRecord, event: EventRecord) -> Iterable[Line]:
    """Return the lines of an event of a span."""
    attributes = event.attributes
    if event.name == semconv.ATTEMPT_FAILED:
        return renderer.attempt_failed(
            span.span_id,
            event.time,
            attempt=attributes[semconv.ATTEMPT],
            max_attempts=attributes[semconv.ATTEMPT_MAX],
            error=wording.raised_by(event),
            wait=attributes[semconv.ATTEMPT_WAIT],
            place=str(attributes.get(semconv.ATTEMPT_PLACE, "")),
            phase=str(attributes.get(semconv.ATTEMPT_PHASE, semconv.EXEC)),
        )
    if event.name == semconv.ACTION_UNMATCHED:
        action, known = str(attributes[semconv.UNMATCHED_ACTION]), attributes[semconv.UNMATCHED_KNOWN]
        return renderer.action_unmatched(span.span_id, event.time, action, known)
    return ()


def ending(trace: Trace, renderer: LiveRenderer) -> Iterator[Line]:
    """Yield the last lines of a saved run: how it ended, and where its file is."""
    summary, root = trace.summary, trace.root
    if root is not None and summary.status in ENDED:
        yield from renderer.summary(root, late=summary.late)
        yield path_line(summary.path)
        return
    facts = wording.joined(
        [wording.seconds(summary.duration), wording.plural(summary.steps, "step"), was_running(trace)]
    )
    yield Part(summary.status.upper(), style_of(summary.status)), Part(f"{SEPARATOR}{facts}")
    yield path_line(summary.path)


def was_running(trace: Trace) -> str:
    """Return which nodes had begun and not ended; empty if none had."""
    open_steps = [
        escape(step.span.title)
        for step in trace.walk()
        if (step.interrupted or not step.span.end) and step.span.role == "node"
    ]
    if not open_steps:
        return ""
    more = ", ..." if len(open_steps) > _RUNNING else ""
    verb = "running" if trace.summary.status == "running" else "was running"
    return f"{verb} {', '.join(open_steps[:_RUNNING])}{more}"
