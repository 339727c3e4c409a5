"""`pocketflow-otel send`: a saved run to a collector, with its original ids and times."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from pocketflow_otel.cli.arguments import UserError, directory_option, json_option, load, run_argument
from pocketflow_otel.export.otlp import endpoints
from pocketflow_otel.export.otlp.endpoints import ENDPOINT, EXAMPLE_URL, GRPC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pocketflow_otel.export.otlp.endpoints import Endpoint
    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import Trace

MAX_BYTES: Final = 4_000_000
"""Of one request; gRPC receivers take 4 MiB, HTTP ones more."""
TIMEOUT: Final = 10.0
_TOO_LARGE: Final = 413
_BUSY: Final = (429, 502, 503, 504)
_MAX_ATTEMPTS: Final = 4
_MAX_PAUSE: Final = 30.0
_IDS: Final = ("traceId", "spanId", "parentSpanId")


@dataclass(slots=True)
class SendResult:
    """What a receiver took, and what it says."""

    spans: int = 0
    requests: int = 0
    rejected: int = 0
    message: str = ""


@click.command()
@run_argument()
@click.option(
    "--otlp",
    "url",
    metavar="URL",
    help=f"The OTLP endpoint, such as {EXAMPLE_URL}.  [default: {ENDPOINT}]",
)
@directory_option
@json_option
def send(*, run: str, url: str | None, directory: Path | None, as_json: bool) -> None:
    """Send a saved run to an OTLP endpoint.

    With its original ids and times: over gRPC to port 4317, or where
    OTEL_EXPORTER_OTLP_PROTOCOL says so, else over HTTP; /v1/traces is added to a URL without a
    path. Headers come from OTEL_EXPORTER_OTLP_HEADERS.
    A long run goes in several requests. Exits with 1 if the receiver rejected spans.
    """
    from pocketflow_otel.cli.output import note, print_json
    from pocketflow_otel.formats import otlp_requests
    from pocketflow_otel.views.wording import plural

    to = _endpoint(url)
    endpoint = to.target
    trace = load(directory, run)
    sender = GrpcSender(to) if to.protocol == GRPC else Sender(endpoint, endpoints.headers("traces"))
    for spans in otlp_requests.span_batches(trace):
        sender.send(trace, spans)
    sent = sender.sent
    if as_json:
        print_json(
            {
                "run_id": trace.summary.run_id,
                "trace_id": trace.summary.trace_id,
                "endpoint": endpoint,
                "spans": sent.spans,
                "requests": sent.requests,
                "rejected": sent.rejected,
            }
        )
    else:
        note(f"{plural(sent.spans, 'span')} of run {trace.summary.run_id} sent to {endpoint}")
    if sent.message:
        note(f"the receiver says: {sent.message}")
    if sent.rejected:
        note(f"{plural(sent.rejected, 'span')} rejected")
        raise SystemExit(1)


def _endpoint(given: str | None) -> Endpoint:
    """Return where to send to, and how."""
    if given is None and not endpoints.endpoint_is_set():
        raise UserError(f"say where to: --otlp {EXAMPLE_URL}, or set {ENDPOINT}")
    to = endpoints.endpoint("traces", typed=True) if given is None else endpoints.endpoint_at(given)
    if not (endpoints.is_url(to.url) or (given is None and to.protocol == GRPC)):
        raise UserError(f"{to.url!r} is no endpoint: give a URL like {EXAMPLE_URL}")
    return to


class Sender:
    """Posts spans as protobuf, which every OTLP/HTTP receiver takes.

    Args:
        endpoint: The URL.
        headers: More headers.
        pause: Seconds before the second try at a busy receiver; then twice as many.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], *, pause: float = 1.0) -> None:
        self.sent = SendResult()
        self._endpoint = endpoint
        self._headers = dict(headers) | {"Content-Type": "application/x-protobuf"}
        self._pause = pause

    def send(self, trace: Trace, spans: Sequence[SpanRecord]) -> None:
        """Send spans, in halves where they are too much for one request.

        Raises:
            UserError: They were not taken.
        """
        body = encode(trace, spans)
        status, answer = (_TOO_LARGE, b"") if len(body) > MAX_BYTES else self._post(body)
        if status == _TOO_LARGE and len(spans) > 1:
            half = len(spans) // 2
            self.send(trace, spans[:half])
            self.send(trace, spans[half:])
            return
        if status == _TOO_LARGE:
            raise UserError(f"span {spans[0].span_id} is too large for {self._endpoint}{self._so_far()}")
        rejected, message = decode_response(answer)
        self.sent.spans += len(spans) - rejected
        self.sent.rejected += rejected
        self.sent.requests += 1
        self.sent.message = message or self.sent.message

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Post once, and again while the receiver is busy; return what it answered."""
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        pause = self._pause
        for attempt in range(_MAX_ATTEMPTS):
            # The scheme was checked.
            request = Request(self._endpoint, body, self._headers, method="POST")  # noqa: S310
            try:
                with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                    return response.status, response.read()
            except HTTPError as error:
                with error:
                    if error.code == _TOO_LARGE:
                        return _TOO_LARGE, b""
                    if error.code not in _BUSY or attempt == _MAX_ATTEMPTS - 1:
                        raise UserError(
                            f"{self._endpoint} answered {error.code} {error.reason}{self._so_far()}"
                        ) from None
                    time.sleep(_wait(error.headers.get("Retry-After"), pause))
            except (OSError, ValueError) as error:
                reason = error.reason if isinstance(error, URLError) else error
                raise UserError(f"{self._endpoint} does not answer: {reason}{self._so_far()}") from None
            pause *= 2
        raise AssertionError

    def _so_far(self) -> str:
        return f" ({self.sent.spans:,} spans had been sent)" if self.sent.spans else ""


class GrpcSender(Sender):
    """Sends spans over gRPC, by the channel that an exporter would use."""

    def __init__(self, to: Endpoint) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        from pocketflow_otel.export.otlp import exporters

        super().__init__(to.target, {})
        with endpoints.changed_environment(exporters.variables_for_setup()):
            self._exporter = OTLPSpanExporter(endpoint=to.url, timeout=TIMEOUT)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        import grpc

        # Without serialisers it takes and gives bytes.
        channel: Any = self._exporter._channel
        try:
            answer = channel.unary_unary(_EXPORT)(body, metadata=self._exporter._headers, timeout=TIMEOUT)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return _TOO_LARGE, b""
            what = f"{error.code().name}: {error.details()}"
            raise UserError(f"{self._endpoint} does not take them: {what}{self._so_far()}") from None
        return 200, bytes(answer)


_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def _wait(asked: str | None, pause: float) -> float:
    """Return the seconds to wait: as the receiver asks, if it does."""
    try:
        return min(float(asked or pause), _MAX_PAUSE)
    except ValueError:  # A date
        return pause


def encode(trace: Trace, spans: Sequence[SpanRecord]) -> bytes:
    """Return the protobuf of a request with these spans."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from pocketflow_otel.formats import otlp_requests

    content = otlp_requests.export_request(trace, spans)
    for resource in content["resourceSpans"]:
        for group in resource["scopeSpans"]:
            for span in group["spans"]:
                _with_bytes(span)
                for link in span.get("links", ()):
                    _with_bytes(link)
    message = ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    return bytes(message.SerializeToString())


def _with_bytes(content: dict[str, Any]) -> None:
    """Turn ids from OTLP's hex into base64, protobuf's own JSON for bytes."""
    for name in _IDS:
        if name in content:
            content[name] = base64.b64encode(bytes.fromhex(content[name])).decode()


def decode_response(answer: bytes) -> tuple[int, str]:
    """Return how many spans a receiver rejected, and what it says; an answer it need not give."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial_success = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return 0, ""
    return partial_success.rejected_spans, partial_success.error_message
