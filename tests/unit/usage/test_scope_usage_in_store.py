"""Usage that lies in the shared store counts once, for the step that left it there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncNode, AsyncParallelBatchFlow, Flow, Node
from tests.support.usage_steps import COST, MINI, NONE, Step, back_end, by_name, chain, of, put, sums, used

from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable


def test_usage_in_the_store_that_stays_there_counts_once() -> None:
    with capture_spans() as captured:
        plain = [Step(name) for name in ("A", "B", "C")]
        chain(Step("Ask", put(used())), *plain).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "A": NONE, "B": NONE, "C": NONE, "f": (1, 100, 50)}


def test_usage_in_the_store_of_an_earlier_run_does_not_count() -> None:
    shared: dict[str, Any] = {}
    with capture_spans() as captured:
        chain(Step("Ask", put(used()))).run(shared)
        chain(Step("Plain")).run(shared)
    assert [sums(span)[:3] for span in captured.named("invoke_workflow f")] == [(1, 100, 50), NONE]


def test_usage_in_the_store_of_two_steps_counts_twice_though_it_is_equal() -> None:
    with capture_spans() as captured:
        steps = [Step(name, lambda shared: put(used())(shared)) for name in ("A", "B")]
        chain(*steps).run({})
    assert by_name(captured) == {"A": (1, 100, 50), "B": (1, 100, 50), "f": (2, 200, 100)}


def accumulate(shared: Any) -> None:
    usage = shared.setdefault("llm_usage", {"prompt_tokens": 0, "completion_tokens": 0, "model": MINI})
    usage["prompt_tokens"] += 100
    usage["completion_tokens"] += 50


def append(shared: Any) -> None:
    shared.setdefault("llm_usage", []).append(used())


@pytest.mark.parametrize("add", [accumulate, append], ids=["it accumulates", "in a growing list"])
def test_usage_in_the_store_that_grows_counts_what_was_added(add: Callable[[Any], None]) -> None:
    with capture_spans() as captured:
        chain(Step("A", add), Step("Plain"), Step("B", add)).run({})
    assert by_name(captured) == {
        "A": (1, 100, 50),
        "Plain": NONE,
        "B": (1, 100, 50),
        "f": (2, 200, 100),
    }


def test_usage_in_the_store_written_in_a_loop_counts_each_time() -> None:
    def ask(shared: Any) -> str:
        shared["llm_usage"] = used()
        shared["n"] = shared.get("n", 0) + 1
        return "again" if shared["n"] < 3 else "done"

    node = Step("Ask", ask)
    node - "again" >> node
    with capture_spans() as captured:
        chain(node).run({})
    assert sums(captured.one("invoke_workflow f"))[:3] == (3, 300, 150)


def test_usage_in_the_store_written_by_prep_counts() -> None:
    class Ask(Node):
        def prep(self, shared: Any) -> None:
            shared["llm_usage"] = used()

    with capture_spans() as captured:
        chain(Ask()).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}


def test_usage_in_the_store_written_before_the_step_failed_counts() -> None:
    class Ask(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used()
            raise ValueError("after the call")

    with capture_spans() as captured, pytest.raises(ValueError, match="after the call"):
        chain(Ask()).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}


def test_usage_in_the_store_of_a_flows_own_post_is_the_flows() -> None:
    class Outer(Flow):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used(7, 3)

    with capture_spans() as captured:
        chain(Step("Ask", put(used())), kind=Outer).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (2, 107, 53)}
    assert of(captured, "invoke_workflow f")["gen_ai.usage.input_tokens"] == 7
    assert back_end(captured) == (107, 53)


def test_usage_in_the_store_of_steps_at_once_counts_once_between_them() -> None:
    class Ask(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            await together.wait()
            shared.setdefault("llm_usage", []).append(used())
            await together.wait()

    class Many(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": n} for n in range(4)]

    async def main() -> None:
        global together
        together = asyncio.Barrier(4)
        await chain(Ask(), kind=Many).run_async({})

    with capture_spans() as captured:
        asyncio.run(main())
    assert sums(captured.one("invoke_workflow f")) == (4, 400, 200, 4 * COST, None)
    assert sum(sums(span)[0] or 0 for span in captured.named("invoke_node Ask")) == 4
    assert back_end(captured) == (400, 200)


def test_usage_in_the_store_handed_up_from_a_flow_on_another_store_counts_once() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> Any:
            inner: dict[str, Any] = {}
            chain(Step("Ask", put(used()))).run(inner)
            return inner["llm_usage"]

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = exec_res

    with capture_spans() as captured:
        outer = chain(Outer())
        outer.name = "outer"
        outer.run({})
    assert by_name(captured) == {
        "Ask": (1, 100, 50),
        "f": (1, 100, 50),
        "Outer": (1, 100, 50),
        "outer": (1, 100, 50),
    }
    assert back_end(captured) == (100, 50)


def test_usage_in_the_store_taken_along_into_copies_of_the_store_counts_once() -> None:
    class Loop(Node):
        def exec(self, prep_res: Any) -> None:
            shared: dict[str, Any] = {}
            for _ in range(5):
                Step("Ask", put(used())).run(shared)
                chain(Step("Plain")).run(dict(shared))

    with capture_spans() as captured:
        Loop().run({})
    assert sums(captured.one("invoke_node Loop"))[:3] == (5, 500, 250)


@pytest.mark.parametrize(
    "junk",
    ["x", 7, object(), {"model": MINI}, [None, {}], {"prompt_tokens": "7"}],
    ids=["text", "number", "object", "model alone", "nothing", "words"],
)
def test_usage_in_the_store_that_is_none_is_no_call(junk: Any) -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(junk))).run({})
    assert by_name(captured) == {"Ask": NONE, "f": NONE}
