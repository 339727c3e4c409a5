"""One execution of a root flow: its id, its budget, and who hears what happens in it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pocketflow_otel.runtime.clock import RunClock
from pocketflow_otel.usage.store_usage import CountedUsages

if TYPE_CHECKING:
    from pocketflow_otel.runtime.budget import Budget
    from pocketflow_otel.runtime.run_events import Event, Observer
    from pocketflow_otel.usage.pricing import PriceBook


class Run:
    """One execution of the outermost flow, or of a node on its own, in this process.

    Args:
        prices: What calls are priced by.
        budget: What the run may cost, if that is limited; of this run alone.
        clock: What its spans are timed by.

    Attributes:
        id: See `make_run_id`; empty until the root's span has started.
        lock: Held while scopes add up.
        counted_usages: Which usages in stores have been counted.
    """

    __slots__ = ("_observers", "budget", "clock", "counted_usages", "id", "lock", "prices")

    def __init__(
        self, prices: PriceBook, budget: Budget | None = None, clock: RunClock | None = None
    ) -> None:
        self.id = ""
        self.lock = threading.RLock()
        self.counted_usages = CountedUsages()
        self.prices = prices
        self.clock = clock or RunClock()
        self.budget = budget
        self._observers: tuple[Observer, ...] = ()

    def observe(self, observer: Observer) -> None:
        """Have `observer(scope, event)` called for what happens inside the run's steps."""
        with self.lock:
            self._observers += (observer,)

    def publish(self, scope: object, event: Event) -> None:
        """Call the observers, in the thread where it happened."""
        for observer in self._observers:
            observer(scope, event)
