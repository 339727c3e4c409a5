"""What a run may cost, and what stops it beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pocketflow_otel.guard import PassThroughError

if TYPE_CHECKING:
    from decimal import Decimal


class BudgetExceeded(PassThroughError):  # noqa: N818 - a public name, as users catch it
    """A run has cost more than `POCKETFLOW_OTEL_MAX_COST`, and was asked to stop then."""

    __module__ = "pocketflow_otel"  # Users import it from there, and see its name in `error.type`.


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may cost, in US dollars, and whether it stops beyond that."""

    dollars: Decimal
    stop: bool
