"""Turn the SDK's spans into plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.traces.records import EventRecord, LinkRecord, ScopeRecord, SpanRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, TraceState

_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def record_of(span: ReadableSpan) -> SpanRecord:
    """Return the present content of a span, open or ended."""
    context = span.get_span_context()
    assert context is not None
    parent = span.parent
    return SpanRecord(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{parent.span_id:016x}" if parent else "",
        name=span.name,
        start=span.start_time or 0,
        end=span.end_time or 0,
        kind=span.kind.value + 1,  # OTLP counts from 1: 0 is "unspecified"
        flags=_flags(parent),
        trace_state=_state(context.trace_state),
        attributes=dict(span.attributes or {}),
        events=tuple(
            EventRecord(event.name, event.timestamp, dict(event.attributes or {}), event.dropped_attributes)
            for event in span.events
        ),
        links=tuple(
            LinkRecord(
                f"{link.context.trace_id:032x}",
                f"{link.context.span_id:016x}",
                _state(link.context.trace_state),
                dict(link.attributes or {}),
                link.dropped_attributes,
                _flags(link.context),
            )
            for link in span.links
        ),
        status=span.status.status_code.value,
        status_message=span.status.description or "",
        scope=_scope(span.instrumentation_scope),
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
    )


def _flags(context: SpanContext | None) -> int:
    """Return OTLP's flags of a span, by its parent, or of a link: whether that is remote."""
    return _HAS_IS_REMOTE | (_IS_REMOTE if context and context.is_remote else 0)


def _state(state: TraceState | None) -> str:
    return ",".join(f"{key}={value}" for key, value in state.items()) if state else ""


def _scope(scope: InstrumentationScope | None) -> ScopeRecord:
    if scope is None:
        return ScopeRecord()
    attributes: dict[str, Any] = dict(scope.attributes or {})
    return ScopeRecord(scope.name, scope.version or "", scope.schema_url or "", attributes)
