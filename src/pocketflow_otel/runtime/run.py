"""One execution of a root flow: its id, its budget, and who hears what happens in it."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING

from pocketflow_otel.guard import logger
from pocketflow_otel.runtime.budget import BudgetExceeded
from pocketflow_otel.usage.store_usage import CountedUsages

if TYPE_CHECKING:
    from pocketflow_otel.runtime.budget import Budget
    from pocketflow_otel.runtime.run_events import Event, Observer
    from pocketflow_otel.usage.pricing import PriceBook


class Run:
    """One execution of the outermost flow, or of a node on its own, in this process.

    Args:
        prices: What calls are priced by.
        budget: What the run may cost, if that is limited.

    Attributes:
        id: See `make_run_id`; empty until the root's span has started.
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
        self._observers: tuple[Observer, ...] = ()

    def observe(self, observer: Observer) -> None:
        """Have `observer(scope, event)` called for what happens inside the run's steps."""
        with self.lock:
            self._observers += (observer,)

    def publish(self, scope: object, event: Event) -> None:
        """Call the observers, in the thread where it happened."""
        for observer in self._observers:
            observer(scope, event)

    def spend(self, dollars: Decimal) -> None:
        """Count the cost of a step, and warn once when the run has cost more than it may."""
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
