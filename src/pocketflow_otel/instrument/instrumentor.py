"""`PocketFlowInstrumentor` and `PflowInstrumentor`: switch the tracing on and off."""

from __future__ import annotations

import sys
from dataclasses import replace
from difflib import get_close_matches
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from pocketflow_otel.config import Config, modules_of
from pocketflow_otel.guard import logger
from pocketflow_otel.instrument.sdk_services import sdk_services

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from opentelemetry.trace import TracerProvider

    from pocketflow_otel.instrument.pflow.patcher import PflowPatcher
    from pocketflow_otel.instrument.pocketflow_copies import Copies
    from pocketflow_otel.instrument.tracer import FlowTracer


_KEYWORDS: Final = frozenset({
    "config", "tracer_provider", "meter_provider",
    "logger_provider",  # Whoever sets up OpenTelemetry gives it to every instrumentor.
    "skip_dep_check", "raise_exception_on_conflict",
})  # fmt: skip
"""What `instrument()` may be given: the last two are `BaseInstrumentor`'s."""


class PocketFlowInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # ships without types
    """Make every PocketFlow flow, node and batch item a span.

        PocketFlowInstrumentor().instrument()

    `instrument(tracer_provider=None, meter_provider=None, config=None, module=())` takes the providers
    of spans and metrics (by default the global ones, whenever they are set), a `Config` (by default
    from the environment), and the modules that have a PocketFlow under another name: one or several,
    by name or as they are. Called again, it adds modules. Nothing of PocketFlow is imported until the
    program does, which may have a copy of its own.
    `uninstrument()` puts every method of PocketFlow and of its subclasses back.
    """

    # BaseInstrumentor is a singleton whose __init__ runs at each construction: no state there.
    copies: Copies | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the releases of PocketFlow this works with."""
        return ("pocketflow >= 0.0.1, < 0.1",)

    def instrument(self, **kwargs: Any) -> None:
        """Switch the tracing on; see the class.

        Raises:
            TypeError: It takes no keyword of that name.
            ValueError: What is given as `module` is none, and no name of one.
        """
        _refuse_unknown(kwargs, _KEYWORDS | {"module"})
        modules = modules_of(kwargs.get("module", ()))
        if self.copies is not None and modules:
            self.copies.add(modules)
            if kwargs.keys() == {"module"}:
                return
        super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        from pocketflow_otel.instrument.pocketflow_copies import Copies

        flow_tracer = _flow_tracer(kwargs)
        copies = Copies(flow_tracer, (*flow_tracer.config.modules, *modules_of(kwargs.get("module", ()))))
        copies.patch()
        PocketFlowInstrumentor.copies = copies

    def _uninstrument(self, **kwargs: Any) -> None:
        copies, PocketFlowInstrumentor.copies = PocketFlowInstrumentor.copies, None
        if copies is not None:
            copies.undo()


class PflowInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # ships without types
    """Make every workflow of pflow, each of its nodes and batch items a span.

        PflowInstrumentor().instrument()

    `instrument(tracer_provider=None, meter_provider=None, config=None)` takes what
    `PocketFlowInstrumentor` takes. Nothing of pflow is imported until pflow does.
    """

    patcher: PflowPatcher | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the releases of pflow this works with."""
        return ("pflow-cli >= 0.8.1",)

    def instrument(self, **kwargs: Any) -> None:
        """Switch the tracing on; see the class.

        Raises:
            TypeError: It takes no keyword of that name.
        """
        _refuse_unknown(kwargs, _KEYWORDS)
        super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        # As an import would, but without one: pflow is to start as it does without us.
        if "pflow" not in sys.modules and find_spec("pflow") is None:
            raise ModuleNotFoundError("No module named 'pflow'", name="pflow")

        from pocketflow_otel.instrument.pflow.patcher import PflowPatcher

        patcher = PflowPatcher(_flow_tracer(kwargs))
        patcher.patch()
        PflowInstrumentor.patcher = patcher

    def _uninstrument(self, **kwargs: Any) -> None:
        patcher, PflowInstrumentor.patcher = PflowInstrumentor.patcher, None
        if patcher is not None:
            patcher.undo()


def _refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]}?" if near else f", only {', '.join(sorted(known))}"
            raise TypeError(f"instrument() takes no {name!r}{hint}")


def _flow_tracer(given: dict[str, Any]) -> FlowTracer:
    """Return where spans come from, by what `instrument()` was given and else the environment."""
    from pocketflow_otel.instrument.tracer import FlowTracer

    config: Config | None = given.get("config")
    if config is None:
        config = _with_readable_prices(Config.from_env(report=_report))
    return FlowTracer(
        config,
        given.get("tracer_provider"),
        meter_provider=given.get("meter_provider"),
        prepare=partial(_prepare, config),
    )


def _prepare(config: Config, provider: TracerProvider) -> None:
    """Prepare an SDK provider: private ids, and the views the environment asks for."""
    services = sdk_services()
    if services is not None:
        services.prepare_provider(provider, config)


def _with_readable_prices(config: Config) -> Config:
    """Go on without a price file that cannot be read."""
    from pocketflow_otel.usage.pricing import read_prices

    if config.prices is not None:
        try:
            read_prices(config.prices)
        except ValueError as error:
            _report(f"POCKETFLOW_OTEL_PRICES: {error}")
            return replace(config, prices=None)
    return config


@cache
def _report(problem: str) -> None:
    """Log what is wrong with a variable, once; its default stands."""
    logger.warning("%s; the default is used", problem)
