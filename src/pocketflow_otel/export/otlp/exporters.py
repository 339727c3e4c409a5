"""Make the OTLP exporters that the environment asks for."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.sdk.metrics.export import MetricsData

from pocketflow_otel.export.otlp import endpoints
from pocketflow_otel.export.otlp.endpoints import exporter_names
from pocketflow_otel.export.otlp.log_capture import captured_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.export import SpanExporter

_GRPC_VERBOSITY: Final = "GRPC_VERBOSITY"
_PROBE_SECONDS: Final = 2


def exporters_from_env() -> Iterator[SpanExporter]:
    """Make the OTLP exporters the environment asks for, by an endpoint or by name.

    Raises:
        ValueError: A variable names a protocol or an exporter that is not there.
    """
    for name in exporter_names("traces"):
        if "otlp" in name:
            yield exporter_class("traces", name)()


def wants_metrics() -> bool:
    """Return whether the environment asks for metrics over OTLP."""
    return any("otlp" in name for name in exporter_names("metrics"))


def variables_for_setup() -> dict[str, str | None]:
    """Return the variables under which exporters are to be made.

    With them the SDK takes our reader for metrics over OTLP, and the C core of gRPC, which reads its
    variable once, keeps failed handshakes to itself.

    Raises:
        ValueError: A variable names a protocol that there is not.
    """
    changes = endpoints.sdk_variables()
    metrics = exporter_names("metrics")
    if metrics:
        changes[endpoints.exporter_variable("metrics")] = ",".join(
            "pocketflow_otlp" if name == "otlp" else name for name in metrics
        )
    if any("otlp" in name for name in (*metrics, *exporter_names("traces"))):
        changes[_GRPC_VERBOSITY] = os.environ.get(_GRPC_VERBOSITY, "NONE")
    return changes


def exporter_class(signal: Literal["traces", "metrics"], name: str) -> Any:
    """Return the class of an OTLP exporter, by its name in `OTEL_TRACES_EXPORTER` and the like.

    Raises:
        ValueError: There is none of this name, or protocol.
    """
    name = endpoints.exporter_name(signal, name)
    for point in entry_points(group=f"opentelemetry_{signal}_exporter", name=name):
        return point.load()
    extra = "; pip install 'pocketflow-otel[otlp-json]'" if "json" in name else ""
    raise ValueError(f"the exporter {name} is not installed{extra}")


def probe(signal: Literal["traces", "metrics"], name: str) -> str:
    """Send a request with nothing in it, as an exporter would; return why that failed, or nothing.

    By the standard a receiver answers it as it would answer any.
    """
    empty: Any = [] if signal == "traces" else MetricsData(resource_metrics=[])
    make_exporter = exporter_class(signal, name)  # Before the logs are caught: its module brings the loggers.
    with endpoints.changed_environment(variables_for_setup()), captured_logs() as messages:
        try:
            exporter = make_exporter(timeout=_PROBE_SECONDS)
            result = exporter.export(empty)
            exporter.shutdown()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return str(error) or type(error).__name__
    return "" if result.name == "SUCCESS" else " ".join(messages) or "the exporter does not say why"


def target_of(exporter: object) -> str:
    """Return where an exporter sends, without what may be secret in a URL."""
    endpoint = getattr(exporter, "_endpoint", None)
    if not isinstance(endpoint, str):
        return type(exporter).__name__
    return endpoints.redacted_url(endpoint)
