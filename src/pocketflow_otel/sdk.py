"""Set up the OpenTelemetry SDK: `configure()` from code, our distro under `opentelemetry-instrument`."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.views import show, shown
from pocketflow_otel.instrument.instrumentor import PocketFlowInstrumentor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketflow_otel.config import ConsoleMode, FileMode

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class PrivateIdGenerator(IdGenerator):
    """Random ids that leave Python's global `random` alone.

    The SDK's default draws from it, which changes what a seeded program does, and gives equal ids
    to processes with equal seeds. The operating system's generator also survives a fork.
    """

    _random: Final = random.SystemRandom()

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or self.generate_span_id()

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or self.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Return `True`: all bits are random, as W3C Trace Context level 2 asks."""
        return True


def use_private_ids(provider: TracerProvider) -> None:
    """Replace the default id generator of a provider; one that somebody chose stays."""
    if type(provider.id_generator) is RandomIdGenerator:
        provider.id_generator = PrivateIdGenerator()  # type: ignore[assignment]  # declared by its default
        for tracer in getattr(provider, "_tracers", {}).values():  # Each has a reference of its own.
            tracer.id_generator = provider.id_generator


def adopt(provider: trace.TracerProvider, config: Config) -> None:
    """Prepare a provider: private ids, and the views `config` asks for that it does not have yet."""
    if isinstance(provider, TracerProvider):
        use_private_ids(provider)
        _fill(provider, config, console=config.console, file=config.file)


def _fill(
    provider: TracerProvider, config: Config, *, console: ConsoleMode | None, file: FileMode | None
) -> None:
    has_console, has_file = shown(provider)
    show(
        provider,
        console=None if has_console else console,
        file=None if has_file else file,
        directory=config.dir,
    )


def configure(
    *,
    console: ConsoleMode = "live",
    file: FileMode = "all",
    directory: Path | str | None = None,
    service_name: str | None = None,
    capture_values: Sequence[str] = (),
) -> TracerProvider:
    """Trace PocketFlow from here on: set up an SDK provider if there is none, our views, and spans.

        import pocketflow_otel

        pocketflow_otel.configure()

    May be called again, to change the views. The environment's `POCKETFLOW_OTEL_*` variables
    give what is not given here, and its `OTEL_EXPORTER_OTLP_ENDPOINT` adds an OTLP exporter.

    Args:
        console: What stderr shows: see `Config.console`.
        file: Which runs leave a trace file: see `Config.file`.
        directory: Where trace files go, `~/.pflow/traces` by default.
        service_name: The resource's `service.name`, by default the program's name.
        capture_values: Names or patterns of the store keys whose values may be recorded.

    Returns:
        The provider, for further processors.

    Raises:
        ValueError: An argument or a variable has a value that is not allowed.
        RuntimeError: The global provider is no SDK provider.
    """
    given = Config.from_env()
    config = Config(
        console=console,
        file=file,
        dir=given.dir if directory is None else Path(directory),
        capture_values=tuple(capture_values) or given.capture_values,
        mask=given.mask,
        mask_errors=given.mask_errors,
        max_batch_items=given.max_batch_items,
    )
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = TracerProvider(resource=_resource(service_name), id_generator=PrivateIdGenerator())
        if _endpoint_is_set():
            _export_otlp(provider)
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        raise RuntimeError(f"the global tracer provider is {type(provider).__name__}, not the SDK's")
    use_private_ids(provider)
    show(provider, console=config.console, file=config.file, directory=config.dir)
    instrumentor = PocketFlowInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(config=config)
    return provider


def launch(*, console: ConsoleMode | None, directory: str | None) -> None:
    """Trace this process as `opentelemetry-instrument` with our distro does, from within.

    Args:
        console: What stderr shows; by default one line that names the trace file.
        directory: Where trace files go; by default as the environment says.
    """
    from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors

    config = _config_from_env()
    distro = PocketFlowDistro()
    distro.configure()
    PocketFlowConfigurator().configure()  # type: ignore[no-untyped-call]
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        show(
            provider,
            console=console or config.console or "saved",
            file=config.file or "all",
            directory=Path(directory) if directory else config.dir,
        )
    # Every instrumentation that is installed, so that the spans of LLM clients are there too.
    _load_instrumentors(distro)


def _config_from_env() -> Config:
    """Read the variables; the instrumentor reports bad ones, once."""
    return Config.from_env(report=no_report)


def _resource(service_name: str | None) -> Resource:
    resource = Resource.create({SERVICE_NAME: service_name} if service_name else {})
    if service_name or OTELResourceDetector().detect().attributes.get(SERVICE_NAME):
        return resource
    return resource.merge(Resource({SERVICE_NAME: Path(sys.argv[0]).stem or "python"}))


def _endpoint_is_set() -> bool:
    return any(os.environ.get(name) for name in _ENDPOINTS)


def _export_otlp(provider: TracerProvider) -> None:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

    exporter: SpanExporter
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"
    )
    if protocol.startswith("http"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        exporter = OverHttp()
    else:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        exporter = OverGrpc()
    provider.add_span_processor(BatchSpanProcessor(exporter))


class PocketFlowDistro(BaseDistro):  # type: ignore[misc]  # ships without types
    """Local first: no exporter and no network unless the environment asks for them."""

    def _configure(self, **kwargs: Any) -> None:
        if _endpoint_is_set():
            os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")


class PocketFlowConfigurator(_OTelSDKConfigurator):
    """The SDK's own set-up, with private ids, and by default a trace file and two summary lines."""

    def _configure(self, **kwargs: Any) -> None:
        if "OTEL_PYTHON_ID_GENERATOR" not in os.environ:
            kwargs.setdefault("id_generator", PrivateIdGenerator())
        super()._configure(**kwargs)  # type: ignore[no-untyped-call]
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            config = _config_from_env()
            console, file = config.console or "summary", config.file or "all"
            _fill(provider, config, console=console, file=file)
