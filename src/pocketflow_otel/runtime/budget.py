"""What a run may cost, what it has cost, and what stops it beyond that."""

from __future__ import annotations

from decimal import Decimal

from pocketflow_otel.guard import PassThroughError, logger


class BudgetExceeded(PassThroughError):  # noqa: N818 - a public name, as users catch it
    """A run has cost more than `POCKETFLOW_OTEL_MAX_COST`, and was asked to stop then."""

    __module__ = "pocketflow_otel"  # Users import it from there, and see its name in `error.type`.


class Budget:
    """The budget of one run.

    Args:
        limit: What the run may cost, in US dollars.
        stop: Whether it stops beyond that; else it is warned of only.
    """

    __slots__ = ("_exceeded", "_limit", "_spent", "_stop")

    def __init__(self, limit: Decimal, *, stop: bool) -> None:
        self._limit = limit
        self._stop = stop
        self._spent = Decimal(0)
        self._exceeded = False

    def spend(self, dollars: Decimal, run_id: str) -> None:
        """Count the cost of a step, and warn once when the run has cost more than it may."""
        self._spent += dollars
        if self._spent > self._limit and not self._exceeded:
            self._exceeded = True
            then = "; it stops before its next step" if self._stop else ""
            logger.warning(
                "run %s has cost %s, more than POCKETFLOW_OTEL_MAX_COST=%s%s",
                run_id, f"${self._spent:f}", f"{self._limit:f}", then,
            )  # fmt: skip

    def check(self, run_id: str) -> None:
        """Let a step begin, or not.

        Raises:
            BudgetExceeded: The run has cost more than it may, and was asked to stop then.
        """
        if self._exceeded and self._stop:
            raise BudgetExceeded(f"run {run_id} has cost ${self._spent:f}, more than {self._limit:f}")
