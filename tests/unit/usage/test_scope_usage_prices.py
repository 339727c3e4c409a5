"""The price of a scope's calls: on its span, or none; and prices that are loaded late."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncFlow, AsyncNode
from tests.support.usage_steps import COST, MINI, Step, chain, client, of, put, sums, used
from tests.support.views import console_output

from pocketflow_otel import Config, record_usage
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.usage import pricing

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path


def test_the_price_is_said_of_a_step_and_its_flow() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()))).run({})
    rolled_up = {
        "calls": 1,
        "input_tokens": 100,
        "output_tokens": 50,
        "models": (MINI,),
        "cost.usd": COST,
    }
    assert of(captured, "invoke_node Ask") == {
        **rolled_up,
        "gen_ai.request.model": MINI,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cost": COST,
    }
    assert of(captured, "invoke_workflow f") == {
        **rolled_up,
        "by_model": {MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST}},
    }


def test_the_price_is_said_unless_nobody_knows_it() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used(80, 20, "acme-llm-7b")))).run({})
    rolled_up = {
        "calls": 1,
        "input_tokens": 80,
        "output_tokens": 20,
        "models": ("acme-llm-7b",),
        "cost.unpriced_calls": 1,
    }
    assert of(captured, "invoke_node Ask") == {
        **rolled_up,
        "gen_ai.request.model": "acme-llm-7b",
        "gen_ai.usage.input_tokens": 80,
        "gen_ai.usage.output_tokens": 20,
    }
    by_model = {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1}
    assert of(captured, "invoke_workflow f") == {**rolled_up, "by_model": {"acme-llm-7b": by_model}}


def test_the_price_is_said_for_the_calls_that_have_one() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put([used(), used(80, 20, "acme-llm-7b"), used(1, 1, None)]))).run({})
    assert of(captured, "invoke_workflow f") == {
        "calls": 3,
        "input_tokens": 181,
        "output_tokens": 71,
        "models": ("acme-llm-7b", MINI, "unknown"),
        "cost.usd": COST,
        "cost.unpriced_calls": 2,
        "by_model": {
            "acme-llm-7b": {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1},
            MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST},
            "unknown": {"calls": 1, "input_tokens": 1, "output_tokens": 1, "unpriced_calls": 1},
        },
    }
    # The step tells of three calls of three models: neither model nor price is theirs together.
    own = {name: value for name, value in of(captured, "invoke_node Ask").items() if "gen_ai" in name}
    assert own == {"gen_ai.usage.input_tokens": 181, "gen_ai.usage.output_tokens": 71}


def test_the_price_is_said_with_every_part_that_is_known() -> None:
    usage = used(
        2006,
        300,
        prompt_tokens_details={"cached_tokens": 1920, "cache_write_tokens": 12},
        completion_tokens_details={"reasoning_tokens": 64},
        provider="openai",
        cost=0.25,
    )
    with capture_spans() as captured:
        chain(Step("Ask", put(usage))).run({})
    assert of(captured, "invoke_node Ask") == {
        "calls": 1,
        "input_tokens": 2006,
        "output_tokens": 300,
        "cache_read.input_tokens": 1920,
        "models": (MINI,),
        "cost.usd": 0.25,
        "gen_ai.request.model": MINI,
        "gen_ai.provider.name": "openai",
        "gen_ai.usage.input_tokens": 2006,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 1920,
        "gen_ai.usage.cache_write.input_tokens": 12,
        "gen_ai.usage.reasoning.output_tokens": 64,
        "gen_ai.usage.cost": 0.25,
    }


def test_the_price_is_said_by_the_users_own_file(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[acme]\ninput = 1\noutput = 2\n", encoding="utf-8")
    with capture_spans(Config(prices=prices)) as captured:
        chain(Step("Ask", put(used(1_000_000, 500_000, "acme")))).run({})
    assert of(captured, "invoke_node Ask")["cost.usd"] == 2.0


def test_the_price_is_said_by_the_model_that_lies_beside_the_usage() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used(model=None)))).run({"llm_model": MINI})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)


def test_the_price_is_said_by_the_clients_span() -> None:
    with capture_spans() as captured:
        ask = Step(
            "Ask",
            exec=lambda: client(
                captured, model="llama-3.3-70b-versatile", **{"server.address": "api.groq.com"}
            ),
        )
        chain(ask).run({})
    # Groq's prices: 100 * $0.59/M + 50 * $0.79/M; the span says that OpenAI's client was used.
    assert of(captured, "invoke_node Ask")["cost.usd"] == pytest.approx(0.0000985)


class LateTable(pricing._Table):
    """A price table that is loaded when somebody waits for it, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def wait(self, seconds: float) -> None:
        self.go.set()
        super().wait(seconds)


@pytest.fixture
def late_table(monkeypatch: pytest.MonkeyPatch) -> LateTable:
    """Stands in for genai-prices' half second of loading."""
    table = LateTable()
    real = pricing._ask

    def ask(*call: Any, **more: Any) -> Decimal | None:
        if threading.current_thread().name == "pocketflow-otel-prices":
            table.go.wait()
            return None
        assert table.ready, "asked a price of a table that is not loaded"
        return real(*call, **more)

    monkeypatch.setattr(pricing, "_ask", ask)
    monkeypatch.setattr(pricing, "table", table)
    return table


def test_prices_that_come_late_are_waited_for_off_an_event_loop(late_table: LateTable) -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()))).run({})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)
    assert of(captured, "invoke_node Ask")["gen_ai.usage.cost"] == COST


def test_prices_that_come_late_do_not_hold_up_an_event_loop(late_table: LateTable) -> None:
    class Ask(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used()

    class Next(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            waited.append(late_table.go.is_set())

    waited: list[bool] = []
    with capture_spans() as captured:
        asyncio.run(chain(Ask(), Next(), kind=AsyncFlow).run_async({}))
    assert waited == [False]
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, None, None)
    assert "gen_ai.usage.cost" not in of(captured, "invoke_node Ask")
    assert sums(captured.one("invoke_workflow f")) == (1, 100, 50, COST, None)


def test_prices_that_come_late_are_not_needed_for_what_is_known(
    late_table: LateTable, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[acme]\ninput = 1\noutput = 1\n", encoding="utf-8")

    class Ask(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            record_usage([used(cost=0.25), used(500_000, 0, "acme"), used(1, 1, None)])

    with capture_spans(Config(prices=prices)) as captured:
        asyncio.run(chain(Ask(), kind=AsyncFlow).run_async({}))
    assert sums(captured.one("invoke_node Ask")) == (3, 500_101, 51, 0.75, 1)
    assert late_table.go.is_set() is False
    late_table.go.set()


def test_prices_that_come_late_are_loaded_while_the_model_answers(late_table: LateTable) -> None:
    def ask() -> None:
        client(captured)
        assert late_table._thread is not None

    with capture_spans() as captured:
        chain(Step("Ask", exec=ask)).run({})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)


def test_a_run_whose_price_nobody_knows_says_so() -> None:
    lines = console_output(lambda: chain(Step("Ask", put(used(80, 20, "acme")))).run({})).splitlines()
    assert [line.partition("1 step · ")[2] for line in lines if line.startswith("ok")] == [
        "1 LLM call · 100 tokens · cost $? (1 call unpriced: acme)"
    ]
