"""`configure()`: trace PocketFlow and pflow from code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from pocketflow_otel.config import Config, modules_of
from pocketflow_otel.export.otlp import exporters
from pocketflow_otel.export.otlp.endpoints import changed_environment
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.instrumentor import PflowInstrumentor, PocketFlowInstrumentor
from pocketflow_otel.sdk.ids import PrivateIdGenerator
from pocketflow_otel.sdk.named_exporters import processor_for
from pocketflow_otel.sdk.provider import prepare_provider
from pocketflow_otel.sdk.resource import resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from pocketflow_otel.config import ConsoleMode, FileMode

_INSTRUMENTING_PFLOW: Final = guard("instrument pflow")


def configure(
    *,
    console: ConsoleMode | None = None,
    file: FileMode | None = None,
    directory: Path | str | None = None,
    service_name: str | None = None,
    capture_values: Sequence[str] = (),
    modules: str | ModuleType | Iterable[str | ModuleType] = (),
) -> TracerProvider:
    """Trace PocketFlow and pflow from here on: set up an SDK provider if there is none, views, and spans.

        import pocketflow_otel

        pocketflow_otel.configure()

    May be called again, to change the views or to name more modules. Nothing of pflow is imported
    before the program does. The environment's `POCKETFLOW_OTEL_*` variables give what is not given
    here, and its `OTEL_EXPORTER_OTLP_*` variables add OTLP exporters.

    Args:
        console: What stderr shows: see `Config.console`; `live` by default.
        file: Which runs leave a trace file: see `Config.file`; `all` by default.
        directory: Where trace files go, `~/.pflow/traces` by default.
        service_name: The resource's `service.name`, by default the program's name.
        capture_values: Names or patterns of the store keys whose values may be recorded.
        modules: Modules, by name or as they are, that have a PocketFlow of their own under another
            name than `pocketflow`; those that the variable names are traced too.

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
        modules=(*given.modules, *modules_of(modules)),
    )
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        with changed_environment(exporters.variables_for_setup()):
            provider = new_provider(service_name)
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        raise RuntimeError(f"the global tracer provider is {type(provider).__name__}, not the SDK's")
    prepare_provider(provider, config, change_views=True)
    instrumentor = PocketFlowInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(config=config)
    elif config.modules:
        instrumentor.instrument(module=config.modules)
    with _INSTRUMENTING_PFLOW:
        _instrument_pflow(config)
    return provider


def _instrument_pflow(config: Config) -> None:
    """Have pflow traced when it is imported, where a release is installed that we know."""
    instrumentor = PflowInstrumentor()
    # Asked before, for where there is none `instrument` would log an error.
    if not (instrumentor.is_instrumented_by_opentelemetry or instrumentor._check_dependency_conflicts()):
        instrumentor.instrument(config=config)


def new_provider(service_name: str | None) -> TracerProvider:
    """Return a provider with the OTLP exporters the environment asks for; metrics likewise."""
    ours = resource(service_name)
    provider = TracerProvider(resource=ours, id_generator=PrivateIdGenerator())
    for exporter in exporters.exporters_from_env():
        provider.add_span_processor(processor_for(exporter))
    if exporters.wants_metrics() and not isinstance(metrics.get_meter_provider(), MeterProvider):
        from pocketflow_otel.export.otlp.metric_reader import OtlpMetricReader

        metrics.set_meter_provider(MeterProvider(metric_readers=[OtlpMetricReader()], resource=ours))
    return provider
