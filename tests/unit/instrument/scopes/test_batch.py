"""The spans of batches: items, rounds, and those beyond the limit of spans."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pocketflow import AsyncBatchNode, AsyncNode, AsyncParallelBatchFlow, AsyncParallelBatchNode
from tests.support.scoped import ATTEMPTS, VISIT, Files, Items, Step, Store, events

from pocketflow_otel import Config
from pocketflow_otel.testing import capture_spans

INDEX = "pocketflow.batch.index"


SIZE = "pocketflow.batch.size"


class ParallelItems(AsyncParallelBatchNode):
    async def prep_async(self, shared: Store) -> Any:
        self.bad = shared.get("bad", ())
        return shared["items"]

    async def exec_async(self, prep_res: int) -> int:
        await asyncio.sleep(0)
        if prep_res in self.bad:
            self.bad = [item for item in self.bad if item != prep_res]
            raise ConnectionError("no answer to call 1")
        return prep_res


def test_each_item_is_a_span_and_the_node_says_how_many() -> None:
    with capture_spans() as captured:
        Items().run({"items": [10, 20]})
    assert captured.tree(INDEX, SIZE, "pocketflow.batch.mode", ATTEMPTS).splitlines() == [
        "invoke_node Items size=2 mode=sequential",
        "  batch_item index=0 size=2 attempts=1",
        "  batch_item index=1 size=2 attempts=1",
    ]


@pytest.mark.parametrize(
    ("items", "size"),
    [
        ([], " size=0"),
        (None, " size=0"),
        ((), " size=0"),
        ({}, " size=0"),
        (range(0), " size=0"),
        (iter([]), ""),
        (type("Own", (list,), {"__len__": lambda self: 1 / 0, "__bool__": lambda self: False})(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_built_in_batch_is_asked_for_its_size(items: object, size: str) -> None:
    with capture_spans() as captured:
        Items().run({"items": items})
    assert captured.tree(SIZE) == f"invoke_node Items{size}"


def test_each_parallel_item_has_attempts_of_its_own() -> None:
    with capture_spans() as captured:
        asyncio.run(ParallelItems(max_retries=2).run_async({"items": [1, 2, 3], "bad": [1, 3]}))
    assert captured.tree("pocketflow.batch.mode", INDEX, ATTEMPTS).splitlines() == [
        "invoke_node ParallelItems mode=parallel",
        "  batch_item index=0 attempts=2",
        "  batch_item index=1 attempts=1",
        "  batch_item index=2 attempts=2",
    ]
    assert [len(span.events) for span in captured.named("batch_item")] == [0, 1, 1]


def test_items_beyond_the_limit_are_counted_and_failed_ones_still_have_spans() -> None:
    with capture_spans(Config(max_batch_items=2)) as captured:
        Items().run({"items": [1, 2, 3, 4]})
        with pytest.raises(ValueError, match="bad item 4"):
            Items(max_retries=2).run({"items": [1, 2, 3, 4], "bad": [4]})
    assert captured.tree(SIZE, INDEX, "pocketflow.batch.untraced_items", ATTEMPTS).splitlines() == [
        "invoke_node Items size=4 untraced_items=2",
        "  batch_item size=4 index=0 attempts=1",
        "  batch_item size=4 index=1 attempts=1",
        "invoke_node Items size=4 untraced_items=1",
        "  batch_item size=4 index=0 attempts=1",
        "  batch_item size=4 index=1 attempts=1",
        "  batch_item size=4 index=3 attempts=2",
    ]
    late = captured.named("batch_item")[-1]
    assert [name for name, _ in events(late)] == ["pocketflow.attempt.failed", "exception"]
    assert (late.start_time or 0) < late.events[0].timestamp < (late.end_time or 0)


def test_no_items_are_traced_where_none_are_wanted_and_what_is_below_belongs_to_the_node() -> None:
    class Calls(Items):
        def exec(self, prep_res: int) -> int:
            Step().run({})
            return prep_res

    with capture_spans(Config(max_batch_items=0)) as captured:
        Calls().run({"items": [1, 2]})
    assert captured.tree("pocketflow.batch.untraced_items").splitlines() == [
        "invoke_node Calls untraced_items=2",
        "  invoke_node Step",
        "  invoke_node Step",
    ]


class ParallelFiles(AsyncParallelBatchFlow):
    async def prep_async(self, shared: Store) -> Any:
        return shared["rounds"]


def test_each_round_is_a_span_with_the_names_of_its_params() -> None:
    flow = Files(start=Step())
    flow.set_params({"lang": "en"})
    with capture_spans() as captured:
        flow.run({"rounds": [{"file": "a"}, {}]})
    assert captured.tree(
        SIZE, INDEX, "pocketflow.params.keys", VISIT, "pocketflow.flow.steps"
    ).splitlines() == [
        "invoke_workflow Files size=2 steps=2",
        "  batch_item size=2 index=0 keys=('lang', 'file')",
        "    invoke_node Step visit=1",
        "  batch_item size=2 index=1 keys=('lang',)",
        "    invoke_node Step visit=1",
    ]


def test_parallel_rounds_are_told_apart() -> None:
    class Pause(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.sleep(0)

    with capture_spans() as captured:
        asyncio.run(ParallelFiles(start=Pause()).run_async({"rounds": [{"n": 1}, {"n": 2}]}))
    assert captured.tree("pocketflow.batch.mode", SIZE, INDEX, VISIT).splitlines() == [
        "invoke_workflow ParallelFiles mode=parallel size=2",
        "  batch_item size=2 index=0",
        "    invoke_node Pause visit=1",
        "  batch_item size=2 index=1",
        "    invoke_node Pause visit=1",
    ]


def test_rounds_beyond_the_limit_still_tell_of_their_nodes() -> None:
    with capture_spans(Config(max_batch_items=1)) as captured:
        Files(start=Step()).run({"rounds": [{}, {}]})
    assert captured.tree(INDEX, "pocketflow.batch.untraced_items", "pocketflow.flow.steps").splitlines() == [
        "invoke_workflow Files untraced_items=1 steps=2",
        "  batch_item index=0",
        "    invoke_node Step",
        "  invoke_node Step",
    ]


def test_a_batch_of_batches_nests() -> None:
    class Inner(AsyncBatchNode):
        async def prep_async(self, shared: Store) -> list[int]:
            return [1]

    with capture_spans() as captured:
        asyncio.run(ParallelFiles(start=ParallelFiles(start=Inner())).run_async({"rounds": [{}]}))
    assert captured.tree("pocketflow.flow.steps").splitlines() == [
        "invoke_workflow ParallelFiles steps=1",
        "  batch_item",
        "    invoke_workflow ParallelFiles steps=1",
        "      batch_item",
        "        invoke_node Inner",
        "          batch_item",
    ]
