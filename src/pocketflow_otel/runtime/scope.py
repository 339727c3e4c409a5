"""An open flow, node or batch item, as those below it see it, and how its usage reaches the run.

The innermost open `Scope` travels in the OpenTelemetry context, and its `Run` with it, so that spans
of other instrumentations below a step can be told to belong to it. Siblings of a `gather` never share
a mutable scope: each has its own, and adds itself to its parent when it closes.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from opentelemetry.context import create_key
from opentelemetry.trace import INVALID_SPAN

from pocketflow_otel.runtime.context import current_context, make_current
from pocketflow_otel.runtime.run_events import Progress
from pocketflow_otel.semconv import PROGRESS, PROGRESS_DONE, PROGRESS_TOTAL
from pocketflow_otel.usage.scope_usage import ScopeUsage
from pocketflow_otel.usage.totals import UsageTotals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.runtime.run import Run
    from pocketflow_otel.store.observation import StoreObservation
    from pocketflow_otel.usage.scope_usage import ClientSpanUsage
    from pocketflow_otel.usage.totals import Call

SCOPE_KEY: Final = create_key("pocketflow-otel-scope")

Kind = Literal["flow", "node", "item"]

MAX_EVENTS: Final = 128
"""Events that a scope remembers, the newest: as many as a span has by default."""


class RecordedEvent(NamedTuple):
    """An event as it was recorded; `time` in nanoseconds since the epoch."""

    name: str
    time: int
    attributes: Mapping[str, AttributeValue]


class Scope:
    """One open flow, node or batch item, as those below it see it.

    Attributes:
        kind: What it is.
        owner: The user's flow or node.
        shared: The store it was given.
        parent: The scope it runs in; `None` for the root of a run.
        span: Its span; an invalid one until it starts, and for an item beyond the limit of spans.
        observation: Its observation of the store, while there is one.
        steps: Nodes executed below it so far.
        flows: Flows executed below it so far.
        usage: Usage of its calls; `None` while there is none.
        closed: Whether its usage has been added to its parent's: late usage is its parent's too.
        outer: The context that was current before it was entered, as long as it has not been left.
        attributes: All that were recorded. The span may have lost some: what a user adds to it, or a
            small limit, puts out the oldest first.
        events: The same of events, up to `MAX_EVENTS`.
    """

    __slots__ = (
        "_progressed", "attributes", "closed", "events", "flows", "kind", "observation", "outer",
        "owner", "parent", "run", "shared", "span", "steps", "usage",
    )  # fmt: skip

    def __init__(self, kind: Kind, owner: Any, shared: object, parent: Scope | None, run: Run) -> None:
        self.kind = kind
        self.owner = owner
        self.shared = shared
        self.parent = parent
        self.run = run
        self.span: Span = INVALID_SPAN
        self.observation: StoreObservation | None = None
        self.steps = 0
        self.flows = 0
        self.usage: ScopeUsage | None = None
        self.closed = False
        self.outer: Context | None = None
        self.attributes: dict[str, AttributeValue] = {}
        self.events: Sequence[RecordedEvent] = ()
        self._progressed = 0

    def is_around(self, scope: Scope | None) -> bool:
        """Return whether another scope is this one, or runs in it."""
        while scope is not None and scope is not self:
            scope = scope.parent
        return scope is not None

    def outer_observation(self) -> StoreObservation | None:
        """Return the innermost observation of the store that this scope runs in."""
        scope = self.parent
        while scope is not None and scope.observation is None:
            scope = scope.parent
        return None if scope is None else scope.observation

    def is_super_call(self, method: object) -> bool:
        """Return whether a call of the owner's `method` goes on with this scope: `super()._run`."""
        return False

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Record attributes, and put them on the span."""
        self.attributes.update(attributes)
        self.span.set_attributes(attributes)

    def now(self) -> int:
        """Return the time of what happens in the scope, in nanoseconds since the epoch."""
        return self.run.clock.now()

    def add_event(
        self, name: str, attributes: Mapping[str, AttributeValue] | None = None, when: int | None = None
    ) -> None:
        """Record an event, and put it on the span.

        Args:
            name: Its name.
            attributes: Its attributes.
            when: Nanoseconds since the epoch; by default now.
        """
        event = RecordedEvent(name, self.now() if when is None else when, attributes or {})
        self.events = deque((*self.events, event), maxlen=MAX_EVENTS)
        self._put_on_span(event)

    def _put_on_span(self, event: RecordedEvent) -> None:
        self.span.add_event(event.name, event.attributes, event.time)

    def progress(self, done: float, total: float | None) -> None:
        """Publish the progress, and record it on the span: of much, some."""
        self.run.publish(self, Progress(done, total))
        self._progressed += 1
        # Each power of two: a span holds 128 events, and a step may report a million.
        if self._progressed & (self._progressed - 1) == 0 or done == total:
            attributes: dict[str, AttributeValue] = {PROGRESS_DONE: done}
            if total is not None:
                attributes[PROGRESS_TOTAL] = total
            self.add_event(PROGRESS, attributes)

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
        """Count a call found on the span of an LLM client, for the innermost scope that is still open.

        The span of a stream ends when the stream has been read, perhaps long after the step that began it.
        """
        # A closed scope has added its usage to its parent's, and its span has ended: neither can change.
        # So the call goes up to the first open scope, unless a closed one on the way has counted it:
        with self.run.lock:
            scope: Scope | None = self
            own = True  # Whether it is one of the scope's own calls, not of a flow or node below.
            while scope is not None and scope.closed:
                usage = scope.usage
                # - among the calls that the user's code reported, which stand for all of the scope's own;
                # - by the span of another instrumentation, which reported the same call.
                if usage is not None and ((own and usage.explicit) or not usage.is_new(client_span)):
                    return
                # The calls of an item are its batch's own. Those of a flow or node are not its parent's:
                # what is reported there leaves them as they are.
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
            above = self.parent
            if above is not None and above.closed:
                above = above._first_open()
            if above is not None:
                above.steps += self.steps + (self.kind == "node")
                above.flows += self.flows + (self.kind == "flow")

    def close_usage(self) -> UsageTotals | None:
        """Return the usage of the calls in this scope, and add it to the parent's.

        Waits for the price table off an event loop, and at the end of a run; else what is not
        priced yet waits in the parent's usage.
        """
        usage = self.usage
        if usage is None or self.closed:
            self.closed = True
            return None
        prices = self.run.prices
        # At once: a client's span that ends from now on is the parent's, and none is between the two.
        with self.run.lock:
            self.closed = True
            own = usage.own(prices)
        # Loading the table takes a while, so other steps are not locked out meanwhile. A task waits for
        # nothing: it would hold up all others of its loop. After the root there is nobody to wait for it.
        if (own.waiting or usage.below.waiting) and (self.parent is None or not _on_event_loop()):
            prices.wait()
        if prices.ready or self.parent is None:
            own.price_waiting(prices)
            usage.below.price_waiting(prices)
        total = UsageTotals()
        total.add(own)
        total.add(usage.below)
        with self.run.lock:
            # What the scopes below have spent is in the cost, and in the budget already.
            cost = total.total.cost
            if self.run.budget is not None:
                self.run.budget.spend(cost - usage.spent, self.run.id)
            # A step in a task may outlive the one that started it.
            scope = None if self.parent is None else self.parent._first_open()
            if scope is not None:
                above = scope._opened_usage()
                above.spent += cost
                # An item's calls are its batch's own, and replaced by what that reports; they are no
                # longer where the batch has closed, and a flow around it gets them.
                (above.items if self.kind == "item" and scope is self.parent else above.below).add(own)
                above.below.add(usage.below)
                # Back ends sum the usage on spans: that of an item without a span must be on one.
                if self.kind == "item" and not self.span.is_recording() and usage.has_no_client_span:
                    above.without_own_span.add(own)
        return total


def _on_event_loop() -> bool:
    """Return whether this thread runs an event loop, which must not be held up."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class Untraced:
    """Stands in the context for a scope when the run is not recorded: no SDK, or sampled out."""

    __slots__ = ()


UNTRACED: Final = Untraced()


def leave_ended(context: Context) -> Context:
    """Make current again, and return, what was before scopes that ended without leaving this context.

    A coroutine that is stepped by hand and closed by another thread leaves one behind, and so does an
    interrupt that is itself interrupted.

    Args:
        context: The current one.
    """
    before = context
    while (scope := scope_of(before)) is not None and scope.closed and scope.outer is not None:
        before = scope.outer
    if before is not context:
        make_current(before)
    return before


def scope_of(context: Context | None = None) -> Scope | None:
    """Return the innermost open scope of a context, by default the current one."""
    scope = (current_context() if context is None else context).get(SCOPE_KEY)
    return scope if isinstance(scope, Scope) else None
