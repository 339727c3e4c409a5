"""OTLP: names of its exporters and variables, and its JSON as the protocol's own library reads it."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HTTP, GRPC, JSON = "otlp_proto_http", "otlp_proto_grpc", "otlp_json_http"
BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"

_IDS = {"traceId", "spanId", "parentSpanId"}


def request_of(document: dict[str, Any]) -> ExportTraceServiceRequest:
    """Read an OTLP/JSON request; an unknown field, or one of the wrong type, raises.

    Protobuf's JSON has bytes in base64, OTLP's has ids in hex.
    """
    request = ExportTraceServiceRequest()
    ParseDict(_in_base64({"resourceSpans": document["resourceSpans"]}), request)
    return request


def _in_base64(json: Any) -> Any:
    if isinstance(json, list):
        return [_in_base64(item) for item in json]
    if not isinstance(json, dict):
        return json
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in _IDS else _in_base64(value)
        for key, value in json.items()
    }
