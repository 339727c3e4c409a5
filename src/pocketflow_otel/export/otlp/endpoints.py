"""Decide where OTLP goes and how: the one place that reads the standard variables for it.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Signal = Literal["traces", "metrics", "logs"]
Changes = Mapping[str, str | None]
"""Of variables; `None`: the variable must not be there."""

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
JSON: Final = "http/json"
EXPORTERS: Final[Mapping[str, str]] = {
    GRPC: "otlp_proto_grpc",
    HTTP: "otlp_proto_http",
    JSON: "otlp_json_http",
}
"""The names of exporters in `OTEL_TRACES_EXPORTER` and the like, by protocol."""
_PROTOCOLS: Final = {name: protocol for protocol, name in EXPORTERS.items()}

GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318
EXAMPLE_URL: Final = f"http://localhost:{HTTP_PORT}"
"""The endpoint that messages and help texts give as an example."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how the spans, or metrics, of a process are sent.

    Attributes:
        signal: What is sent.
        url: As it was given, or the default of the protocol.
        protocol: One of `EXPORTERS`, or what a variable has in its place.
        url_from: The variable that has the URL; empty for the default.
        protocol_from: The variable that has the protocol; empty where the URL decides.
    """

    signal: Signal
    url: str
    protocol: str
    url_from: str = ""
    protocol_from: str = ""

    @property
    def target(self) -> str:
        """What is asked: over HTTP the URL of the signal, over gRPC the endpoint itself."""
        if self.protocol == GRPC or self.url_from == variable("ENDPOINT", self.signal):
            return self.url
        return f"{self.url.removesuffix('/')}{path_of(self.signal)}"

    @property
    def redacted_target(self) -> str:
        """The target, without what may be secret in a URL."""
        return redacted_url(self.target)


def path_of(signal: Signal) -> str:
    """Return the path at which a server takes a signal over HTTP."""
    return f"/v1/{signal}"


def variable(name: str, signal: Signal) -> str:
    """Return the variable of one signal alone.

    >>> variable("ENDPOINT", "traces")
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'
    """
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"


def exporter_variable(signal: Signal) -> str:
    """Return the variable that names the exporters of a signal."""
    return f"OTEL_{signal.upper()}_EXPORTER"


def setting(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the value of a variable; one that is empty, or blank, is as good as unset."""
    return environ.get(name, "").strip()


