"""Which exporters there are, by which variables; what the resource says; what a child is told."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from opentelemetry import baggage, context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from pocketflow_otel import child_environment
from pocketflow_otel.cli.main import main
from pocketflow_otel.export import exporters as otlp
from pocketflow_otel.export.otlp import endpoints
from pocketflow_otel.export.otlp.batch_processor import SafeBatchProcessor
from pocketflow_otel.sdk.named_exporters import NamedFileExporter, processor_for
from pocketflow_otel.sdk.resource import default_attributes, program_name, resource

if TYPE_CHECKING:
    from collections.abc import Callable

HTTP, GRPC, JSON = "otlp_proto_http", "otlp_proto_grpc", "otlp_json_http"
BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "grpc"),
        ({BASE: "http://localhost:4317"}, "grpc"),
        ({BASE: "http://localhost:4318"}, "http/protobuf"),
        ({BASE: "http://[::1]:4318/"}, "http/protobuf"),
        ({BASE: "https://example.com/otlp"}, "grpc"),
        ({BASE: "http://[::1]:4317"}, "grpc"),
        ({BASE: "unix:/run/otlp.sock"}, "grpc"),
        ({BASE: "localhost:4317"}, "grpc"),
        ({BASE: " ", "OTEL_EXPORTER_OTLP_PROTOCOL": ""}, "grpc"),
        ({BASE: "http://x:4317", TRACES: "", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": " "}, "grpc"),
        ({BASE: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "HTTP/JSON"}, "http/json"),
        ({TRACES: "https://example.com/v1/traces"}, "http/protobuf"),
        ({TRACES: "http://x:4317", BASE: "http://x:4318"}, "grpc"),
        ({BASE: "http://x:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({BASE: "http://x:4317", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "http/protobuf"),
    ],
    ids=str,
)
def test_the_protocol_is_the_one_chosen_or_that_of_the_port(
    given: Callable[..., None], variables: dict[str, str], expected: str
) -> None:
    given(**variables)
    assert endpoints.endpoint("traces").protocol == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {}),
        ({BASE: "http://x:4318"}, {"OTEL_TRACES_EXPORTER": HTTP}),
        ({BASE: "http://x:4317", "OTEL_TRACES_EXPORTER": " "}, {"OTEL_TRACES_EXPORTER": GRPC}),
        ({BASE: "http://x:4318", "OTEL_TRACES_EXPORTER": "none, otlp,"}, {"OTEL_TRACES_EXPORTER": HTTP}),
        ({BASE: "", "OTEL_TRACES_EXPORTER": ""}, {}),
        ({BASE: "http://x:4318", "OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "none"}),
        (
            {BASE: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_TRACES_EXPORTER": "a, otlp"},
            {"OTEL_TRACES_EXPORTER": f"a,{JSON}"},
        ),
    ],
    ids=str,
)
def test_an_endpoint_alone_is_enough(
    given: Callable[..., None], variables: dict[str, str], expected: dict[str, str]
) -> None:
    given(**variables)
    with endpoints.changed_environment({}):
        endpoints.set_variables(endpoints.sdk_variables())
        assert {
            name: value for name, value in os.environ.items() if name == "OTEL_TRACES_EXPORTER"
        } == expected


@pytest.mark.parametrize(
    ("url", "endpoint", "protocol"),
    [
        ("localhost:4317", "http://localhost:4317", "grpc"),
        ("https://collector.example:4317", "https://collector.example:4317", "grpc"),
        ("localhost:4318", "http://localhost:4318", "http/protobuf"),
        ("https://cloud.example/api/otel", "https://cloud.example/api/otel", "http/protobuf"),
        ("[::1]:4317", "http://[::1]:4317", "grpc"),
    ],
)
def test_one_url_says_where_and_how(url: str, endpoint: str, protocol: str) -> None:
    assert endpoints.variables_for(url, {}) == {
        "OTEL_TRACES_EXPORTER": "otlp",
        BASE: endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        TRACES: None,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": None,
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": None,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": None,
    }


def test_a_url_with_the_path_of_traces_is_taken_as_it_is() -> None:
    assert endpoints.variables_for("http://x/y/v1/traces", {}) == {
        "OTEL_TRACES_EXPORTER": "otlp",
        TRACES: "http://x/y/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("", "otlp"),
        ("none", "otlp"),
        ("console", "console,otlp"),
        (JSON, JSON),
        ("otlp, console", "otlp,console"),
    ],
)
def test_a_url_keeps_the_exporters_that_were_chosen(chosen: str, expected: str) -> None:
    changes = endpoints.variables_for("localhost:4318", {"OTEL_TRACES_EXPORTER": chosen})
    assert changes["OTEL_TRACES_EXPORTER"] == expected


@pytest.mark.parametrize("url", ["", "ftp://x:4317", "http://", "localhost:port", "http://x:99999"])
def test_what_is_no_url_is_refused_before_the_target_starts(url: str) -> None:
    with pytest.raises(ValueError, match="is no endpoint"):
        endpoints.variables_for(url, {})
    result = CliRunner().invoke(main, ["run", "--otlp", url, "app.py"])
    assert (result.exit_code, "is no endpoint" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({BASE: "http://x:4317"}, [OverGrpc]),
        ({BASE: "http://x:4318"}, [OverHttp]),
        ({BASE: "http://x:4318", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console,pocketflow_file"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, [OverGrpc]),
        ({"OTEL_TRACES_EXPORTER": f"{HTTP},{GRPC}"}, [OverHttp, OverGrpc]),
    ],
    ids=str,
)
def test_configure_makes_the_otlp_exporters_that_were_asked_for(
    given: Callable[..., None], variables: dict[str, str], expected: list[type]
) -> None:
    given(**variables)
    exporters = list(otlp.exporters_from_env())
    assert [type(exporter) for exporter in exporters] == expected
    for exporter in exporters:
        exporter.shutdown()


def test_a_protocol_that_there_is_not_is_refused_by_name(given: Callable[..., None]) -> None:
    given(**{BASE: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"})
    with pytest.raises(ValueError, match="choose one of grpc, http/protobuf, http/json"):
        list(otlp.exporters_from_env())


@pytest.mark.skipif(find_spec("opentelemetry.exporter.otlp.json") is not None, reason="it is installed")
def test_an_exporter_that_is_not_installed_says_how_to_get_it(given: Callable[..., None]) -> None:
    given(OTEL_TRACES_EXPORTER=JSON)
    with pytest.raises(ValueError, match=r"pip install 'pocketflow-otel\[otlp-json\]'"):
        list(otlp.exporters_from_env())


def test_every_exporter_but_our_views_stands_behind_the_safe_processor() -> None:
    safe = processor_for(ConsoleSpanExporter())
    assert type(safe) is SafeBatchProcessor
    assert type(processor_for(NamedFileExporter())) is SpanProcessor
    safe.shutdown()


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("localhost:4317", "localhost:4317"),
        ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
        ("https://user:secret@example.com/v1/traces?key=secret", "https://example.com/v1/traces"),
        (None, "Exporter"),
    ],
)
def test_messages_name_the_endpoint_without_its_secrets(endpoint: str | None, shown: str) -> None:
    class Exporter:
        _endpoint = endpoint

    assert otlp.target_of(Exporter()) == shown


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {}),
        ({"OTEL_METRICS_EXPORTER": "console"}, {"OTEL_METRICS_EXPORTER": "console"}),
        (
            {"OTEL_METRICS_EXPORTER": "otlp,console"},
            {"OTEL_METRICS_EXPORTER": "pocketflow_otlp,console", "GRPC_VERBOSITY": "NONE"},
        ),
        (
            {BASE: "http://x", "GRPC_VERBOSITY": "DEBUG", "OTEL_EXPORTER_OTLP_TIMEOUT": " "},
            {"GRPC_VERBOSITY": "DEBUG", "OTEL_TRACES_EXPORTER": GRPC, "OTEL_EXPORTER_OTLP_TIMEOUT": None},
        ),
    ],
    ids=str,
)
def test_the_sdk_takes_our_reader_for_metrics_over_otlp(
    given: Callable[..., None], variables: dict[str, str], expected: dict[str, str]
) -> None:
    given(**variables)
    assert otlp.variables_for_setup() == expected


def test_the_environment_is_changed_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_A", "1")
    monkeypatch.setenv("OTEL_B", "2")
    before = dict(os.environ)
    with endpoints.changed_environment({"OTEL_A": None, "OTEL_B": "3", "OTEL_C": "4"}):
        assert ("OTEL_A" in os.environ, os.environ["OTEL_B"], os.environ["OTEL_C"]) == (False, "3", "4")
        os.environ["OTEL_D"] = "5"
    assert dict(os.environ) == before


# Resource


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "app.py"], "app"),
        (["python", "-u", "-X", "dev", "/flows/qa.py", "--fast"], "qa"),
        (["python", "/venv/bin/pflow", "run", "x.pflow.md"], "pflow"),
        (["python", "-m", "package.app", "-v"], "package.app"),
        (["python", "-m", "package.__main__"], "package"),
        (["python", "package/__main__.py"], "package"),
        (["python", "-m", "pocketflow_otel.cli.flow_runner", "flows/app.py:create"], "app"),
        (["python", "-c", "pass", "app.py"], "python"),
        (["python", "-"], "python"),
        (["python"], "python"),
    ],
    ids=str,
)
def test_a_service_is_called_like_its_program(command: list[str], name: str) -> None:
    assert program_name(command) == name


def test_the_resource_names_program_process_and_machine_and_no_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "app.py", "--key", "secret"])
    monkeypatch.setattr(sys, "argv", ["app.py", "--key", "secret"])
    attributes = default_attributes()
    assert attributes["service.name"] == "app"
    assert attributes["process.pid"] == os.getpid()
    assert {"host.name", "process.runtime.version", "telemetry.distro.version"} <= set(attributes)
    assert "secret" not in str(attributes)


def test_the_variables_win_over_what_is_found_and_an_argument_over_both(given: Callable[..., None]) -> None:
    given(OTEL_RESOURCE_ATTRIBUTES="service.name=mine,host.name=here,deployment.environment.name=test")
    attributes = resource().attributes
    assert (attributes["service.name"], attributes["host.name"]) == ("mine", "here")
    assert attributes["deployment.environment.name"] == "test"
    assert resource("other").attributes["service.name"] == "other"


# Children


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider(shutdown_on_exit=False).get_tracer("test")


def carried(environ: dict[str, str]) -> dict[str, str]:
    names = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
    return {name: environ[name] for name in names if name in environ}


def test_a_child_is_told_of_the_current_span(tracer: trace.Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    with tracer.start_as_current_span("step") as span:
        ids = span.get_span_context()
        environ = child_environment()
    parent = f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"
    assert carried(environ) == {"TRACEPARENT": parent}
    assert environ["PATH"] == "/bin"
    assert "TRACEPARENT" not in os.environ


def test_what_an_outer_trace_left_in_the_environment_is_replaced_whole(tracer: trace.Tracer) -> None:
    stale = {"TRACEPARENT": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "TRACESTATE": "a=b", "HOME": "/"}
    with tracer.start_as_current_span("step"):
        environ = child_environment(stale)
    assert environ["TRACEPARENT"] != stale["TRACEPARENT"]
    assert ("TRACESTATE" in environ, environ["HOME"]) == (False, "/")
    assert len(stale) == 3


def test_baggage_goes_along(tracer: trace.Tracer) -> None:
    token = context.attach(baggage.set_baggage("tenant", "a"))
    try:
        with tracer.start_as_current_span("step"):
            assert carried(child_environment({}))["BAGGAGE"] == "tenant=a"
    finally:
        context.detach(token)


def test_outside_a_span_the_environment_stays_as_it_is() -> None:
    outer: dict[str, Any] = {"TRACEPARENT": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    assert child_environment(outer) == outer
