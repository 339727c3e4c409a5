"""A run as requests of OTLP/JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.traces import otlp_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import Trace

_BATCH: Final = 512
"""Spans of one request, as the SDK's own batches have them."""


def export_request(trace: Trace, spans: Sequence[SpanRecord]) -> dict[str, Any]:
    """Return spans of a run as an OTLP/JSON `ExportTraceServiceRequest`, with their ids and times.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    groups: dict[int, dict[str, Any]] = {}
    places: dict[str, int] = {}
    for span in spans:
        scope = otlp_json.encode_scope(span.scope)
        place = places.setdefault(json.dumps(scope, sort_keys=True), len(places))
        groups.setdefault(place, {"scope": scope, "spans": []})["spans"].append(otlp_json.encode_span(span))
    resource = {"resource": trace.resource, "scopeSpans": list(groups.values())}
    if trace.schema_url:
        resource["schemaUrl"] = trace.schema_url
    return {"resourceSpans": [resource] if groups else []}


def span_batches(trace: Trace, size: int = _BATCH) -> Iterator[tuple[SpanRecord, ...]]:
    """Yield the ended spans of a run by the start, so many at a time."""
    spans = [step.span for step in trace.walk() if step.span.end]
    for first in range(0, len(spans), size):
        yield tuple(spans[first : first + size])


def otlp_document(trace: Trace) -> Iterator[str]:
    """Yield one OTLP/JSON request with the whole run."""
    spans = [span for batch in span_batches(trace) for span in batch]
    yield json.dumps(export_request(trace, spans)) + "\n"


def otlp_lines(trace: Trace) -> Iterator[str]:
    """Yield lines of OTLP/JSON, a request each, as the collector's file receiver reads them."""
    for batch in span_batches(trace):
        yield json.dumps(export_request(trace, batch)) + "\n"