def exporter_names(signal: Signal, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the exporters of a signal by name; for traces an endpoint alone is enough."""
    chosen = exporter_variable(signal)
    if setting(chosen, environ):
        names = (name.strip() for name in environ[chosen].split(","))
        return [name for name in names if name and name.lower() != "none"]
    return ["otlp"] if signal == "traces" and endpoint_is_set(environ) else []


def endpoint_is_set(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment names an endpoint for traces."""
    return bool(setting(ENDPOINT, environ) or setting(variable("ENDPOINT", "traces"), environ))


def endpoint(
    signal: Signal, name: str = "otlp", environ: Mapping[str, str] = os.environ, *, typed: bool = False
) -> Endpoint:
    """Decide where an exporter sends, and how.

    Args:
        signal: What it sends.
        name: Its name in `OTEL_TRACES_EXPORTER` and the like; all but `otlp` have their protocol.
        environ: The variables.
        typed: Whether a user typed it as an argument of a command: then HTTP is the default.
    """
    url_from, url = _first(environ, variable("ENDPOINT", signal), ENDPOINT)
    protocol_from, protocol = _first(environ, variable("PROTOCOL", signal), PROTOCOL)
    if name in _PROTOCOLS:
        protocol_from, protocol = exporter_variable(signal), _PROTOCOLS[name]
    protocol = protocol.lower() or (protocol_of(url) if typed else default_protocol(url, signal))
    if not url:
        url = f"http://localhost:{GRPC_PORT if protocol == GRPC else HTTP_PORT}"
    return Endpoint(signal, url, protocol, url_from, protocol_from)


def endpoint_at(url: str) -> Endpoint:
    """Return the endpoint for traces at a URL that a command was given; a path it has stays as it is."""
    has_path = is_url(url) and urlsplit(url).path not in ("", "/")
    name = variable("ENDPOINT", "traces") if has_path else ENDPOINT
    return endpoint("traces", environ={name: url}, typed=True)


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    return next(((name, value) for name in names if (value := setting(name, environ))), ("", ""))


def header_variables(signal: Signal) -> tuple[str, ...]:
    """Return the variables for the headers of a signal; the first that is set decides."""
    return variable("HEADERS", signal), HEADERS


def headers(signal: Signal, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers that the environment sets for a signal; the SDK's exporters read them themselves."""
    from opentelemetry.util.re import parse_env_headers

    _, text = _first(environ, *header_variables(signal))
    return dict(parse_env_headers(text, liberal=True))


def default_protocol(url: str, signal: Signal = "traces") -> str:
    """Return the protocol for an endpoint of the environment where no variable names one.

    gRPC, as Python's exporters have it; sent to the port of HTTP, or to a path, it would only fail.

    >>> default_protocol("http://localhost:4318"), default_protocol("https://otlp.example.com")
    ('http/protobuf', 'grpc')
    """
    return HTTP if port_of(url) == HTTP_PORT or url.endswith(path_of(signal)) else GRPC


def protocol_of(url: str) -> str:
    """Return the protocol for a URL that was typed: gRPC for its port, else HTTP.

    >>> protocol_of("http://localhost:4317"), protocol_of("https://otlp.example.com")
    ('grpc', 'http/protobuf')
    """
    return GRPC if port_of(url) == GRPC_PORT else HTTP


def port_of(url: str) -> int | None:
    """Return the port of a URL, also of one without a scheme."""
    try:
        return parts_of(url).port
    except ValueError:
        return None


def parts_of(url: str) -> SplitResult:
    """Return the parts of a URL; of `localhost:4317` host and port as well.

    Raises:
        ValueError: It has brackets that do not fit.
    """
    return urlsplit(url if "//" in url else f"//{url}")


def exporter_name(signal: Signal, name: str = "otlp", environ: Mapping[str, str] = os.environ) -> str:
    """Return the name of the exporter that sends: that of the protocol, for `otlp`.

    Raises:
        ValueError: A variable names a protocol that there is not.
    """
    if name != "otlp":
        return name
    to = endpoint(signal, name, environ)
    if to.protocol not in EXPORTERS:
        raise ValueError(f"{to.protocol_from}={to.protocol!r}: choose one of {', '.join(EXPORTERS)}")
    return EXPORTERS[to.protocol]


def sdk_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return the variables under which the SDK makes exactly these exporters.

    The SDK knows no default by port, refuses `http/json`, and fails where a variable is blank.

    Raises:
        ValueError: A variable names a protocol that there is not.
    """
    changes: dict[str, str | None] = {
        name: value.strip() or None
        for name, value in environ.items()
        if name.startswith("OTEL_") and (not value or value != value.strip())
    }
    signals: tuple[Signal, ...] = ("traces", "metrics", "logs")
    for signal in signals:
        names = exporter_names(signal, environ)
        if signal != "metrics":  # These have a reader of ours, which asks for itself.
            names = [exporter_name(signal, name, environ) for name in names]
        if names or setting(exporter_variable(signal), environ):
            changes[exporter_variable(signal)] = ",".join(names) or "none"
    return changes


def variables_for(url: str, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that send traces to one URL.

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
    if not is_url(full):
        raise ValueError(f"{url!r} is no endpoint; give one like http://localhost:{GRPC_PORT}")
    chosen = exporter_names(
        "traces", {name: value for name, value in environ.items() if "ENDPOINT" not in name}
    )
    if not any("otlp" in name for name in chosen):
        chosen.append("otlp")
    changes: dict[str, str | None] = {exporter_variable("traces"): ",".join(chosen)}
    traces, traces_protocol = variable("ENDPOINT", "traces"), variable("PROTOCOL", "traces")
    if urlsplit(full).path.endswith(path_of("traces")):
        return changes | {traces: full, traces_protocol: protocol_of(full)}
    without = (traces, traces_protocol, variable("ENDPOINT", "metrics"), variable("PROTOCOL", "metrics"))
    return changes | dict.fromkeys(without) | {ENDPOINT: full, PROTOCOL: protocol_of(full)}


def is_url(url: str) -> bool:
    """Return whether a text is the URL of a server that speaks HTTP."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def redacted_url(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2].partition("?")[0]


@contextmanager
def changed_environment(changes: Changes) -> Iterator[None]:
    """Change variables for the block alone: the SDK reads them, the program finds its own."""
    before = dict(os.environ)
    set_variables(changes)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def set_variables(changes: Changes) -> None:
    """Set variables; `None` takes one away."""
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
