"""What one execution of a root flow knows about itself: its id, its open scopes, its roll-ups.

A `Run` travels in the OpenTelemetry context, inside the innermost open `Scope`, so that spans of
other instrumentations below a step can be told to belong to it. Siblings of a `gather` never share
a mutable scope: each has its own, and adds itself to its parent when it closes.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.context import create_key, get_current
from opentelemetry.trace import INVALID_SPAN

from pocketflow_otel.guard import PassThroughError, logger
from pocketflow_otel.semconv import PROGRESS, PROGRESS_DONE, PROGRESS_TOTAL
from pocketflow_otel.usage.store_usage import CountedUsages
from pocketflow_otel.usage.totals import ScopeUsage, UsageTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.store.observation import StoreObservation
    from pocketflow_otel.usage.pricing import PriceBook
    from pocketflow_otel.usage.totals import Call, ClientSpanUsage

SCOPE_KEY: Final = create_key("pocketflow-otel-scope")

Kind = Literal["flow", "node", "item"]


def run_id(start_time: int, span_id: int) -> str:
    """Return a run's id: its start in UTC and eight hex digits of its root's span id.

    >>> run_id(1795375812_481000000, 0x7F3A91C2_00000001)
    '20261122T193012Z-7f3a91c2'

    Args:
        start_time: Nanoseconds since the epoch.
        span_id: The 64 bits of the root span's id.
    """
    start = datetime.fromtimestamp(start_time / 1e9, UTC)
    return f"{start:%Y%m%dT%H%M%SZ}-{span_id:016x}"[:25]


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt failed and another, or the fallback, follows.

    `wait` is in seconds; `place` is where it was raised: `nodes.py:42`; `item` is the index of the
    batch item it was an attempt of.
    """

    attempt: int
    max: int
    error_type: str
    message: str
    wait: float
    place: str = ""
    item: int | None = None


@dataclass(frozen=True, slots=True)
class BatchBegun:
    """A node or flow begins a batch; a generator has no size."""

    size: int | None
    parallel: bool


@dataclass(frozen=True, slots=True)
class ItemUntraced:
    """An item beyond the limit of spans went well."""


@dataclass(frozen=True, slots=True)
class ActionUnmatched:
    """A step returned an action that its flow knows no way for."""

    action: str
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """A step has done a part of its work; how much there is may be unknown."""

    done: float
    total: float | None


Event = Progress | AttemptFailed | BatchBegun | ItemUntraced | ActionUnmatched


class BudgetExceeded(PassThroughError):  # noqa: N818 - a public name, as users catch it
    """A run has cost more than `POCKETFLOW_OTEL_MAX_COST`, and was asked to stop then."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may cost, in US dollars, and whether it stops beyond that."""

    dollars: Decimal
    stop: bool


class Run:
    """One execution of the outermost flow, or of a node on its own, in this process.

    Args:
        prices: What calls are priced by.
        budget: What the run may cost, if that is limited.

    Attributes:
        id: See `run_id`; empty until the root's span has started.
        lock: Held while scopes add up.
        counted_usages: Which usages in stores have been counted.
    """

    __slots__ = ("_budget", "_observers", "_spent", "_warned", "counted_usages", "id", "lock", "prices")

    def __init__(self, prices: PriceBook, budget: Budget | None = None) -> None:
        self.id = ""
        self.lock = threading.RLock()
        self.counted_usages = CountedUsages()
        self.prices = prices
        self._budget = budget
        self._spent = Decimal(0)
        self._warned = False
        self._observers: tuple[Callable[[Scope, Event], None], ...] = ()

    def observe(self, observer: Callable[[Scope, Event], None]) -> None:
        """Have `observer(scope, event)` called for what happens inside the run's steps."""
        with self.lock:
            self._observers += (observer,)

    def publish(self, scope: Scope, event: Event) -> None:
        """Tell the observers, in the thread where it happened."""
        for observer in self._observers:
            observer(scope, event)

    def spend(self, dollars: Decimal) -> None:
        """Count what a step cost, and say so once when that is more than the run may cost."""
        self._spent += dollars
        if self._budget is not None and self._spent > self._budget.dollars and not self._warned:
            self._warned = True
            then = "; it stops before its next step" if self._budget.stop else ""
            logger.warning(
                "run %s has cost %s, more than POCKETFLOW_OTEL_MAX_COST=%s%s",
                self.id, f"${self._spent:f}", f"{self._budget.dollars:f}", then,
            )  # fmt: skip

    def check_budget(self) -> None:
        """Let a step begin, or not.

        Raises:
            BudgetExceeded: The run has cost more than it may, and was asked to stop then.
        """
        if self._warned and self._budget is not None and self._budget.stop:
            raise BudgetExceeded(
                f"run {self.id} has cost ${self._spent:f}, more than {self._budget.dollars:f}"
            )


