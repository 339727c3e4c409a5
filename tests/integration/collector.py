"""An OTLP/HTTP receiver in a process of its own: strict, as the specification has it.

    python collector.py FILE [LIMIT]

Prints its port, then writes each span it takes to FILE as a line of OTLP/JSON, in one form whatever
way it came. A body that is no valid request is answered with 400, one of more than LIMIT bytes with 413.
"""

from __future__ import annotations

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def ids(content: Any, turn: Any) -> Any:
    """Turn ids between OTLP's hex and protobuf's base64."""
    if isinstance(content, list):
        return [ids(item, turn) for item in content]
    if isinstance(content, dict):
        return {
            name: turn(value, IDS[name]) if name in IDS else ids(value, turn)
            for name, value in content.items()
        }
    return content


def to_base64(value: str, length: int) -> str:
    if len(value) != length:
        raise ValueError(f"{value!r} is no id")
    return base64.b64encode(bytes.fromhex(value)).decode()


def parse(kind: str, body: bytes) -> ExportTraceServiceRequest:
    if kind == "application/x-protobuf":
        return ExportTraceServiceRequest.FromString(body)
    if kind != "application/json":
        raise ValueError(f"unknown type {kind}")
    # Receivers ignore fields they do not know: the specification says so.
    content = ids(json.loads(body), to_base64)
    return ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def spans(request: ExportTraceServiceRequest) -> Any:
    content = MessageToDict(request, use_integers_for_enums=True)
    content = ids(content, lambda value, _: base64.b64decode(value).hex())
    for resource in content.get("resourceSpans", ()):
        for group in resource["scopeSpans"]:
            for span in group["spans"]:
                yield {"resource": resource["resource"], "scope": group["scope"], "span": span}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 200
        if self.path != "/v1/traces":
            status = 404
        elif len(sys.argv) > 2 and len(body) > int(sys.argv[2]):
            status = 413
        else:
            try:
                request = parse(self.headers["Content-Type"], body)
            except (ValueError, ParseError, DecodeError) as error:
                print(error, file=sys.stderr)
                status = 400
            else:
                with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(span) + "\n" for span in spans(request))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
