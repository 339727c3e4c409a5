"""The record of a span has what its scope recorded, whatever the limits of spans have left of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from pocketflow_otel.export.span_records import record_of
from pocketflow_otel.runtime.clock import RunClock
from pocketflow_otel.runtime.run import Run
from pocketflow_otel.runtime.scope import MAX_EVENTS, Scope
from pocketflow_otel.usage.pricing import PriceBook

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.traces.records import SpanRecord

LIMITS = [
    {"max_span_attributes": 0},
    {"max_span_attributes": 1},
    {"max_attributes": 1},
    {"max_events": 0},
    {"max_events": 1},
    {"max_event_attributes": 0},
    {"max_event_attributes": 1},
    {"max_attribute_length": 3},
    {"max_span_attribute_length": 3},
]


def scope_of(span: Any) -> Scope:
    """Return a scope with this span."""
    scope = Scope("node", None, {}, None, Run(PriceBook({}), RunClock()))
    scope.span = span
    return scope


def started(**limits: int) -> Any:
    """Return an open span of a provider with these limits."""
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
    return provider.get_tracer("t").start_span("s", start_time=1)


def recorded(**limits: int) -> tuple[Any, Scope]:
    """Return an ended span of a provider with these limits, and its scope."""
    scope = scope_of(started(**limits))
    scope.set_attributes({"name": "Search", "keys": ["question", "no"], "visit": 1})
    scope.add_event("attempt", {"number": 1, "error": "TimeoutError"}, 5)
    scope.span.add_event("a user's", {"text": "ab"}, 6)
    scope.add_event("attempt", {"number": 2, "error": "TimeoutError"}, 7)
    scope.set_attributes({"action": "default"})
    scope.span.end(9)
    return scope.span, scope


def plain(span: ReadableSpan, scope: Scope | None) -> SpanRecord:
    """Return a record without what differs from one span to another, and lists as the SDK keeps them."""
    record = record_of(span, scope)
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in record.attributes.items()}
    return replace(record, trace_id="", span_id="", attributes=values)


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_what_the_scope_recorded_is_in_the_record_whatever_the_limits(limits: dict[str, int]) -> None:
    whole, _ = recorded()
    span, scope = recorded(**limits)
    record = plain(span, scope)
    ours = [event for event in record.events if event.name == "attempt"]

    assert plain(span, None) != plain(whole, None)  # The limit takes something.
    assert record.attributes == plain(whole, None).attributes
    assert ours == [event for event in record_of(whole).events if event.name == "attempt"]
    assert record.dropped_attributes == 0


def test_events_are_in_the_order_of_their_times_and_what_is_not_ours_stays_lost() -> None:
    span, scope = recorded(max_events=1)
    record = record_of(span, scope)

    assert [event.time for event in record.events] == [5, 7]
    assert record.dropped_events == 1


def test_a_name_that_a_users_attributes_put_out_is_in_the_record_with_them() -> None:
    scope = scope_of(started())
    scope.set_attributes({"name": "Search"})
    scope.span.set_attributes({f"score.{number}": number for number in range(128)})
    span: Any = scope.span

    assert "name" not in span.attributes
    assert record_of(span, scope).attributes == {"name": "Search", **span.attributes}


def test_a_value_that_a_user_put_in_place_of_ours_stays() -> None:
    scope = scope_of(started())
    scope.set_attributes({"name": "Search", "keys": ["a"]})
    scope.span.set_attributes({"name": "Look up", "keys": ["b", "c"]})
    span: Any = scope.span

    assert record_of(span, scope).attributes == {"name": "Look up", "keys": ("b", "c")}


def test_a_step_that_makes_a_million_events_remembers_the_newest() -> None:
    scope = scope_of(started())
    for number in range(MAX_EVENTS + 10):
        scope.add_event("attempt", {"number": number}, number)

    assert [event.time for event in scope.events] == list(range(10, MAX_EVENTS + 10))