class Scope:
    """One open flow, node or batch item, as those below it see it.

    Attributes:
        kind: What it is.
        owner: The user's flow or node.
        shared: The store it was given.
        parent: The scope it runs in; `None` for the root of a run.
        span: Its span; an invalid one until it starts, and for an item beyond the limit of spans.
        observation: The innermost observation of the store, its own or an ancestor's.
        steps: Nodes executed below it so far.
        flows: Flows executed below it so far.
        usage: Usage of its calls; `None` while there is none.
        closed: Whether it has been added up: what comes later goes to its parent.
    """

    __slots__ = (
        "_progressed", "closed", "flows", "kind", "observation", "owner", "parent", "run", "shared", "span",
        "steps", "usage",
    )  # fmt: skip

    def __init__(self, kind: Kind, owner: Any, shared: object, parent: Scope | None, run: Run) -> None:
        self.kind = kind
        self.owner = owner
        self.shared = shared
        self.parent = parent
        self.run = run
        self.span: Span = INVALID_SPAN
        self.observation: StoreObservation | None = None if parent is None else parent.observation
        self.steps = 0
        self.flows = 0
        self.usage: ScopeUsage | None = None
        self.closed = False
        self._progressed = 0

    @property
    def executing(self) -> bool:
        """Whether a call of its node's `exec` now is an attempt of it."""
        return False

    def is_super_call(self, method: object) -> bool:
        """Tell whether a call of the owner's `method` goes on with this scope: `super()._run`."""
        return False

    def progress(self, done: float, total: float | None) -> None:
        """Tell the observers, and the span: of much progress, some."""
        self.run.publish(self, Progress(done, total))
        self._progressed += 1
        # Each power of two: a span holds 128 events, and a step may tell of a million.
        if self._progressed & (self._progressed - 1) == 0 or done == total:
            attributes: dict[str, AttributeValue] = {PROGRESS_DONE: done}
            if total is not None:
                attributes[PROGRESS_TOTAL] = total
            self.span.add_event(PROGRESS, attributes)

    def record(self, calls: Iterable[Call]) -> None:
        """Count calls that the user's code reported: `record_usage`."""
        with self.run.lock:
            scope = self._first_open()
            if scope is not None:
                scope._opened_usage().recorded += self._expected(calls)

    def report(self, calls: Iterable[Call]) -> None:
        """Count calls that were found in the store."""
        with self.run.lock:
            self._opened_usage().reported += self._expected(calls)

    def count_client(self, call: Call, client_span: ClientSpanUsage) -> None:
        """Count a call seen on the span of an LLM client; a stream's may come late."""
        with self.run.lock:
            scope: Scope | None = self
            own = True  # Whether what the scope reports of its calls covers this one too.
            while scope is not None and scope.closed:
                usage = scope.usage
                if usage is not None and ((own and usage.explicit) or not usage.is_new(client_span)):
                    return
                own = scope.kind == "item"
                scope = scope.parent
            if scope is not None and scope._opened_usage().is_new(client_span):
                self._expected([call])
                scope._opened_usage().clients.count(call, self.run.prices)

    def _first_open(self) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and scope.closed:
            scope = scope.parent
        return scope

    def _opened_usage(self) -> ScopeUsage:
        if self.usage is None:
            self.usage = ScopeUsage()
        return self.usage

    def _expected(self, calls: Iterable[Call]) -> list[Call]:
        """Return the calls; begin to load the price table if one of them will need it."""
        found = list(calls)
        if not all(self.run.prices.knows_without_table(call.usage) for call in found):
            self.run.prices.load()
        return found

    def add_to_parent(self) -> None:
        """Add what this scope counted to its parent; called once, when it closes."""
        with self.run.lock:
            above = None if self.parent is None else self.parent._first_open()
            if above is not None:
                above.steps += self.steps + (self.kind == "node")
                above.flows += self.flows + (self.kind == "flow")

    def close_usage(self) -> UsageTotals | None:
        """Return the usage of the calls in this scope, and add it to the parent's.

        Waits for the price table off an event loop, and at the end of a run; else what is not
        priced yet waits in the parent's usage.
        """
        usage = self.usage
        if usage is None:
            self.closed = True
            return None
        prices = self.run.prices
        with self.run.lock:
            self.closed = True
            own = usage.own(prices)
        if (own.waiting or usage.below.waiting) and (self.parent is None or not _on_event_loop()):
            prices.wait()
        if prices.ready or self.parent is None:
            own.price_waiting(prices)
            usage.below.price_waiting(prices)
        total = UsageTotals()
        total.add(own)
        total.add(usage.below)
        with self.run.lock:
            cost = total.total.cost
            self.run.spend(cost - usage.spent)
            # A step in a task may outlive the one that started it.
            scope = None if self.parent is None else self.parent._first_open()
            if scope is not None:
                above = scope._opened_usage()
                above.spent += cost
                (above.items if self.kind == "item" and scope is self.parent else above.below).add(own)
                above.below.add(usage.below)
                if self.kind == "item" and not self.span.is_recording() and usage.has_no_client_span:
                    above.without_own_span.add(own)
        return total


def _on_event_loop() -> bool:
    """Tell whether this thread runs an event loop, which must not be held up."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class Untraced:
    """Stands in the context for a scope when the run is not recorded: no SDK, or sampled out."""

    __slots__ = ()


UNTRACED: Final = Untraced()


def scope_of(context: Context | None = None) -> Scope | None:
    """Return the innermost open scope of a context, by default the current one."""
    scope = (get_current() if context is None else context).get(SCOPE_KEY)
    return scope if isinstance(scope, Scope) else None
