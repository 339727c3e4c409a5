"""Sums of usage go up: from items, steps and flows to the root of the run."""

from __future__ import annotations

import asyncio
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchFlow, BatchNode, Node
from tests.support.usage_steps import Step, back_end, by_name, chain, client, of, put, sums, used

from pocketflow_otel import Config, record_usage
from pocketflow_otel.testing import capture_spans


def test_sums_go_up_through_nested_flows() -> None:
    with capture_spans() as captured:
        inner = chain(Step("A", put(used())), Step("B", lambda shared: put(used(7, 3))(shared)))
        inner.name = "inner"
        chain(inner, Step("C", lambda shared: put(used(1, 1))(shared))).run({})
    assert by_name(captured) == {
        "A": (1, 100, 50),
        "B": (1, 7, 3),
        "inner": (2, 107, 53),
        "C": (1, 1, 1),
        "f": (3, 108, 54),
    }
    assert back_end(captured) == (108, 54)


def test_sums_go_up_through_a_node_that_runs_a_flow() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            record_usage(used(7, 3))
            chain(Step("Ask", put(used()))).run({})

    with capture_spans() as captured:
        Outer().run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50), "Outer": (2, 107, 53)}
    assert of(captured, "invoke_node Outer")["gen_ai.usage.input_tokens"] == 7
    assert back_end(captured) == (107, 53)


def test_sums_go_up_from_the_items_of_a_batch() -> None:
    class Ask(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 10]

        def exec(self, tokens: int) -> None:
            record_usage(used(tokens, 0))

    with capture_spans() as captured:
        chain(Ask()).run({})
    assert [sums(span)[:3] for span in captured.named("batch_item")] == [(1, 1, 0), (1, 10, 0)]
    assert by_name(captured) | {"batch_item": None} == {
        "batch_item": None,
        "Ask": (2, 11, 0),
        "f": (2, 11, 0),
    }
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")
    assert back_end(captured) == (11, 0)


def test_sums_go_up_from_items_at_once() -> None:
    class Ask(AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> range:
            return range(1, 5)

        async def exec_async(self, tokens: int) -> None:
            await asyncio.sleep(0)
            record_usage(used(tokens, 0))

    with capture_spans() as captured:
        asyncio.run(chain(Ask(), kind=AsyncFlow).run_async({}))
    assert sums(captured.one("invoke_node Ask"))[:3] == (4, 10, 0)
    assert back_end(captured) == (10, 0)


def test_sums_go_up_from_the_rounds_of_a_batch_flow() -> None:
    class Rounds(BatchFlow):
        def prep(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": 1}, {"n": 2}]

    with capture_spans() as captured:
        chain(Step("Ask", lambda shared: put(used())(shared)), kind=Rounds).run({})
    assert [sums(span)[:3] for span in captured.named("batch_item")] == [(1, 100, 50)] * 2
    assert sums(captured.one("invoke_workflow f"))[:3] == (2, 200, 100)
    assert back_end(captured) == (200, 100)


def test_sums_go_up_from_items_beyond_the_limit_of_spans() -> None:
    class Ask(BatchNode):
        def prep(self, shared: Any) -> range:
            return range(1, 5)

        def exec(self, tokens: int) -> None:
            record_usage(used(tokens, 0))

    with capture_spans(Config(max_batch_items=1)) as captured:
        chain(Ask()).run({})
    assert [sums(span)[:3] for span in captured.named("batch_item")] == [(1, 1, 0)]
    assert sums(captured.one("invoke_node Ask"))[:3] == (4, 10, 0)
    assert sums(captured.one("invoke_workflow f"))[:3] == (4, 10, 0)
    # The items without a span leave it to the step's to tell back ends: 2 + 3 + 4.
    assert of(captured, "invoke_node Ask")["gen_ai.usage.input_tokens"] == 9
    assert back_end(captured) == (10, 0)


def test_sums_go_up_when_the_step_tells_of_its_whole_batch() -> None:
    class Ask(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 10]

        def exec(self, tokens: int) -> None:
            client(captured, tokens, 0)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = [used(1, 0), used(10, 0)]

    with capture_spans() as captured:
        chain(Ask()).run({})
    assert sums(captured.one("invoke_workflow f"))[:3] == (2, 11, 0)
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")
    assert back_end(captured) == (11, 0)


def test_sums_go_up_in_each_run_by_itself() -> None:
    class Ask(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await together.wait()
            record_usage(used(self.params["tokens"], 0))
            await together.wait()

    async def one(tokens: int) -> None:
        flow = chain(Ask(), kind=AsyncFlow)
        flow.set_params({"tokens": tokens})
        await flow.run_async({})

    async def main() -> None:
        global together
        together = asyncio.Barrier(3)
        await asyncio.gather(*map(one, (1, 10, 100)))

    with capture_spans() as captured:
        asyncio.run(main())
    assert sorted(sums(span)[:3] for span in captured.named("invoke_workflow f")) == [
        (1, 1, 0),
        (1, 10, 0),
        (1, 100, 0),
    ]
