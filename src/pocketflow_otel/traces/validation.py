"""Read spans of a file that may be damaged: one flipped bit may cost a span, never the command."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.fields import text
from pocketflow_otel.guard import let_through
from pocketflow_otel.traces import otlp_json
from pocketflow_otel.traces.records import EventRecord, ScopeRecord, SpanRecord, TraceError

_LATEST: Final = 1 << 63
"""Nanoseconds since the epoch: no clock shows more."""

_TEXTS: Final = tuple[str, ...]
_NUMBER: Final = (int, float)

_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(
        (
            semconv.NODE_VISIT, semconv.NODE_MAX_RETRIES, semconv.NODE_ATTEMPTS, semconv.FLOW_STEPS,
            semconv.BATCH_INDEX, semconv.BATCH_SIZE, semconv.BATCH_UNTRACED, semconv.COST_UNPRICED_CALLS,
            semconv.FLOW_VISIT, semconv.SUM_CALLS, semconv.SUM_INPUT_TOKENS, semconv.SUM_OUTPUT_TOKENS,
            semconv.SUM_CACHE_READ_TOKENS, semconv.USAGE_CACHE_WRITE_TOKENS, semconv.USAGE_REASONING_TOKENS,
            semconv.ATTEMPT, semconv.ATTEMPT_MAX,
        ),
        int,
    ),
    **dict.fromkeys(
        (
            semconv.COST, semconv.ATTEMPT_WAIT,
            semconv.NODE_PREP_DURATION, semconv.NODE_EXEC_DURATION, semconv.NODE_POST_DURATION,
        ),
        _NUMBER,
    ),
    **dict.fromkeys(
        (
            semconv.SHARED_ADDED_KEYS, semconv.SHARED_MODIFIED_KEYS, semconv.SHARED_REMOVED_KEYS,
            semconv.SUM_MODELS, semconv.UNMATCHED_KNOWN,
        ),
        _TEXTS,
    ),
    **dict.fromkeys((semconv.SHARED_SCHEMA, semconv.SUM_BY_MODEL, semconv.SHARED_VALUES), dict),
}  # fmt: skip
"""What the wording relies on; `dict` stands for the text of a JSON object."""

_NEEDED: Final = {
    semconv.ATTEMPT_FAILED: (
        semconv.ATTEMPT, semconv.ATTEMPT_MAX, semconv.ATTEMPT_WAIT, semconv.EXCEPTION_TYPE,
    ),
    semconv.ACTION_UNMATCHED: (semconv.UNMATCHED_ACTION, semconv.UNMATCHED_KNOWN),
}  # fmt: skip
"""Attributes that an event of ours must have."""


def read_span(content: Any, scope: Any) -> SpanRecord:
    """Read a span of OTLP/JSON and its scope; attributes of ours that have a wrong type are left out.

    Raises:
        TraceError: It is no span.
    """
    try:
        span = otlp_json.decode_span(content, read_scope(scope))
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        let_through(error)
        raise TraceError("a span is damaged") from None
    names = span.trace_id, span.span_id, span.parent_id, span.name, span.status_message
    if not all(isinstance(name, str) for name in names) or not span.span_id:
        raise TraceError("a span is damaged")
    if not (0 <= span.start < _LATEST and 0 <= span.end < _LATEST):
        raise TraceError("a span is damaged")
    events = tuple(event for event in map(_checked_event, span.events) if event is not None)
    attributes = _checked(span.attributes)
    if attributes is not span.attributes or events != span.events:
        return replace(span, attributes=attributes, events=events)
    return span


def read_scope(scope: Any) -> ScopeRecord:
    """Read an instrumentation scope; what is no name or version is left out."""
    if not isinstance(scope, dict):
        return ScopeRecord()
    return ScopeRecord(
        text(scope.get("name")),
        text(scope.get("version")),
        attributes=otlp_json.decode_attributes(scope.get("attributes", ())),
    )


def _checked(attributes: Any) -> Any:
    """Return the attributes as they are, or without those that have a wrong type."""
    if all(_fits(name, value) for name, value in attributes.items()) and _adds_up(attributes):
        return attributes
    kept = {name: value for name, value in attributes.items() if _fits(name, value)}
    if not _adds_up(kept):
        del kept[semconv.SUM_CALLS]
    return kept


def _adds_up(attributes: Any) -> bool:
    """Return whether a sum of calls has its tokens with it."""
    return semconv.SUM_CALLS not in attributes or (
        semconv.SUM_INPUT_TOKENS in attributes and semconv.SUM_OUTPUT_TOKENS in attributes
    )


def _fits(name: Any, value: Any) -> bool:
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        return isinstance(name, str)
    if kind is _TEXTS:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if kind is dict:
        return isinstance(value, str) and _is_object(name, value)
    return isinstance(value, kind) and not isinstance(value, bool) and -_LATEST < value < _LATEST


def _is_object(name: str, value: str) -> bool:
    try:
        content = json.loads(value)
    except (ValueError, RecursionError) as error:
        let_through(error)
        return False
    if not isinstance(content, dict):
        return False
    return name != semconv.SUM_BY_MODEL or all(isinstance(model, dict) for model in content.values())


def _checked_event(event: EventRecord) -> EventRecord | None:
    if not isinstance(event.name, str) or not 0 <= event.time < _LATEST:
        return None
    attributes = _checked(event.attributes)
    if any(name not in attributes for name in _NEEDED.get(event.name, ())):
        return None
    return event if attributes is event.attributes else replace(event, attributes=attributes)
