"""One instrumentation: its provider, its settings, and the decision which calls open a span."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from opentelemetry.context import set_value
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer_provider,
)

from pocketflow_otel import __version__, semconv
from pocketflow_otel.api import variable_of
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.metrics import Metrics, metrics_of
from pocketflow_otel.instrument.small_limits import SmallLimits, small_limits_of
from pocketflow_otel.instrument.wrapping import CallHandler, Watcher, end_interrupted, interrupted, opened
from pocketflow_otel.runtime.budget import Budget
from pocketflow_otel.runtime.clock import RunClock
from pocketflow_otel.runtime.context import current_context, is_suppressed, make_current
from pocketflow_otel.runtime.run import Run
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED, Scope, leave_ended, scope_of
from pocketflow_otel.usage.pricing import PriceBook, read_prices

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider

    from pocketflow_otel.config import Config


S = TypeVar("S", bound=CallHandler)

_MEASURING: Final = guard("set up metrics")
_PREPARING: Final = guard("set up the tracer provider")


class FlowTracer:
    """One instrumentation: its tracer, its settings, and whether it is switched on.

    Args:
        config: The settings.
        provider: Where spans come from; by default the global provider, whenever it is set.
        meter_provider: Where metrics go; by default the global one, whenever it is set.
        prepare: Called with each provider before its first run.
        new_clock: Makes the clock of a run.

    Attributes:
        tracer: What spans come from; `None` before the first provider.
        limits: How little its spans take, if that is little.
        after_run: Called when a run of pflow has ended, its root span too.
        any_run: Whether a run has begun in this process, shown to anybody or not.
    """

    any_run: ClassVar[bool] = False

    def __init__(
        self,
        config: Config,
        provider: TracerProvider | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        prepare: Callable[[TracerProvider], None] | None = None,
        new_clock: Callable[[], RunClock] = RunClock,
    ) -> None:
        self.config = config
        self.enabled = True
        self._new_clock = new_clock
        self._given = provider
        self._prepare = prepare
        self.after_run: Callable[[], None] | None = None
        self._taken: TracerProvider | None = None
        self._meter_provider = meter_provider
        self.metrics: Metrics | None = None
        self.tracer: Tracer | None = None
        self.limits: SmallLimits | None = None
        self._prices = PriceBook(read_prices(config.prices) if config.prices is not None else {})
        # Now if we can: `get_tracer` changes Python's warning filters, so not amid a flow.
        self.take_provider()

    def take_provider(self) -> bool:
        """Take the tracer of the present provider; `False` while there is no SDK."""
        provider = self._given or get_tracer_provider()
        if provider is self._taken:
            return True
        if isinstance(provider, ProxyTracerProvider | NoOpTracerProvider):
            return False
        if self._prepare is not None:
            with _PREPARING:
                self._prepare(provider)
        self.limits = small_limits_of(provider)
        self.tracer = provider.get_tracer(semconv.SCOPE_NAME, __version__)
        self._taken = provider
        return True

    @property
    def provider(self) -> TracerProvider | None:
        """The provider spans come from; `None` before the first."""
        return self._taken

    def new_run(self) -> Run:
        """Return a new run."""
        FlowTracer.any_run = True
        if self.metrics is None:
            with _MEASURING:
                self.metrics = metrics_of(self._meter_provider)
        most, action = self.config.max_cost, self.config.max_cost_action
        budget = None if most is None else Budget(Decimal(str(most)), stop=action == "stop")
        return Run(self._prices, budget, self._new_clock())

    def parent_of(self, owner: Any, method: object) -> Scope | Context | None:
        """Decide whether a call of `method` on `owner` opens a span, and below what.

        Returns:
            The scope it runs in, the context in which it is a run of its own, or `None` when it
            opens none: switched off, suppressed, or a `super()` call of a step that is open.
        """
        context = current_context()
        if not self.enabled or is_suppressed(context):
            return None
        scope = context.get(SCOPE_KEY)
        if not isinstance(scope, Scope):
            return None if scope is UNTRACED else context
        if scope.closed:
            context = leave_ended(context)
            scope = scope_of(context)
            if scope is None:
                return context
        return None if scope.owner is owner and scope.is_super_call(method) else scope

    def open_below(
        self,
        owner: Any,
        method: object,
        make: Callable[[Scope | None], S],
        begin: Callable[[S, Context | None], None],
    ) -> S | UntracedCall | None:
        """Open the handler of a call of `method` on `owner`; `None` where it has none.

        Args:
            owner: The user's flow or node.
            method: What is called on it.
            make: Makes a scope in another; `None` for a run of its own.
            begin: Starts its span: in a context, where it is a run of its own.

        Raises:
            BudgetExceeded: See `Budget.check`.
        """
        if interrupted:
            end_interrupted()
        below = self.parent_of(owner, method)
        if below is None:
            return None
        if isinstance(below, Scope):
            if below.run.budget is not None:
                below.run.budget.check(below.run.id)
            scope = make(below)
            return opened(scope, begin, scope, None)
        if not self.take_provider():
            return UntracedCall(below)
        scope = make(None)
        return opened(scope, begin, scope, self.with_remote_parent(below))

    def with_remote_parent(self, context: Context) -> Context:
        """Add the parent that the environment names, for a run that has none in this process.

        So a CI job, or an outer run that started this process, adopts it. The names follow the
        specification's environment carrier: `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`.
        https://opentelemetry.io/docs/specs/otel/context/env-carriers/
        """
        if get_current_span(context).get_span_context().is_valid:
            return context
        carrier = {
            field: os.environ[variable]
            for field in get_global_textmap().fields
            if (variable := variable_of(field)) in os.environ
        }
        return extract(carrier, context) if carrier else context


class UntracedCall(Watcher):
    """Runs a call, and all below it, without spans: there is no SDK yet."""

    __slots__ = ("_context", "_outer")

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = set_value(SCOPE_KEY, UNTRACED, context)
        self._outer = context

    def enter(self) -> None:
        make_current(self._context)

    def see_end(self, error: BaseException | None) -> None:
        if current_context() is self._context or not self.may_end_elsewhere():
            make_current(self._outer)
