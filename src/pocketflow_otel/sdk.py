"""Set up the OpenTelemetry SDK: `configure()` from code, our distro under `opentelemetry-instrument`."""

from __future__ import annotations

import os
import random
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export import exporters
from pocketflow_otel.export.client_spans import watch_clients
from pocketflow_otel.export.console.terminal import end_lines
from pocketflow_otel.export.otlp.batch_processor import only_in_hope
from pocketflow_otel.export.otlp.endpoints import change, environment, sdk_variables, setting, variables_for
from pocketflow_otel.export.outputs import keep_of, live, processor_of, show, shown
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.instrumentor import PflowInstrumentor, PocketFlowInstrumentor
from pocketflow_otel.resource import default_attributes, resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketflow_otel.config import ConsoleMode, FileMode


_INSTRUMENTING_PFLOW: Final = guard("instrument pflow")


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
        watch_clients(provider)
        processor_of(provider)  # Without views too: it hands on what `using()` gives.
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
        keep=keep_of(config),
    )


def configure(
    *,
    console: ConsoleMode | None = None,
    file: FileMode | None = None,
    directory: Path | str | None = None,
    service_name: str | None = None,
    capture_values: Sequence[str] = (),
) -> TracerProvider:
    """Trace PocketFlow and pflow from here on: set up an SDK provider if there is none, views, and spans.

        import pocketflow_otel

        pocketflow_otel.configure()

    May be called again, to change the views. Nothing of pflow is imported before the program does.
    The environment's `POCKETFLOW_OTEL_*` variables give what is not given here, and its
    `OTEL_EXPORTER_OTLP_*` variables add OTLP exporters.

    Args:
        console: What stderr shows: see `Config.console`; `live` by default.
        file: Which runs leave a trace file: see `Config.file`; `all` by default.
        directory: Where trace files go, `~/.pflow/traces` by default.
        service_name: The resource's `service.name`, by default the program's name.
        capture_values: Names or patterns of the store keys whose values may be recorded.

    Returns:
        The provider, for further processors.

    Raises:
        ValueError: An argument or a variable has a value that is not allowed.
        TypeError: `capture_values` is one string.
        RuntimeError: The global provider is no SDK provider.
    """
    if isinstance(capture_values, str):
        raise TypeError(f"capture_values={capture_values!r}: give a sequence of names")
    given = Config.from_env()
    config = replace(
        given,
        console=console or given.console or "live",
        file=file or given.file or "all",
        dir=given.dir if directory is None else Path(directory),
        capture_values=tuple(capture_values) or given.capture_values,
    )
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        with environment(exporters.variables_for_setup()):
            provider = _new_provider(service_name)
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        raise RuntimeError(f"the global tracer provider is {type(provider).__name__}, not the SDK's")
    use_private_ids(provider)
    watch_clients(provider)
    show(
        provider,
        console=config.console,
        file=config.file,
        directory=config.dir,
        keep=keep_of(config),
    )
    instrumentor = PocketFlowInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(config=config)
    with _INSTRUMENTING_PFLOW:
        _instrument_pflow(config)
    return provider


def _instrument_pflow(config: Config) -> None:
    """Have pflow traced when it is imported, where a release is installed that we know."""
    instrumentor = PflowInstrumentor()
    # Asked before, for where there is none `instrument` would log an error.
    if not (instrumentor.is_instrumented_by_opentelemetry or instrumentor._check_dependency_conflicts()):
        instrumentor.instrument(config=config)


def shows_live(provider: trace.TracerProvider | None) -> bool:
    """Tell whether a provider's runs are told live on stderr."""
    return isinstance(provider, TracerProvider) and live(provider)


def answered() -> None:
    """Take note that a user has answered a question on the terminal."""
    end_lines()


FLUSH_SECONDS: Final = 1.0
"""What the sending of a run's spans may hold up the program that ran it."""

_FLUSHING: Final = guard("send the spans of a run")
_held_up: Final[weakref.WeakKeyDictionary[TracerProvider, threading.Thread]] = weakref.WeakKeyDictionary()
"""The flush of a provider that took too long."""


