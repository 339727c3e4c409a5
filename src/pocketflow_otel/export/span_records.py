"""Turn the SDK's spans into plain values."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.traces.records import EventRecord, LinkRecord, ScopeRecord, SpanRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, TraceState

    from pocketflow_otel.runtime.scope import RecordedEvent, Scope

_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def record_of(span: ReadableSpan, scope: Scope | None = None) -> SpanRecord:
    """Return the present content of a span, open or ended.

    Args:
        span: The span.
        scope: Whose span it is: what it recorded is in the record, whatever the span has lost of it.
    """
    context = span.get_span_context()
    assert context is not None
    parent = span.parent
    attributes, dropped_attributes = dict(span.attributes or {}), span.dropped_attributes
    events, dropped_events = [_event(event) for event in span.events], span.dropped_events
    if scope is not None:
        dropped_attributes -= _restore(attributes, scope.attributes)
        dropped_events -= _restore_events(events, scope.events)
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
        attributes=attributes,
        events=tuple(events),
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
        dropped_attributes=max(dropped_attributes, 0),
        dropped_events=max(dropped_events, 0),
        dropped_links=span.dropped_links,
    )


def _restore(kept: dict[str, Any], recorded: Mapping[str, Any]) -> int:
    """Put back attributes that were dropped or cut; return how many had been dropped.

    A value that somebody set in place of the recorded one stays.
    """
    dropped = [name for name in recorded if name not in kept]
    kept.update((name, recorded[name]) for name in dropped)
    kept.update((name, whole) for name, whole in recorded.items() if _is_cut(kept[name], whole))
    return len(dropped)


def _is_cut(kept: Any, whole: Any) -> bool:
    """Return whether a value is the beginning of another one, or a list that has such values."""
    if isinstance(whole, str):
        return isinstance(kept, str) and len(kept) < len(whole) and whole.startswith(kept)
    if isinstance(whole, list | tuple) and isinstance(kept, list | tuple):
        return len(kept) == len(whole) and any(map(_is_cut, kept, whole))
    return False


def _restore_events(kept: list[EventRecord], recorded: Iterable[RecordedEvent]) -> int:
    """Put back events that were dropped, or have lost attributes; return how many had been dropped."""
    places = {(event.name, event.time): place for place, event in enumerate(kept)}
    dropped = 0
    for event in recorded:
        place = places.get((event.name, event.time))
        if place is None:
            kept.append(EventRecord(event.name, event.time, dict(event.attributes)))
            dropped += 1
        else:
            attributes = dict(kept[place].attributes)
            lost = kept[place].dropped_attributes - _restore(attributes, event.attributes)
            kept[place] = replace(kept[place], attributes=attributes, dropped_attributes=max(lost, 0))
    if dropped:
        kept.sort(key=lambda event: event.time)
    return dropped


def _event(event: Event) -> EventRecord:
    return EventRecord(event.name, event.timestamp, dict(event.attributes or {}), event.dropped_attributes)


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
