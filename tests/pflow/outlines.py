"""A trace file as text: what of it must be the same in each run of a workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pocketflow_otel.traces.trace import SpanNode

_UNSTABLE: Final = {
    semconv.RUN_ID,
    semconv.EXECUTION_ID,
    semconv.RESUMED_FROM,
    semconv.PFLOW_VERSION,
    semconv.ERROR_PLACE,
    semconv.EXCEPTION_STACKTRACE,
    semconv.ATTEMPT_PLACE,
    semconv.NODE_PREP_DURATION,
    semconv.NODE_EXEC_DURATION,
    semconv.NODE_POST_DURATION,
}
_UNSAID: Final = {
    semconv.GEN_AI_OPERATION_NAME,  # The span's name begins with it,
    semconv.GEN_AI_WORKFLOW_NAME,  # and goes on with these.
    semconv.NODE_NAME,
    semconv.FLOW_CLASS,
}


def tree(path: Path) -> Iterator[str]:
    """Yield a line for each span of a run, with its attributes, and one for each event."""
    trace = reader.read(path)
    yield f"{trace.summary.status}: {trace.summary.steps} steps"
    for root in trace.roots:
        yield from _lines(root, "")


def _lines(step: SpanNode, indent: str) -> Iterator[str]:
    span = step.span
    status = f" ERROR {span.status_message}" if span.failed else ""
    yield f"{indent}{span.name}{status}"
    for line in _attributes(span.attributes):
        yield f"{indent}    {line}"
    for event in span.events:
        yield f"{indent}    ! {event.name}"
        for line in _attributes(event.attributes):
            yield f"{indent}        {line}"
    for child in sorted(step.children, key=_place):
        yield from _lines(child, f"{indent}  ")


def _place(step: SpanNode) -> tuple[int, int]:
    """Return where a span stands: items by their index, for they may run at once."""
    return step.span.attributes.get(semconv.BATCH_INDEX, 0), step.span.start


def _attributes(attributes: Mapping[str, Any]) -> Iterator[str]:
    for name, value in sorted(attributes.items()):
        if name not in _UNSTABLE | _UNSAID:
            yield f"{name.removeprefix('pocketflow.')}: {_text(value)}"


def _text(value: Any) -> str:
    return (
        ", ".join(value)
        if isinstance(value, tuple)
        else json.dumps(value)
        if not isinstance(value, str)
        else value
    )