def flush(provider: trace.TracerProvider | None) -> None:
    """Have what waits sent, and trace files finished, for a program that may end without saying so.

    In a thread of its own: the SDK's own processor takes its time, whatever it is given. While that
    goes on, and as long as an endpoint does not answer or refuses, nothing is waited for.
    """
    if not isinstance(provider, TracerProvider):
        return
    before = _held_up.get(provider)
    if before is not None and before.is_alive():
        return
    thread = threading.Thread(target=_flush, args=(provider,), name="pocketflow-otel-flush", daemon=True)
    thread.start()
    thread.join(FLUSH_SECONDS)
    if thread.is_alive():
        _held_up[provider] = thread


def _flush(provider: TracerProvider) -> None:
    """Flush in a little less than the time there is, so that those who wait in vain get to know it."""
    with _FLUSHING, only_in_hope():
        provider.force_flush(int(FLUSH_SECONDS * 950))


def launch(
    *,
    console: ConsoleMode | None,
    directory: str | None,
    endpoint: str | None = None,
) -> None:
    """Trace this process as `opentelemetry-instrument` with our distro does, from within.

    Args:
        console: What stderr shows; by default one line that names the trace file.
        directory: Where trace files go; by default as the environment says.
        endpoint: Where spans are sent as well: see `endpoints.variables_for`.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _auto_instrument(endpoint)
    config = _config_from_env()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider) and (console or directory):
        show(
            provider,
            console=console,
            file=config.file or "all",
            directory=Path(directory) if directory else config.dir,
            keep=keep_of(config),
        )


def _auto_instrument(endpoint: str | None) -> None:
    """Set up the SDK, and every instrumentation that is installed: LLM clients have spans too."""
    from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors

    distro = PocketFlowDistro()
    with environment(variables_for(endpoint, os.environ) if endpoint else {}):
        distro.configure()
        configurator = PocketFlowConfigurator()  # type: ignore[no-untyped-call]
        configurator.default_console = "saved"
        configurator.configure()  # type: ignore[no-untyped-call]
    _load_instrumentors(distro)


def _config_from_env() -> Config:
    """Read the variables; the instrumentor reports bad ones, once."""
    return Config.from_env(report=no_report)


def _new_provider(service_name: str | None) -> TracerProvider:
    """Return a provider with the OTLP exporters the environment asks for; metrics likewise."""
    ours = resource(service_name)
    provider = TracerProvider(resource=ours, id_generator=PrivateIdGenerator())
    for exporter in exporters.exporters_from_env():
        provider.add_span_processor(exporters.processor_for(exporter))
    if exporters.wants_metrics() and not isinstance(metrics.get_meter_provider(), MeterProvider):
        from pocketflow_otel.export.otlp.metric_reader import OtlpMetricReader

        metrics.set_meter_provider(MeterProvider(metric_readers=[OtlpMetricReader()], resource=ours))
    return provider


_completed: dict[str, str | None] = {}
"""What our distro changed for the SDK's set-up, as it was."""


class PocketFlowDistro(BaseDistro):  # type: ignore[misc]  # ships without types
    """Local first: no exporter and no network unless the environment asks for them."""

    def _configure(self, **kwargs: Any) -> None:
        changes = {name: value for name, value in sdk_variables().items() if value is not None}
        _completed.update((name, os.environ.get(name)) for name in changes)
        change(changes)


class PocketFlowConfigurator(_OTelSDKConfigurator):
    """The SDK's own set-up, with private ids and exporters that do no harm.

    By default a run leaves a trace file and two summary lines.

    Attributes:
        default_console: What stderr shows where nothing is asked for.
    """

    default_console: ConsoleMode = "summary"

    def _configure(self, **kwargs: Any) -> None:
        if not setting("OTEL_PYTHON_ID_GENERATOR"):
            kwargs.setdefault("id_generator", PrivateIdGenerator())
        kwargs.setdefault("export_span_processor", exporters.processor_for)
        kwargs["resource_attributes"] = default_attributes() | kwargs.get("resource_attributes", {})
        with environment(exporters.variables_for_setup()):
            super()._configure(**kwargs)  # type: ignore[no-untyped-call]
        change(_completed)  # The program, and what it starts, find what they would find without us.
        _completed.clear()
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            config = _config_from_env()
            console, file = config.console or self.default_console, config.file or "all"
            _fill(provider, config, console=console, file=file)
