"""What a run may cost: it says so once, and stops before its next step if it was asked to.

An `Ask` costs a dollar.
"""

from __future__ import annotations

import asyncio
import logging
import os
from itertools import pairwise
from typing import Any

import pytest
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow, BatchNode, Flow, Node

from pocketflow_otel import BudgetExceeded, Config, PocketFlowInstrumentor, record_usage
from pocketflow_otel.guard import set_strict
from pocketflow_otel.testing import CapturedSpans, capture_spans

WARN = Config(max_cost=2.5)
STOP = Config(max_cost=2.5, max_cost_action="stop")
EXCEEDED = "run 20261122T193012Z-00000000 has cost $3.0, more than 2.5"


class Ask(Node):
    """Costs a dollar, and writes down that it ran."""

    def __init__(self, name: str = "Ask", **options: Any) -> None:
        super().__init__(**options)
        self.name = name

    def exec(self, prep_res: Any) -> None:
        record_usage({"total_tokens": 1, "cost": 1.0})

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["ran"] = [*shared.get("ran", ()), self.name]


def chain(*nodes: Any) -> Flow:
    for before, after in pairwise(nodes):
        before >> after
    flow = Flow(start=nodes[0])
    flow.name = "f"
    return flow


def asks(count: int) -> Flow:
    return chain(*(Ask(f"Ask{number}") for number in range(1, count + 1)))


def ended(captured: CapturedSpans) -> list[tuple[str, str, object]]:
    """How each span ended: its name, its status, its type of error."""
    return [
        (span.name, span.status.status_code.name, (span.attributes or {}).get("error.type"))
        for span in captured.spans
    ]


def test_a_run_beyond_its_budget_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    shared: dict[str, Any] = {}
    with capture_spans(WARN) as captured:
        asks(5).run(shared)
    assert shared["ran"] == ["Ask1", "Ask2", "Ask3", "Ask4", "Ask5"]
    assert [(record.name, record.levelno, record.message) for record in caplog.records] == [
        (
            "pocketflow_otel",
            logging.WARNING,
            "run 20261122T193012Z-00000000 has cost $3.0, more than POCKETFLOW_OTEL_MAX_COST=2.5",
        )
    ]
    assert {status for _, status, _ in ended(captured)} == {"UNSET"}


@pytest.mark.parametrize("config", [None, Config(max_cost=5), Config(max_cost=5, max_cost_action="stop")])
def test_a_run_within_its_budget_says_nothing(
    caplog: pytest.LogCaptureFixture, config: Config | None
) -> None:
    shared: dict[str, Any] = {}
    with capture_spans(config):
        asks(5).run(shared)
    assert (len(shared["ran"]), caplog.records) == (5, [])


def test_a_run_that_shall_stop_does_so_before_its_next_step(caplog: pytest.LogCaptureFixture) -> None:
    shared: dict[str, Any] = {}
    with capture_spans(STOP) as captured, pytest.raises(BudgetExceeded) as caught:
        asks(5).run(shared)
    assert (shared["ran"], str(caught.value)) == (["Ask1", "Ask2", "Ask3"], EXCEEDED)
    (message,) = caplog.messages
    assert message.endswith("more than POCKETFLOW_OTEL_MAX_COST=2.5; it stops before its next step")
    assert ended(captured) == [
        ("invoke_node Ask1", "UNSET", None),
        ("invoke_node Ask2", "UNSET", None),
        ("invoke_node Ask3", "UNSET", None),
        ("invoke_workflow f", "ERROR", "pocketflow_otel.BudgetExceeded"),
    ]
    assert captured.one("invoke_workflow f").attributes["pocketflow.cost.usd"] == 3.0  # type: ignore[index]


def test_the_last_step_may_go_beyond_the_budget() -> None:
    shared: dict[str, Any] = {}
    with capture_spans(STOP) as captured:
        asks(3).run(shared)
    assert (shared["ran"], {status for _, status, _ in ended(captured)}) == (
        ["Ask1", "Ask2", "Ask3"],
        {"UNSET"},
    )


def test_a_step_in_the_midst_of_its_work_is_left_alone() -> None:
    class Many(BatchNode):
        def prep(self, shared: Any) -> range:
            return range(10)

        def exec(self, item: int) -> int:
            record_usage({"total_tokens": 1, "cost": 1.0})
            return item

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["items"] = exec_res

    shared: dict[str, Any] = {}
    with capture_spans(STOP), pytest.raises(BudgetExceeded):
        chain(Many(), Ask()).run(shared)
    assert shared == {"items": list(range(10))}


def test_nothing_at_all_may_be_spent() -> None:
    shared: dict[str, Any] = {}
    with capture_spans(Config(max_cost=0, max_cost_action="stop")), pytest.raises(BudgetExceeded):
        chain(Node(), Ask("first"), Ask("second")).run(shared)
    assert shared["ran"] == ["first"]


def test_a_budget_is_that_of_a_run() -> None:
    with capture_spans(STOP):
        for _ in range(3):
            asks(2).run({})


def test_what_has_no_price_spends_nothing() -> None:
    class Private(Node):
        def exec(self, prep_res: Any) -> None:
            record_usage({"prompt_tokens": 10**9, "model": "acme-llm-7b"})

    with capture_spans(Config(max_cost=0, max_cost_action="stop")) as captured:
        chain(Private(), Private()).run({})
    assert {status for _, status, _ in ended(captured)} == {"UNSET"}


