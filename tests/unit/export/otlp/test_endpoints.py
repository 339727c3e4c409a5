"""Where OTLP goes and how, by which variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.otlp import BASE, GRPC, HTTP, JSON

from pocketflow_otel.cli.main import main
from pocketflow_otel.export.otlp import endpoints

if TYPE_CHECKING:
    from collections.abc import Callable

TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


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


def test_the_environment_is_changed_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_A", "1")
    monkeypatch.setenv("OTEL_B", "2")
    before = dict(os.environ)
    with endpoints.changed_environment({"OTEL_A": None, "OTEL_B": "3", "OTEL_C": "4"}):
        assert ("OTEL_A" in os.environ, os.environ["OTEL_B"], os.environ["OTEL_C"]) == (False, "3", "4")
        os.environ["OTEL_D"] = "5"
    assert dict(os.environ) == before
