"""`PocketFlowInstrumentor`: switch the tracing of PocketFlow on and off."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from pocketflow_otel.config import Config
from pocketflow_otel.guard import logger

if TYPE_CHECKING:
    from collections.abc import Collection

    from opentelemetry.trace import TracerProvider

    from pocketflow_otel.instrument.pocketflow import PocketFlow


class PocketFlowInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # ships without types
    """Make every PocketFlow flow, node and batch item a span.

        PocketFlowInstrumentor().instrument()

    `instrument(tracer_provider=None, meter_provider=None, config=None)` takes the providers of spans
    and metrics (by default the global ones, whenever they are set) and a `Config` (by default from
    the environment).
    `uninstrument()` puts every method of PocketFlow and of its subclasses back.
    """

    # BaseInstrumentor is a singleton whose __init__ runs at each construction: no state there.
    patched: PocketFlow | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the releases of PocketFlow this works with."""
        return ("pocketflow >= 0.0.1, < 0.1",)

    def _instrument(self, **kwargs: Any) -> None:
        # First: without PocketFlow, ModuleNotFoundError tells auto-instrumentation to pass on.
        import pocketflow

        from pocketflow_otel.instrument.pocketflow import PocketFlow
        from pocketflow_otel.instrument.spans import Tracing

        provider: TracerProvider | None = kwargs.get("tracer_provider")
        config: Config | None = kwargs.get("config")
        if config is None:
            config = _with_readable_prices(Config.from_env(report=_report))
        tracing = Tracing(
            config,
            provider,
            meter_provider=kwargs.get("meter_provider"),
            adopt=partial(_adopt, config),
        )
        patched = PocketFlow(pocketflow, tracing)
        patched.patch()
        PocketFlowInstrumentor.patched = patched

    def _uninstrument(self, **kwargs: Any) -> None:
        patched, PocketFlowInstrumentor.patched = PocketFlowInstrumentor.patched, None
        if patched is not None:
            patched.undo()


def _adopt(config: Config, provider: TracerProvider) -> None:
    """Prepare an SDK provider: private ids, and the views the environment asks for."""
    if "opentelemetry.sdk.trace" in sys.modules:  # else another implementation of the API
        from pocketflow_otel import sdk

        sdk.adopt(provider, config)


def _with_readable_prices(config: Config) -> Config:
    """Go on without a price file that cannot be read."""
    from pocketflow_otel.capture.pricing import read_prices

    if config.prices is not None:
        try:
            read_prices(config.prices)
        except ValueError as error:
            _report(f"POCKETFLOW_OTEL_PRICES: {error}")
            return replace(config, prices=None)
    return config


def _report(problem: str) -> None:
    """Say on stderr what is wrong with a variable; its default stands."""
    logger.warning("%s; the default is used", problem)
