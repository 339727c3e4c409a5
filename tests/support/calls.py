"""Calls, and prices that a test knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pocketflow_otel.usage.pricing import PriceBook
from pocketflow_otel.usage.totals import Call, UsageTotals

if TYPE_CHECKING:
    from pocketflow_otel.usage.payloads import Usage

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Prices(PriceBook):
    """A cent for each token of `cheap`; others have no price. The table is there when it is told so."""

    def __init__(self, *, ready: bool = True) -> None:
        super().__init__()
        self.there = ready

    def price(self, usage: Usage, at: datetime, *, base_url: str | None = None) -> Decimal | None:
        assert at == AT
        return Decimal(usage.total_tokens) / 100 if usage.model == "cheap" else None

    def knows_without_table(self, usage: Usage) -> bool:
        return self.there or usage.model is None


def calls(*usages: Usage) -> list[Call]:
    return [Call(usage, AT) for usage in usages]


def totals(*usages: Usage, prices: Prices | None = None) -> UsageTotals:
    total = UsageTotals()
    for call in calls(*usages):
        total.count(call, prices or Prices())
    return total
