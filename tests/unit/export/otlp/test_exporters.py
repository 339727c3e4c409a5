"""Which exporters there are, by which variables, and what the SDK is given for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from tests.support.otlp import BASE, GRPC, HTTP, JSON

from pocketflow_otel.export.otlp import exporters as otlp

if TYPE_CHECKING:
    from collections.abc import Callable


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
