"""Which OTLP exporters there are, by the standard variables or from one URL, and how they send.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import SpanProcessor

from pocketflow_otel.export.batch import Limits, SafeBatchProcessor
from pocketflow_otel.export.chosen import ChosenConsole, ChosenFile
from pocketflow_otel.export.views import keeps_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
TRACES_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
METRICS_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
METRICS_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"

_BY_PROTOCOL: Final[Mapping[str, str]] = {
    "grpc": "otlp_proto_grpc",
    "http/protobuf": "otlp_proto_http",
    "http/json": "otlp_json_http",
}
_GRPC_VERBOSITY: Final = "GRPC_VERBOSITY"
_TRACES_PATH: Final = "/v1/traces"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318


def endpoint_is_set() -> bool:
    """Tell whether the environment names an endpoint for traces."""
    return bool(os.environ.get(ENDPOINT) or os.environ.get(TRACES_ENDPOINT))


def protocol() -> str:
    """Return how traces are sent: what a variable says, else what the endpoint looks like.

    Python's exporters take gRPC when nobody chooses; sent to the port of HTTP it only fails.
    """
    given = os.environ.get(TRACES_PROTOCOL) or os.environ.get(PROTOCOL)
    if given:
        return given.strip()
    url = urlsplit(os.environ.get(TRACES_ENDPOINT) or os.environ.get(ENDPOINT) or "")
    over_http = url.path.endswith(_TRACES_PATH) or _port(url.netloc) == _HTTP_PORT
    return "http/protobuf" if over_http else "grpc"


def complete_environment() -> None:
    """Make an endpoint variable enough: name the exporter and the protocol where nobody did.

    The SDK's own set-up refuses the protocol `http/json`; its exporter goes by another name.
    """
    if endpoint_is_set():
        os.environ.setdefault(TRACES_EXPORTER, "otlp")
        how = protocol()
        if how == "http/json":
            names = os.environ[TRACES_EXPORTER].split(",")
            os.environ[TRACES_EXPORTER] = ",".join(
                _BY_PROTOCOL[how] if name.strip() == "otlp" else name for name in names
            )
        elif not os.environ.get(PROTOCOL):
            os.environ.setdefault(TRACES_PROTOCOL, how)


def variables_for(url: str, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that send traces to one URL; `None`: the variable must not be there.

    >>> changes = variables_for("localhost:4317", {})
    >>> changes["OTEL_EXPORTER_OTLP_ENDPOINT"], changes["OTEL_EXPORTER_OTLP_PROTOCOL"]
    ('http://localhost:4317', 'grpc')

    Args:
        url: Port 4317 means gRPC, any other HTTP; without a scheme it is `http`. A path may end in
            `/v1/traces`, or leave that to the exporter.
        environ: The variables there are; headers, certificates and a JSON exporter stay chosen.

    Raises:
        ValueError: It is no URL of a server.
    """
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no endpoint; give one like http://localhost:4317")
    chosen = [name for name in _names(TRACES_EXPORTER, environ) if name != "none"]
    if not any("otlp" in name for name in chosen):
        chosen.append("otlp")
    how = "grpc" if port == _GRPC_PORT else "http/protobuf"
    changes: dict[str, str | None] = {TRACES_EXPORTER: ",".join(chosen)}
    if parts.path.endswith(_TRACES_PATH):
        return changes | {TRACES_ENDPOINT: full, TRACES_PROTOCOL: how}
    without = dict.fromkeys((TRACES_ENDPOINT, TRACES_PROTOCOL, METRICS_ENDPOINT, METRICS_PROTOCOL))
    return changes | without | {ENDPOINT: full, PROTOCOL: how}


def exporters_from_env() -> Iterator[SpanExporter]:
    """Make the OTLP exporters the environment asks for, by an endpoint or by name.

    Raises:
        ValueError: A variable names a protocol or an exporter that is not there.
    """
    for name in _names(TRACES_EXPORTER) or (["otlp"] if endpoint_is_set() else []):
        if "otlp" in name:
            yield load("traces", name)()


def wants_metrics() -> bool:
    """Tell whether the environment asks for metrics over OTLP."""
    return any("otlp" in name for name in _names(METRICS_EXPORTER))


def variables_for_setup() -> dict[str, str | None]:
    """Return the variables under which exporters are to be made.

    With them the SDK takes our reader for metrics over OTLP, and the C core of gRPC, which reads its
    variable once, keeps failed handshakes to itself.
    """
    changes: dict[str, str | None] = {}
    if metrics := _names(METRICS_EXPORTER):
        ours = ("pocketflow_otlp" if name == "otlp" else name for name in metrics)
        changes[METRICS_EXPORTER] = ",".join(ours)
    if any("otlp" in name for name in (*metrics, *_names(TRACES_EXPORTER))) or endpoint_is_set():
        changes[_GRPC_VERBOSITY] = os.environ.get(_GRPC_VERBOSITY, "NONE")
    return changes


def _names(variable: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    return [name.strip() for name in environ.get(variable, "").split(",") if name.strip()]


def load(signal: Literal["traces", "metrics"], name: str) -> Any:
    """Return the class of an OTLP exporter, by its name in `OTEL_TRACES_EXPORTER` and the like.

    Raises:
        ValueError: There is none of this name, or protocol.
    """
    if name == "otlp":
        how = protocol() if signal == "traces" else os.environ.get(METRICS_PROTOCOL) or protocol()
        if how not in _BY_PROTOCOL:
            raise ValueError(f"{PROTOCOL}={how!r}: choose one of {', '.join(_BY_PROTOCOL)}")
        name = _BY_PROTOCOL[how]
    for point in entry_points(group=f"opentelemetry_{signal}_exporter", name=name):
        return point.load()
    extra = "; pip install 'pocketflow-otel[otlp-json]'" if "json" in name else ""
    raise ValueError(f"the exporter {name} is not installed{extra}")


def processor_for(span_exporter: SpanExporter) -> SpanProcessor:
    """Return what stands between a provider and an exporter, in set-ups of ours."""
    if isinstance(span_exporter, ChosenConsole | ChosenFile):
        return SpanProcessor()  # They are live views already, and export nothing themselves.
    return SafeBatchProcessor(span_exporter, target_of(span_exporter), Limits.from_env(), kept=keeps_files)


def target_of(exporter: object) -> str:
    """Return where an exporter sends, without what may be secret in a URL."""
    endpoint = getattr(exporter, "_endpoint", None)
    if not isinstance(endpoint, str):
        return type(exporter).__name__
    scheme, separator, rest = endpoint.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


def _port(netloc: str) -> int | None:
    digits = netloc.rpartition(":")[2]
    return int(digits) if digits.isdecimal() else None
