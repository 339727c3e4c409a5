"""A run to be pasted into an issue, or into a chat with a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pocketflow_otel import semconv
from pocketflow_otel.views import tree, wording
from pocketflow_otel.views.span_line import name_of
from pocketflow_otel.views.styled_text import escape, render
from pocketflow_otel.views.trouble import steps_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import Trace


def markdown_lines(trace: Trace, *, values: bool = False, limit: int | None = tree.LIMIT) -> Iterator[str]:
    """Yield the lines of a Markdown text: facts, the tree, errors with their tracebacks.

    Args:
        trace: The run.
        values: Whether to show the values that were recorded of the store's keys.
        limit: As for `tree.walk`.
    """
    summary = trace.summary
    yield f"## Run of {_code(summary.title)}: {summary.status}"
    yield ""
    duration = wording.seconds(summary.duration)
    yield f"- run {_code(summary.run_id)}, {duration}, {steps_with(summary.steps, summary.trouble)}"
    if summary.calls:
        yield f"- {tree.bill(trace)}"
    for note in tree.notes(trace):
        yield f"- {note}"
    yield ""
    yield from _fenced([render(line) for line in tree.step_lines(trace, values=values, limit=limit)])
    if summary.models:
        yield from _models(trace)
    yield from _errors(trace)


def _models(trace: Trace) -> Iterator[str]:
    yield ""
    yield "| model | calls | tokens | cost |"
    yield "|---|--:|--:|--:|"
    for model, totals in trace.summary.models.items():
        cell, cost = _code(model).replace("|", "\\|"), wording.price(totals["cost"], totals["unpriced_calls"])
        yield f"| {cell} | {totals['calls']:,} | {totals['tokens']:,} | {cost} |"


def _errors(trace: Trace) -> Iterator[str]:
    for step in trace.walk():
        for event in step.span.events:
            if event.name == semconv.EXCEPTION_EVENT:
                phase = step.span.attributes.get(semconv.ERROR_PHASE)
                place = name_of(step.span) + (f".{phase}" if phase else "")
                yield ""
                yield f"### Error in {_code(place)}"
                yield ""
                kind = event.attributes.get(semconv.EXCEPTION_TYPE, "error")
                message = event.attributes.get(semconv.EXCEPTION_MESSAGE)
                trace_text = event.attributes.get(semconv.EXCEPTION_STACKTRACE) or wording.raised(
                    kind, message
                )
                yield from _fenced([escape(line) for line in str(trace_text).splitlines()])


def _code(content: str) -> str:
    """Return text as code, which cannot end it whatever it holds."""
    content = escape(content)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", content)), default=0))
    return f"{ticks} {content} {ticks}" if "`" in content else f"`{content}`"


def _fenced(lines: list[str]) -> Iterator[str]:
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield from lines
    yield fence
