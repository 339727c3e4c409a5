"""The demo's model tells of its calls what a real one would."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pocketflow_otel.cli import demo_model, travel
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.usage.payloads import read_usage
from pocketflow_otel.usage.pricing import PriceBook

WRITTEN = datetime(2026, 11, 28, tzinfo=UTC)
"""When the demo's prices were looked up; they may change later."""


@pytest.mark.parametrize("model", demo_model.PRICES)
def test_a_call_of_the_demo_costs_what_that_call_costs_in_the_table_of_prices(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_: float) -> None: ...

    monkeypatch.setattr(demo_model.asyncio, "sleep", at_once)
    for prompt in demo_model.ANSWERS:
        (usage,) = read_usage(asyncio.run(demo_model.complete(model, prompt)))
        assert usage.cost is not None
        without = replace(usage, cost=None, provider="openrouter")
        assert PriceBook().price(without, WRITTEN) == Decimal(str(usage.cost)), prompt


def test_the_demo_needs_no_table_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading it would take as long as a step, and be shown as the step's time."""
    monkeypatch.setattr(PriceBook, "load", lambda _: pytest.fail("the table is loaded"))
    monkeypatch.setattr(PriceBook, "wait", lambda _: pytest.fail("a step waits for the table"))
    with capture_spans() as captured:
        asyncio.run(travel.create_travel_advice().run_async({"question": "where?"}))
    costs = [span for span in captured.spans if "pocketflow.cost.usd" in (span.attributes or {})]
    assert len(costs) > len(demo_model.ANSWERS)
