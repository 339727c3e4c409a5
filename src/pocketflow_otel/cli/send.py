"""`pocketflow-otel send`: a saved run to a collector, with its original ids and times."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import click

from pocketflow_otel.cli.arguments import Mistake, directory_option, json_option, load, run_argument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pocketflow_otel.traces.model import SpanRecord
    from pocketflow_otel.traces.trace import Trace

MOST_BYTES: Final = 4_000_000
"""Of one request; gRPC receivers take 4 MiB, HTTP ones more."""
TIMEOUT: Final = 10.0
_TOO_LARGE: Final = 413
_BUSY: Final = (429, 502, 503, 504)
_TRIES: Final = 4
_LONGEST_PAUSE: Final = 30.0
_IDS: Final = ("traceId", "spanId", "parentSpanId")


@dataclass(slots=True)
class Sent:
    """What came of it."""

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
    help="The OTLP/HTTP endpoint, such as http://localhost:4318.  [default: OTEL_EXPORTER_OTLP_ENDPOINT]",
)
@directory_option
@json_option
def send(*, run: str, url: str | None, directory: Path | None, as_json: bool) -> None:
    """Send a saved run to an OTLP endpoint.

    Over HTTP, with its original ids and times. /v1/traces is added to a URL without a path. Headers
    come from OTEL_EXPORTER_OTLP_HEADERS. A long run goes in several requests. Exits with 1 if the
    receiver rejected spans.
    """
    from pocketflow_otel.cli.output import note, print_json
    from pocketflow_otel.traces import exchange
    from pocketflow_otel.traces.text import plural

    endpoint = _endpoint(url)
    trace = load(directory, run)
    sender = Sender(endpoint, _headers())
    for spans in exchange.requests(trace):
        sender.send(trace, spans)
    sent = sender.sent
    if as_json:
        print_json(
            {
                "run_id": trace.head.run_id,
                "trace_id": trace.head.trace_id,
                "endpoint": endpoint,
                "spans": sent.spans,
                "requests": sent.requests,
                "rejected": sent.rejected,
            }
        )
    else:
        note(f"{plural(sent.spans, 'span')} of run {trace.head.run_id} sent to {endpoint}")
    if sent.message:
        note(f"the receiver says: {sent.message}")
    if sent.rejected:
        note(f"{plural(sent.rejected, 'span')} rejected")
        raise SystemExit(1)


def _endpoint(given: str | None) -> str:
    """Return where to send to, with its path."""
    environ = os.environ
    url = given or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if url is None:
        url = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
        url = f"{url}/v1/traces" if url else None
    if url is None:
        raise Mistake("say where to: --otlp http://localhost:4318, or set OTEL_EXPORTER_OTLP_ENDPOINT")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Mistake(f"{url!r} is no endpoint: give a URL like http://localhost:4318")
    return urlunsplit(parts._replace(path="/v1/traces")) if parts.path in ("", "/") else url


def _headers() -> dict[str, str]:
    from opentelemetry.util.re import parse_env_headers

    environ = os.environ
    given = environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or environ.get("OTEL_EXPORTER_OTLP_HEADERS")
    return dict(parse_env_headers(given or "", liberal=True))


class Sender:
    """Posts spans as protobuf, which every OTLP/HTTP receiver takes.

    Args:
        endpoint: The URL.
        headers: More headers.
        pause: Seconds before the second try at a busy receiver; then twice as many.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], *, pause: float = 1.0) -> None:
        self.sent = Sent()
        self._endpoint = endpoint
        self._headers = dict(headers) | {"Content-Type": "application/x-protobuf"}
        self._pause = pause

    def send(self, trace: Trace, spans: Sequence[SpanRecord]) -> None:
        """Send spans, in halves where they are too much for one request.

        Raises:
            Mistake: They were not taken.
        """
        body = encode(trace, spans)
        status, answer = (_TOO_LARGE, b"") if len(body) > MOST_BYTES else self._post(body)
        if status == _TOO_LARGE and len(spans) > 1:
            half = len(spans) // 2
            self.send(trace, spans[:half])
            self.send(trace, spans[half:])
            return
        if status == _TOO_LARGE:
            raise Mistake(f"span {spans[0].span_id} is too large for {self._endpoint}{self._so_far()}")
        rejected, message = decode_answer(answer)
        self.sent.spans += len(spans) - rejected
        self.sent.rejected += rejected
        self.sent.requests += 1
        self.sent.message = message or self.sent.message

    def _post(self, body: bytes) -> tuple[int, bytes]:
        """Post once, and again while the receiver is busy; return what it answered."""
        from urllib.error import HTTPError, URLError
        from urllib.request import Request, urlopen

        pause = self._pause
        for attempt in range(_TRIES):
            # The scheme was checked.
            request = Request(self._endpoint, body, self._headers, method="POST")  # noqa: S310
            try:
                with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                    return response.status, response.read()
            except HTTPError as error:
                with error:
                    if error.code == _TOO_LARGE:
                        return _TOO_LARGE, b""
                    if error.code not in _BUSY or attempt == _TRIES - 1:
                        raise Mistake(
                            f"{self._endpoint} answered {error.code} {error.reason}{self._so_far()}"
                        ) from None
                    time.sleep(_wait(error.headers.get("Retry-After"), pause))
            except (OSError, ValueError) as error:
                reason = error.reason if isinstance(error, URLError) else error
                raise Mistake(f"{self._endpoint} does not answer: {reason}{self._so_far()}") from None
            pause *= 2
        raise AssertionError

    def _so_far(self) -> str:
        return f" ({self.sent.spans:,} spans had been sent)" if self.sent.spans else ""


def _wait(asked: str | None, pause: float) -> float:
    """Return the seconds to wait: as the receiver asks, if it does."""
    try:
        return min(float(asked or pause), _LONGEST_PAUSE)
    except ValueError:  # A date
        return pause


def encode(trace: Trace, spans: Sequence[SpanRecord]) -> bytes:
    """Return the protobuf of a request with these spans."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from pocketflow_otel.traces import exchange

    content = exchange.request(trace, spans)
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


def decode_answer(answer: bytes) -> tuple[int, str]:
    """Return how many spans a receiver rejected, and what it says; an answer it need not give."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        said = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return 0, ""
    return said.rejected_spans, said.error_message
