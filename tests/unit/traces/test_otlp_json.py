"""OTLP/JSON: ours against OpenTelemetry's own encoder, and there and back."""

from __future__ import annotations

import json
import math
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from tests.support.otlp import request_of

from pocketflow_otel.export.span_records import record_of
from pocketflow_otel.traces import otlp_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXT.filter(bool)
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.one_of(TEXT, st.booleans(), INT64, st.floats(), st.binary())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner).map(tuple), st.dictionaries(KEYS, inner)),
    max_leaves=5,
)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=4)
STATES = st.sampled_from([TraceState(), TraceState([("vendor", "1"), ("other", "2")])])
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.just(TraceFlags(1)),
    STATES,
)
TIMES = st.integers(0, 2**63 - 1)
SPANS = st.builds(
    ReadableSpan,
    TEXT,
    CONTEXTS,
    parent=st.none() | CONTEXTS,
    resource=st.builds(Resource, st.dictionaries(KEYS, SCALARS, max_size=2), TEXT),
    attributes=ATTRIBUTES,
    events=st.lists(st.builds(Event, TEXT, ATTRIBUTES, TIMES), max_size=2),
    links=st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=2),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "E: no")]),
    start_time=TIMES,
    end_time=TIMES.filter(bool),
    instrumentation_scope=st.none() | st.builds(InstrumentationScope, TEXT, TEXT, TEXT, ATTRIBUTES),
)


def ours(span: ReadableSpan) -> Any:
    record = record_of(span)
    document = {
        "resourceSpans": [
            {
                "resource": {"attributes": otlp_json.encode_attributes(span.resource.attributes)},
                "schemaUrl": span.resource.schema_url,
                "scopeSpans": [
                    {
                        "scope": otlp_json.encode_scope(record.scope),
                        "schemaUrl": record.scope.schema_url,
                        "spans": [otlp_json.encode_span(record)],
                    }
                ],
            }
        ]
    }
    return request_of(json.loads(json.dumps(document)))


def theirs(span: ReadableSpan) -> Any:
    """Encode with OpenTelemetry's own, which forgets the state of a link's trace."""
    request = encode_spans([span])
    for link, encoded in zip(
        span.links, request.resource_spans[0].scope_spans[0].spans[0].links, strict=True
    ):
        encoded.trace_state = ",".join(f"{key}={value}" for key, value in link.context.trace_state.items())
    return request


def same(one: Any, other: Any) -> bool:
    """Compare messages by their text: a NaN is no NaN's equal."""
    return str(one) == str(other)


@given(SPANS)
def test_a_span_is_encoded_as_opentelemetry_encodes_it(span: ReadableSpan) -> None:
    assert same(ours(span), theirs(span))


@given(SPANS)
def test_a_span_comes_back_as_it_was(span: ReadableSpan) -> None:
    record = record_of(span)
    text = json.dumps(otlp_json.encode_span(record))

    # `repr` knows a NaN again, and 1.0 from 1 and True.
    assert repr(otlp_json.decode_span(json.loads(text), record.scope)) == repr(record)


def test_what_limits_dropped_is_counted_as_opentelemetry_counts_it() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(1, 1, 1, 1, 1), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    link = Link(SpanContext(1, 2, is_remote=True), {"a": 1, "b": 2})
    with provider.get_tracer("t", "1", "https://schema", {"x": 1}).start_as_current_span(
        "s", attributes={"a": 1, "b": 2}, links=[link, link]
    ) as span:
        span.add_event("e", {"a": 1, "b": 2})
        span.add_event("f", {"a": 1, "b": 2})
    (ended,) = exporter.get_finished_spans()
    record = record_of(ended)

    assert same(ours(ended), theirs(ended))
    assert (record.dropped_attributes, record.dropped_events, record.dropped_links) == (1, 1, 1)
    assert otlp_json.decode_span(otlp_json.encode_span(record), record.scope) == record


class Level(IntEnum):
    HIGH = 3

    def __str__(self) -> str:
        return self.name


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("é", {"stringValue": "é"}),
        (True, {"boolValue": True}),
        (2**63 - 1, {"intValue": "9223372036854775807"}),
        (2**63, {"stringValue": "9223372036854775808"}),  # Too big for OTLP.
        (-(2**63) - 1, {"stringValue": "-9223372036854775809"}),
        (Level.HIGH, {"intValue": "3"}),
        (0.5, {"doubleValue": 0.5}),
        (math.inf, {"doubleValue": "Infinity"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        (math.nan, {"doubleValue": "NaN"}),
        (b"\0\xff", {"bytesValue": "AP8="}),
        (("a", 1), {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}}),
        ((), {"arrayValue": {"values": []}}),
        (
            {"k": (None,)},
            {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {"values": [{}]}}}]}},
        ),
        (None, {}),
    ],
)
def test_a_value_has_the_json_its_type_has_in_otlp(value: object, encoded: object) -> None:
    assert otlp_json.encode_value(value) == encoded


def test_what_other_writers_leave_out_has_its_default() -> None:
    span = otlp_json.decode_span(
        {
            "traceId": "01",
            "spanId": "02",
            "startTimeUnixNano": 5,
            "attributes": [{"key": "n", "value": {"intValue": 7}}],
        }
    )

    assert (span.name, span.start, span.end, span.attributes, span.events) == ("", 5, 0, {"n": 7}, ())


@pytest.mark.parametrize("json", [{}, {"traceId": "1", "spanId": "2", "startTimeUnixNano": "soon"}])
def test_what_is_no_span_is_refused(json: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        otlp_json.decode_span(json)
