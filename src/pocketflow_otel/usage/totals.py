"""Add up usages and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from pocketflow_otel.usage.payloads import Usage
    from pocketflow_otel.usage.pricing import PriceBook

UNNAMED: Final = "unknown"
"""What calls without a model's name are listed under."""


@dataclass(frozen=True, slots=True)
class Call:
    """One model call: its usage, when it was made, and where it was sent, if known."""

    usage: Usage
    at: datetime
    base_url: str | None = None


@dataclass(slots=True)
class ModelTotals:
    """Tokens and dollars of the calls of one model, or of all; `cost` leaves out the `unpriced` ones."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, other: ModelTotals) -> None:
        """Add other totals."""
        self.calls += other.calls
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cost += other.cost
        self.unpriced += other.unpriced


@dataclass(slots=True)
class UsageTotals:
    """Tokens and dollars of some calls, by model; calls whose price is not known yet wait.

    Attributes:
        models: Totals by the model's name.
        waiting: Calls counted in `models`, but not yet in its costs: the price table is loading.
    """

    models: dict[str, ModelTotals] = field(default_factory=dict)
    waiting: list[Call] = field(default_factory=list)

    def count(self, call: Call, prices: PriceBook) -> None:
        """Add a call, with its price if that is known at once."""
        usage = call.usage
        self._of(usage).add(ModelTotals(1, usage.input_tokens, usage.output_tokens, usage.cache_read_tokens))
        if prices.knows_without_table(usage):
            self._price(call, prices)
        else:
            self.waiting.append(call)

    def price_waiting(self, prices: PriceBook) -> None:
        """Price what waits. May take as long as the table takes to load."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            self._price(call, prices)

    def add(self, other: UsageTotals) -> None:
        """Add other totals, and what waits in them."""
        for model, found in other.models.items():
            self.models.setdefault(model, ModelTotals()).add(found)
        self.waiting += other.waiting

    @property
    def total(self) -> ModelTotals:
        """The totals over all models."""
        total = ModelTotals()
        for found in self.models.values():
            total.add(found)
        return total

    def _of(self, usage: Usage) -> ModelTotals:
        return self.models.setdefault(usage.model or UNNAMED, ModelTotals())

    def _price(self, call: Call, prices: PriceBook) -> None:
        price = prices.price(call.usage, call.at, base_url=call.base_url)
        found = self._of(call.usage)
        if price is None:
            found.unpriced += 1
        else:
            found.cost += price
