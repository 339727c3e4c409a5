"""OTLP/JSON in and out: a span as the protocol's JSON has it.

The mapping is OTLP's own: ids in hex, 64-bit integers as strings, enumerations as numbers.
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pocketflow_otel.traces.records import Attributes, EventRecord, LinkRecord, ScopeRecord, SpanRecord

Json = dict[str, Any]
_NO_SCOPE: Final = ScopeRecord()
_INT64: Final = 2**63
"""OTLP has no integer as big as this."""
_NOT_FINITE: Final = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def encode_span(span: SpanRecord) -> Json:
    """Return the JSON of an OTLP `Span`; fields at their default are left out."""
    return _without_defaults(
        traceId=span.trace_id,
        spanId=span.span_id,
        traceState=span.trace_state,
        parentSpanId=span.parent_id,
        flags=span.flags,
        name=span.name,
        kind=span.kind,
        startTimeUnixNano=str(span.start),
        endTimeUnixNano=str(span.end) if span.end else "",
        attributes=encode_attributes(span.attributes),
        droppedAttributesCount=span.dropped_attributes,
        events=[
            _without_defaults(
                timeUnixNano=str(event.time),
                name=event.name,
                attributes=encode_attributes(event.attributes),
                droppedAttributesCount=event.dropped_attributes,
            )
            for event in span.events
        ],
        droppedEventsCount=span.dropped_events,
        links=[
            _without_defaults(
                traceId=link.trace_id,
                spanId=link.span_id,
                traceState=link.trace_state,
                attributes=encode_attributes(link.attributes),
                droppedAttributesCount=link.dropped_attributes,
                flags=link.flags,
            )
            for link in span.links
        ],
        droppedLinksCount=span.dropped_links,
    ) | {"status": _without_defaults(code=span.status, message=span.status_message)}


def decode_span(json: Json, scope: ScopeRecord = _NO_SCOPE) -> SpanRecord:
    """Read what `encode_span`, or any other OTLP/JSON writer, made.

    Raises:
        KeyError, TypeError, ValueError: It is no OTLP/JSON span.
    """
    status = json.get("status", {})
    return SpanRecord(
        trace_id=json["traceId"],
        span_id=json["spanId"],
        parent_id=json.get("parentSpanId", ""),
        name=json.get("name", ""),
        start=int(json["startTimeUnixNano"]),
        end=int(json.get("endTimeUnixNano", 0)),
        kind=json.get("kind", 0),
        flags=json.get("flags", 0),
        trace_state=json.get("traceState", ""),
        attributes=decode_attributes(json.get("attributes", ())),
        events=tuple(
            EventRecord(
                name=event.get("name", ""),
                time=int(event.get("timeUnixNano", 0)),
                attributes=decode_attributes(event.get("attributes", ())),
                dropped_attributes=event.get("droppedAttributesCount", 0),
            )
            for event in json.get("events", ())
        ),
        links=tuple(
            LinkRecord(
                trace_id=link["traceId"],
                span_id=link["spanId"],
                trace_state=link.get("traceState", ""),
                attributes=decode_attributes(link.get("attributes", ())),
                dropped_attributes=link.get("droppedAttributesCount", 0),
                flags=link.get("flags", 0),
            )
            for link in json.get("links", ())
        ),
        status=status.get("code", 0),
        status_message=status.get("message", ""),
        scope=scope,
        dropped_attributes=json.get("droppedAttributesCount", 0),
        dropped_events=json.get("droppedEventsCount", 0),
        dropped_links=json.get("droppedLinksCount", 0),
    )


def encode_scope(scope: ScopeRecord) -> Json:
    """Return the JSON of an OTLP `InstrumentationScope`."""
    return _without_defaults(
        name=scope.name, version=scope.version, attributes=encode_attributes(scope.attributes)
    )


def encode_attributes(attributes: Attributes) -> list[Json]:
    """Return a list of OTLP `KeyValue`."""
    return [{"key": key, "value": encode_value(value)} for key, value in attributes.items()]


def encode_value(value: Any) -> Json:  # noqa: PLR0911 - one per type
    """Return the JSON of an OTLP `AnyValue`."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        number = str(int(value))  # An enumeration's own `str` may be its name.
        return {"intValue" if -_INT64 <= value < _INT64 else "stringValue": number}
    if isinstance(value, float):
        # Protobuf's JSON has words for what JSON has no number for.
        return {"doubleValue": value if math.isfinite(value) else _NOT_FINITE[str(value)]}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": encode_attributes(value)}}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [encode_value(item) for item in value]}}
    return {}


def decode_attributes(pairs: Sequence[Json]) -> dict[str, Any]:
    """Read a list of OTLP `KeyValue`."""
    return {pair["key"]: decode_value(pair.get("value", {})) for pair in pairs}


def decode_value(value: Json) -> Any:  # noqa: PLR0911 - one per type
    """Read an OTLP `AnyValue`; an empty one is `None`."""
    for kind, content in value.items():
        match kind:
            case "intValue":
                return int(content)
            case "doubleValue":
                return float(content)
            case "bytesValue":
                return base64.b64decode(content)
            case "arrayValue":
                return tuple(decode_value(item) for item in content.get("values", ()))
            case "kvlistValue":
                return decode_attributes(content.get("values", ()))
            case _:
                return content
    return None


def _without_defaults(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value}
