"""`send`: a saved run to a receiver, or one sentence why not."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.support.receiver import Receiver, closed_port
from tests.support.saved import create_flow, save

from pocketflow_otel.cli import send as sending
from pocketflow_otel.cli.main import main
from pocketflow_otel.export.otlp import endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"")


class Server:
    """Answers what it was told to, the last answer again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[int] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.paths.append(self.path)
                outer.headers.append(dict(self.headers))
                content = ExportTraceServiceRequest.FromString(body)
                outer.spans.append(sum(len(g.spans) for r in content.resource_spans for g in r.scope_spans))
                status, headers, answer = (
                    outer.answers[0] if len(outer.answers) == 1 else outer.answers.pop(0)
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (path,) = save(tmp_path, create_flow())
    return path


def send(path: Path, *options: str) -> Any:
    result = CliRunner().invoke(main, ["send", str(path), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@pytest.mark.parametrize(
    ("given", "asked"), [("", "/v1/traces"), ("/", "/v1/traces"), ("/in/here", "/in/here")]
)
def test_a_url_without_a_path_gets_that_of_otlp(path: Path, given: str, asked: str) -> None:
    server = Server(OK)
    with server.running() as url:
        result = send(path, "--otlp", url + given)
        assert result.stderr == f"7 spans of run {path.stem} sent to {url}{asked}\n"
    assert (result.exit_code, result.stdout, server.paths, server.spans) == (0, "", [asked], [7])


def test_endpoint_and_headers_come_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(OK)
    with server.running() as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{url}/base/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
        assert send(path).exit_code == 0
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{url}/exactly/here")
        assert send(path).exit_code == 0
    assert (server.paths, server.headers[0]["X-Key"]) == (["/base/v1/traces", "/exactly/here"], "a b")


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://{}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://{}", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
    ],
)
def test_a_run_is_sent_over_grpc_where_its_spans_would_be(
    path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
    with Receiver().running() as receiver:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(f"127.0.0.1:{receiver.grpc_port}"))
        result = send(path)
    assert (result.exit_code, len(receiver.spans), receiver.metadata[0]["x-key"]) == (0, 7, "a b")
    assert result.stderr == f"7 spans of run {path.stem} sent to http://127.0.0.1:{receiver.grpc_port}\n"


def test_a_url_with_the_port_of_grpc_means_grpc(path: Path) -> None:
    with closed_port() as port, patch.object(endpoints, "GRPC_PORT", port):
        result = send(path, "--otlp", f"http://127.0.0.1:{port}")
    assert (result.exit_code, "does not take them: UNAVAILABLE" in result.stderr) == (2, True)


def test_variables_that_are_empty_say_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(OK)
    with server.running() as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
        assert send(path).exit_code == 0
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", " ")
        assert "say where to" in send(path).stderr
    assert server.paths == ["/v1/traces"]


def test_a_busy_receiver_is_asked_again(path: Path) -> None:
    server = Server((503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b""), OK)
    with server.running() as url:
        assert send(path, "--otlp", url).exit_code == 0
    assert server.spans == [7, 7, 7]


def test_what_is_too_large_goes_in_halves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server((413, {}, b""), OK)
    with server.running() as url:
        result = send(path, "--otlp", url, "--json")
    assert server.spans == [7, 3, 4]
    assert json.loads(result.stdout)["requests"] == 2
    monkeypatch.setattr(sending, "MAX_BYTES", 3_000)
    server = Server(OK)
    with server.running() as url:
        send(path, "--otlp", url)
    assert (sum(server.spans), len(server.spans) > 1) == (7, True)


def test_spans_that_were_rejected_are_told(path: Path) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    with Server((200, {}, answer)).running() as url:
        result = send(path, "--otlp", url)
    assert (result.exit_code, result.stderr.splitlines()[1:]) == (
        1, ["the receiver says: too old", "2 spans rejected"],
    )  # fmt: skip
    assert result.stderr.startswith("5 spans of run")


def test_an_answer_that_is_no_protobuf_does_no_harm(path: Path) -> None:
    with Server((200, {}, b"<html>")).running() as url:
        assert send(path, "--otlp", url).exit_code == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((401, {}, b""), "answered 401 Unauthorized"),
        ((503, {"Retry-After": "0"}, b""), "answered 503 Service Unavailable"),
        ((413, {}, b""), "is too large for"),
    ],
)
def test_a_receiver_that_refuses_is_one_sentence(path: Path, answer: Answer, sentence: str) -> None:
    with Server(answer).running() as url:
        result = send(path, "--otlp", url)
    assert (result.exit_code, sentence in result.stderr, result.stderr.count("\n")) == (2, True, 1)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("localhost:4318", "'localhost:4318' is no endpoint: give a URL like http://localhost:4318"),
        ("ftp://localhost", "'ftp://localhost' is no endpoint: give a URL like http://localhost:4318"),
        ("http://localhost:x", "'http://localhost:x' is no endpoint: give a URL like http://localhost:4318"),
        (
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/v1/traces does not answer: [Errno 111] Connection refused",
        ),
    ],
)
def test_an_endpoint_that_is_none_is_one_sentence(path: Path, url: str, sentence: str) -> None:
    result = send(path, "--otlp", url)
    assert (result.exit_code, result.stderr) == (2, f"Error: {sentence}\n")


def test_without_an_endpoint_there_is_nowhere_to_send_to(path: Path) -> None:
    result = send(path)
    assert (result.exit_code, result.stderr) == (
        2, "Error: say where to: --otlp http://localhost:4318, or set OTEL_EXPORTER_OTLP_ENDPOINT\n",
    )  # fmt: skip
