"""The steps of a run as flat rows: for `--json`, for CSV, and to count and compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import SpanNode, Trace

COLUMNS: Final = (
    "depth", "kind", "name", "class", "status", "start", "duration", "share", "visit", "index", "attempts",
    "fallback", "item_fallbacks", "failed_inside", "action", "next", "added", "modified", "removed",
    "llm_calls", "input_tokens", "output_tokens", "cost", "unpriced_calls", "error_type", "error_message",
    "error_place", "values", "span_id", "parent_span_id",
)  # fmt: skip
"""The names of a row, in this order; what a step does not have is `None`."""


def rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield a row for each span, each before what it contains.

    `start` is in seconds since the start of the run, `duration` in seconds, `share` the part of the
    parent's duration, `cost` in US dollars. `kind` is `flow`, `node`, `item`, or `span` for those of
    other instrumentations.
    """
    first = trace.root.start if trace.root is not None else 0
    for root in trace.roots:
        durations = {"": 0.0}
        for step in root.walk():
            durations[step.span.span_id] = step.span.duration
            yield _row(step, first, durations.get(step.span.parent_id, 0.0))


def _row(step: SpanNode, first: int, parent: float) -> dict[str, Any]:
    span, attributes = step.span, step.span.attributes
    values, changes = attributes.get(semconv.SHARED_VALUES), span.changes or {}
    action = attributes.get(semconv.NODE_ACTION, attributes.get(semconv.FLOW_ACTION))
    return {
        "depth": step.depth,
        "kind": span.role or "span",
        "name": span.label or span.name,
        "class": attributes.get(semconv.NODE_CLASS, attributes.get(semconv.FLOW_CLASS)),
        "status": status(step),
        "start": round((span.start - first) / 1e9, 6),
        "duration": round(span.duration, 6) if span.end else None,
        "share": round(span.duration / parent, 4) if parent and span.end else None,
        "visit": attributes.get(semconv.NODE_VISIT, attributes.get(semconv.FLOW_VISIT)),
        "index": attributes.get(semconv.BATCH_INDEX),
        "attempts": attributes.get(semconv.NODE_ATTEMPTS),
        "fallback": attributes.get(semconv.NODE_FALLBACK),
        "item_fallbacks": attributes.get(semconv.BATCH_FALLBACKS),
        "failed_inside": step.failed_inside or None,
        "action": action,
        "next": attributes.get(semconv.NODE_NEXT),
        "added": changes.get("added"),
        "modified": changes.get("modified"),
        "removed": changes.get("removed"),
        "llm_calls": attributes.get(semconv.SUM_CALLS),
        "input_tokens": attributes.get(semconv.SUM_INPUT_TOKENS, attributes.get(semconv.USAGE_INPUT_TOKENS)),
        "output_tokens": attributes.get(
            semconv.SUM_OUTPUT_TOKENS, attributes.get(semconv.USAGE_OUTPUT_TOKENS)
        ),
        "cost": attributes.get(semconv.COST, attributes.get(semconv.USAGE_COST)),
        "unpriced_calls": attributes.get(semconv.COST_UNPRICED_CALLS),
        "error_type": attributes.get(semconv.ERROR_TYPE),
        "error_message": span.status_message or None,
        "error_place": span.error_place or None,
        "values": None if values is None else json.loads(values),
        "span_id": span.span_id,
        "parent_span_id": span.parent_id or None,
    }


def status(step: SpanNode) -> str:
    """Return how a step ended, in the words of `trace.STATUSES`."""
    if step.interrupted:
        return "interrupted"
    if not step.span.end:
        return "running"
    return "failed" if step.span.failed else "ok"