def test_nested_flows_spend_the_same_budget() -> None:
    shared: dict[str, Any] = {}
    inner = asks(2)
    inner.name = "inner"
    again = asks(2)
    again.name = "again"
    with capture_spans(STOP) as captured, pytest.raises(BudgetExceeded):
        chain(inner, again, Ask("last")).run(shared)
    assert shared["ran"] == ["Ask1", "Ask2", "Ask1"]
    assert ended(captured)[2:] == [
        ("invoke_workflow inner", "UNSET", None),
        ("invoke_node Ask1", "UNSET", None),
        ("invoke_workflow again", "ERROR", "pocketflow_otel.BudgetExceeded"),
        ("invoke_workflow f", "ERROR", "pocketflow_otel.BudgetExceeded"),
    ]


def test_a_nested_flow_does_not_begin_beyond_the_budget() -> None:
    inner = asks(1)
    inner.name = "inner"
    with capture_spans(STOP) as captured, pytest.raises(BudgetExceeded):
        chain(Ask(), Ask(), Ask(), inner).run({})
    assert captured.named("invoke_workflow inner") == []


def test_the_callers_own_exception_comes_through_every_level() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            try:
                asks(5).run({})
            except BudgetExceeded as error:
                seen.append(error)
                raise

    seen: list[BudgetExceeded] = []
    with capture_spans(STOP), pytest.raises(BudgetExceeded) as caught:
        Flow(start=Outer()).run({})
    assert caught.value is seen[0]
    assert isinstance(caught.value, Exception)


def test_retries_of_a_step_that_runs_a_flow_spend_nothing_more() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            tries.append(1)
            inner.run(shared)

    tries: list[int] = []
    shared: dict[str, Any] = {}
    with capture_spans(STOP) as captured, pytest.raises(BudgetExceeded):
        inner = asks(5)
        chain(Outer(max_retries=3), Ask("after")).run(shared)
    # The first try runs three steps; the others are stopped at the door.
    assert (len(tries), shared["ran"]) == (3, ["Ask1", "Ask2", "Ask3"])
    assert captured.one("invoke_node Outer").attributes["pocketflow.node.attempts"] == 3  # type: ignore[index]


def test_a_fallback_that_swallows_it_only_comes_to_the_next_step() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            asks(5).run({})

        def exec_fallback(self, prep_res: Any, exc: Exception) -> None:
            swallowed.append(type(exc))

    swallowed: list[type] = []
    shared: dict[str, Any] = {}
    with capture_spans(STOP), pytest.raises(BudgetExceeded):
        chain(Outer(), Ask("after")).run(shared)
    assert (swallowed, shared) == ([BudgetExceeded], {})


def test_rounds_at_once_stop_each_before_its_next_step() -> None:
    class AskAsync(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await together.wait()
            record_usage({"total_tokens": 1, "cost": 1.0})

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["ran"] = shared.get("ran", 0) + 1

    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(3)]

    async def main() -> None:
        global together
        together = asyncio.Barrier(3)
        first = AskAsync()
        first >> AskAsync()
        flow = Rounds(start=first)
        with pytest.raises(BudgetExceeded):
            await flow.run_async(shared)

    shared: dict[str, Any] = {}
    with capture_spans(STOP):
        asyncio.run(main())
    assert shared == {"ran": 3}


def test_two_runs_at_once_have_a_budget_each() -> None:
    class AskAsync(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await together.wait()
            record_usage({"total_tokens": 1, "cost": 2.0})
            await together.wait()

    async def main() -> None:
        global together
        together = asyncio.Barrier(3)
        flow = AsyncFlow(start=AskAsync())
        await asyncio.gather(*(flow.run_async({}) for _ in range(3)))

    with capture_spans(STOP) as captured:
        asyncio.run(main())
    assert {status for _, status, _ in ended(captured)} == {"UNSET"}


def test_a_correction_gives_the_money_back() -> None:
    # The clients of the items said $2; the step knows that it was $1.
    class Corrects(BatchNode):
        def prep(self, shared: Any) -> range:
            return range(2)

        def exec(self, item: int) -> None:
            attributes = {"gen_ai.usage.input_tokens": 1, "gen_ai.usage.cost": 1.0}
            captured.provider.get_tracer("c").start_span("chat", attributes=attributes).end()

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = {"total_tokens": 2, "cost": 1.0}

    shared: dict[str, Any] = {}
    with capture_spans(STOP) as captured:
        chain(Corrects(), Ask("a"), Node()).run(shared)
    assert captured.one("invoke_workflow f").attributes["pocketflow.cost.usd"] == 2.0  # type: ignore[index]


def test_it_stops_where_errors_of_ours_are_swallowed() -> None:
    set_strict(False)
    shared: dict[str, Any] = {}
    with capture_spans(STOP), pytest.raises(BudgetExceeded):
        asks(5).run(shared)
    assert len(shared["ran"]) == 3


def test_without_tracing_nothing_stops() -> None:
    with capture_spans(STOP):
        pass
    assert PocketFlowInstrumentor.copies is None
    shared: dict[str, Any] = {}
    asks(5).run(shared)
    assert len(shared["ran"]) == 5


def test_the_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_MAX_COST", "$2.50")
    monkeypatch.setenv("POCKETFLOW_OTEL_MAX_COST_ACTION", "stop")
    with capture_spans(Config.from_env()), pytest.raises(BudgetExceeded, match=r"\$3\.0, more than 2\.5$"):
        asks(5).run({})


def test_the_error_that_stops_a_run_shows_the_programs_frames_and_none_of_ours() -> None:
    with capture_spans(STOP) as captured, pytest.raises(BudgetExceeded):
        asks(5).run({})
    [stacktrace] = [
        str((event.attributes or {})["exception.stacktrace"])
        for span in captured.spans
        for event in span.events
        if event.name == "exception"
    ]

    assert "pocketflow_otel.BudgetExceeded: run" in stacktrace
    assert f"{os.sep}pocketflow_otel{os.sep}" not in stacktrace
    assert "test_budget.py" in stacktrace or "pocketflow" in stacktrace
