"""Totals of calls by model, and prices that come later."""

from __future__ import annotations

from decimal import Decimal

from tests.support.calls import Prices, totals

from pocketflow_otel.usage.payloads import Usage
from pocketflow_otel.usage.totals import ModelTotals, UsageTotals


def test_calls_add_up_by_model() -> None:
    total = totals(
        Usage(10, 5, cache_read_tokens=4, model="cheap"),
        Usage(1, 1, model="dear"),
        Usage(20, 0, model="cheap"),
        Usage(7, 0),
    )
    assert total.models == {
        "cheap": ModelTotals(2, 30, 5, 4, Decimal("0.35"), 0),
        "dear": ModelTotals(1, 1, 1, 0, Decimal(0), 1),
        "unknown": ModelTotals(1, 7, 0, 0, Decimal(0), 1),
    }
    assert (total.total, total.waiting) == (ModelTotals(4, 38, 6, 4, Decimal("0.35"), 2), [])


def test_what_waits_for_its_price_counts_at_once_and_costs_later() -> None:
    prices = Prices(ready=False)
    total = totals(Usage(10, 0, model="cheap"), Usage(1, 0, model="dear"), Usage(5), prices=prices)
    assert total.total == ModelTotals(3, 16, 0, 0, Decimal(0), 1)
    assert [call.usage.model for call in total.waiting] == ["cheap", "dear"]
    total.price_waiting(prices)
    assert (total.total, total.waiting) == (ModelTotals(3, 16, 0, 0, Decimal("0.10"), 2), [])


def test_what_waits_is_priced_once_wherever_it_went() -> None:
    prices = Prices(ready=False)
    below = totals(Usage(10, 0, model="cheap"), prices=prices)
    above = totals(Usage(5, 0, model="cheap"))
    above.add(below)
    above.price_waiting(prices)
    above.price_waiting(prices)
    assert above.total == ModelTotals(2, 15, 0, 0, Decimal("0.15"), 0)


def test_adding_leaves_the_added_alone() -> None:
    below, above = totals(Usage(1, 0, model="cheap")), UsageTotals()
    above.add(below)
    above.add(below)
    assert (below.total.calls, above.total.calls) == (1, 2)
