"""An OTLP receiver in the test's own process, and servers that behave badly.

`Receiver` takes gRPC on one port and HTTP, protobuf or JSON, on another. Whatever way a span came, it
is kept as OTLP/JSON, so that it can be compared with a trace file.
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import struct
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

Json = dict[str, Any]


class Receiver:
    """Spans and metrics that arrived, as OTLP/JSON.

    Args:
        delay: Seconds before a request is taken, or until this receiver stops.
        status: What HTTP requests are answered with.
        code: What gRPC requests are answered with.
        headers: What answers carry.
        tls: Certificate chain and key in PEM, to speak TLS.
        paths: What may be asked over HTTP; by default anything.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        status: int = 200,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        headers: dict[str, str] | None = None,
        tls: tuple[bytes, bytes] | None = None,
        paths: tuple[str, ...] = (),
    ) -> None:
        self.paths = paths
        self.delay, self.status, self.code, self.headers, self.tls = delay, status, code, headers or {}, tls
        self._requests: list[Json | Message] = []
        self.metadata: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def spans(self) -> list[Json]:
        """All spans, with their resource and scope."""
        return [
            {**span, "resource": resource["resource"], "scope": scope["scope"]}
            for request in self._requests
            for resource in json_of(request).get("resourceSpans", ())
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    @property
    def metrics(self) -> list[Json]:
        """All metrics, with their resource."""
        return [
            {**metric, "resource": resource["resource"]}
            for request in self._requests
            for resource in json_of(request).get("resourceMetrics", ())
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
        ]

    def take(self, request: Json | Message, metadata: dict[str, str]) -> None:
        with self.lock:
            self.metadata.append(metadata)
            self._requests.append(request)

    def hold(self) -> None:
        """Wait for as long as requests have to."""
        self._stopping.wait(self.delay)

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        with self._over_grpc(), self._over_http():
            try:
                yield self
            finally:
                self._stopping.set()

    @contextmanager
    def _over_grpc(self) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), server)
        if self.tls is None:
            self.grpc_port = server.add_insecure_port("127.0.0.1:0")
        else:
            certificate, key = self.tls
            credentials = grpc.ssl_server_credentials([(key, certificate)])
            self.grpc_port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()

    @contextmanager
    def _over_http(self) -> Iterator[None]:
        server = _Server(("127.0.0.1", 0), _handler(self))
        server.tls = None if self.tls is None else _tls_context(self.tls)
        self.http_port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def get_request(self) -> Any:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what many tests are about."""


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        _take_grpc(self.receiver, request, context)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        _take_grpc(self.receiver, request, context)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _take_grpc(receiver: Receiver, request: Message, context: grpc.ServicerContext) -> None:
    receiver.hold()
    if receiver.code is not grpc.StatusCode.OK:
        context.abort(receiver.code, "come back later")
    if context.is_active():
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        receiver.take(request, metadata)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.hold()
            status = 404 if receiver.paths and self.path not in receiver.paths else receiver.status
            if status == 200:
                headers = {key.lower(): value for key, value in self.headers.items()}
                receiver.take(self._read(body), headers)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _read(self, body: bytes) -> Json | Message:
            if self.headers["Content-Type"] == "application/json":
                return dict(json.loads(body))
            of_metrics = self.path.endswith("/v1/metrics")
            message = (
                metrics_service_pb2.ExportMetricsServiceRequest()
                if of_metrics
                else trace_service_pb2.ExportTraceServiceRequest()
            )
            message.ParseFromString(body)
            return message

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _tls_context(tls: tuple[bytes, bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(tls))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def json_of(message: Json | Message) -> Json:
    """Return OTLP/JSON: protobuf's own JSON, but with ids in hex."""
    if isinstance(message, dict):
        return message
    content: Json = MessageToDict(message, use_integers_for_enums=True)
    _ids_to_hex(content)
    return content


def _ids_to_hex(content: Any) -> None:
    if isinstance(content, list):
        for item in content:
            _ids_to_hex(item)
    elif isinstance(content, dict):
        for name, value in content.items():
            if name in ("traceId", "spanId", "parentSpanId"):
                content[name] = base64.b64decode(value).hex()
            else:
                _ids_to_hex(value)


# Servers that behave badly


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with closed_port() as port:
        return port


@contextmanager
def closed_port() -> Iterator[int]:
    """Yield a port where nobody listens, nor can meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@contextmanager
def tcp_server(treat: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections and treat each; yield the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in connections:
            connection.close()


def stay_silent(connection: socket.socket) -> None:
    """Take what comes, and answer nothing."""


def hang_up(connection: socket.socket) -> None:
    """Read the beginning of a request, then reset the connection."""
    connection.recv(20)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
