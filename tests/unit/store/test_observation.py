"""Which steps are open on which store: snapshots handed on, overlaps told, nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncBatchFlow, AsyncFlow, AsyncNode, AsyncParallelBatchFlow, BatchFlow, Flow, Node

from pocketflow_otel import semconv
from pocketflow_otel.store import observation
from pocketflow_otel.store.observation import StoreObservation
from pocketflow_otel.store.snapshot import Diff, Snapshot
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.testing import CapturedSpans

FLOW = object()


@pytest.fixture(autouse=True)
def _no_store_is_remembered() -> Iterator[None]:
    before = dict(observation._stores)
    yield
    assert observation._stores == before


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The stores of which a snapshot was taken anew."""
    taken: list[Any] = []
    take = Snapshot.take

    def recorded(shared: object) -> Snapshot | None:
        taken.append(shared)
        return take(shared)

    monkeypatch.setattr(Snapshot, "take", recorded)
    return taken


def test_a_step_is_told_what_changed_while_it_was_open() -> None:
    shared: dict[str, Any] = {"a": []}
    observed = StoreObservation(shared, None, None)
    shared["a"].append(1)
    assert (observed.close(), observed.concurrent) == (Diff(modified=("a",)), False)


def test_the_snapshot_after_one_step_serves_as_the_one_before_the_next(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    diffs = []
    for n in range(3):
        step = StoreObservation(shared, flow, FLOW)
        shared[f"key{n}"] = n
        diffs.append(step.close())
    assert (diffs, flow.close(), len(takes)) == (
        [Diff(added=("key0",)), Diff(added=("key1",)), Diff(added=("key2",))],
        Diff(added=("key0", "key1", "key2")),
        2,
    )


def test_a_step_of_another_flow_looks_for_itself(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    StoreObservation(shared, flow, FLOW).close()
    StoreObservation(shared, flow, object()).close()
    flow.close()
    assert len(takes) == 3


def test_steps_of_nobody_look_for_themselves(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    for _ in range(2):
        StoreObservation(shared, flow, None).close()
    flow.close()
    assert len(takes) == 3


def test_a_snapshot_is_not_handed_past_a_step_between(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    StoreObservation(shared, flow, FLOW).close()
    StoreObservation(shared, flow, None).close()
    StoreObservation(shared, flow, FLOW).close()
    flow.close()
    assert len(takes) == 4


def test_a_snapshot_of_a_store_that_was_not_listed_meanwhile_is_not_handed_on(takes: list[Any]) -> None:
    shared: UserDict[str, int] = UserDict()
    content, other = shared.data, {"late": 1}
    flow = StoreObservation(shared, None, None)
    step = StoreObservation(shared, flow, FLOW)
    shared.data = None  # type: ignore[assignment]
    unknown = step.close()
    content.update(other)
    shared.data = content
    following = StoreObservation(shared, flow, FLOW)
    assert (unknown, following.close(), flow.close(), len(takes)) == (None, Diff(), Diff(added=("late",)), 3)


def test_steps_that_overlap_are_concurrent_and_get_no_snapshot_from_each_other(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    one, two = StoreObservation(shared, flow, FLOW), StoreObservation(shared, flow, FLOW)
    shared["a"] = 1
    diffs = [one.close(), two.close()]
    after = StoreObservation(shared, flow, FLOW)
    after.close()
    flow.close()
    assert (diffs, [w.concurrent for w in (flow, one, two, after)], len(takes)) == (
        [Diff(added=("a",))] * 2,
        [False, True, True, False],
        4,
    )


def test_nested_steps_are_not_concurrent() -> None:
    shared: dict[str, Any] = {}
    outer = StoreObservation(shared, None, None)
    middle = StoreObservation(shared, outer, None)
    inner = StoreObservation(shared, middle, None)
    observations = [inner, middle, outer]
    assert [(observed.close(), observed.concurrent) for observed in observations] == [(Diff(), False)] * 3


def test_a_nested_step_that_overlaps_with_a_stranger_makes_all_around_it_concurrent() -> None:
    shared: dict[str, Any] = {}
    outer = StoreObservation(shared, None, None)
    inner = StoreObservation(shared, outer, None)
    stranger = StoreObservation(shared, None, None)
    assert [observed.concurrent for observed in (outer, inner, stranger)] == [True] * 3
    for observed in (stranger, inner, outer):
        observed.close()


def test_a_task_that_outlives_its_step_is_concurrent_with_the_next() -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    step = StoreObservation(shared, flow, FLOW)
    step.close()
    following = StoreObservation(shared, flow, FLOW)
    task = StoreObservation(shared, step, None)
    assert [observed.concurrent for observed in (flow, step, following, task)] == [False, False, True, True]
    for observed in (task, following, flow):
        observed.close()


def test_steps_on_different_stores_are_not_concurrent() -> None:
    one, two = StoreObservation({}, None, None), StoreObservation({}, None, None)
    assert [(observed.close(), observed.concurrent) for observed in (one, two)] == [(Diff(), False)] * 2


@pytest.mark.parametrize("shared", [None, 3, "text", [], object()], ids=lambda shared: type(shared).__name__)
def test_what_cannot_be_listed_is_never_concurrent(shared: object) -> None:
    one, two = StoreObservation(shared, None, None), StoreObservation(shared, None, None)
    assert [(observed.close(), observed.concurrent) for observed in (one, two)] == [(None, False)] * 2


VIEWS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a mapping proxy": MappingProxyType,
    "the same store": lambda shared: shared,
    "a wrapper": lambda shared: type(
        "Wrapper", (UserDict,), {"__init__": lambda s: setattr(s, "data", shared)}
    )(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_two_views_of_one_store_are_one_store(view: Callable[[dict[str, Any]], Any]) -> None:
    shared: dict[str, Any] = {}
    one, two = StoreObservation(shared, None, None), StoreObservation(view(shared), None, None)
    shared["a"] = 1
    assert [(observed.close(), observed.concurrent) for observed in (one, two)] == [
        (Diff(added=("a",)), True)
    ] * 2


def test_a_thousand_steps_at_once_are_all_told(takes: list[Any]) -> None:
    shared: dict[str, Any] = {}
    flow = StoreObservation(shared, None, None)
    steps = [StoreObservation(shared, flow, FLOW) for _ in range(1000)]
    assert (flow.concurrent, {step.concurrent for step in steps}) == (False, {True})
    for step in (*steps, flow):
        step.close()


def test_a_look_that_fails_leaves_no_step_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(shared: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Snapshot, "take", fail)
    with pytest.raises(MemoryError):
        StoreObservation({}, None, None)
    assert observation._stores == {}


def test_a_second_look_that_fails_leaves_no_step_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Snapshot, shared: object) -> None:
        raise MemoryError

    observed = StoreObservation({}, None, None)
    monkeypatch.setattr(Snapshot, "update", fail)
    with pytest.raises(MemoryError):
        observed.close()
    assert observation._stores == {}


def test_a_step_that_the_garbage_collector_ends_while_another_opens_does_not_wait_for_itself() -> None:
    def collect() -> None:
        with observation._lock:
            StoreObservation({}, None, None).close()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


# On spans


def on_store(span: Any) -> dict[str, Any]:
    """Return what a span says about its store, without the common prefix and the schema."""
    prefix = "pocketflow.shared."
    return {
        name.removeprefix(prefix): list(value) if isinstance(value, tuple) else value
        for name, value in span.attributes.items()
        if name.startswith(prefix) and name != semconv.SHARED_SCHEMA
    }


def by_name(captured: CapturedSpans) -> dict[str, dict[str, Any]]:
    """Return what each span says about its store; items of batches are left out."""
    return {
        span.name.rpartition(" ")[2]: on_store(span)
        for span in captured.spans
        if span.name != semconv.BATCH_ITEM
    }


def adds(*keys: str) -> dict[str, Any]:
    return {"added.keys": list(keys), "added.types": ["int"] * len(keys)}


def writer(name: str, **writes: int) -> Any:
    """Make a node that writes in `post`."""

    def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared.update(writes)

    return type(name, (Node,), {"post": post})()


def named(name: str, base: type = Flow, **methods: Any) -> type[Any]:
    return type(name, (base,), methods)


class Meet(AsyncNode):
    """Writes its number, when all that it is to meet are there."""

    together: asyncio.Barrier

    async def exec_async(self, prep_res: Any) -> None:
        await self.together.wait()

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[f"n{self.params.get('n', 0)}"] = 1


def test_sequential_steps_and_nested_flows_are_not_concurrent() -> None:
    inner = writer("InnerA", a=1)
    inner >> writer("InnerB", b=1)
    first = writer("First", first=1)
    first >> named("Inner")(start=inner) >> writer("Last", last=1)
    with capture_spans() as captured:
        named("Outer")(start=first).run({})
    assert by_name(captured) == {
        "First": adds("first"),
        "InnerA": adds("a"),
        "InnerB": adds("b"),
        "Inner": adds("a", "b"),
        "Last": adds("last"),
        "Outer": adds("first", "a", "b", "last"),
    }


def test_sequential_rounds_of_a_batch_flow_are_not_concurrent() -> None:
    class Round(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared[self.params["key"]] = 1

    class Rounds(BatchFlow):
        def prep(self, shared: Any) -> list[dict[str, str]]:
            return [{"key": "a"}, {"key": "b"}]

    with capture_spans() as captured:
        Rounds(start=Round()).run({})
    assert [on_store(span) for span in captured.spans if span.name != semconv.BATCH_ITEM] == [
        adds("a"),
        adds("b"),
        adds("a", "b"),
    ]


def test_sequential_rounds_of_an_async_batch_flow_are_not_concurrent() -> None:
    class Rounds(AsyncBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": 1}, {"n": 2}]

    async def main() -> None:
        Meet.together = asyncio.Barrier(1)
        await Rounds(start=Meet()).run_async({})

    with capture_spans() as captured:
        asyncio.run(main())
    assert [on_store(span) for span in captured.spans if span.name != semconv.BATCH_ITEM] == [
        adds("n1"),
        adds("n2"),
        adds("n1", "n2"),
    ]


def test_parallel_rounds_on_one_store_are_concurrent_and_their_flow_is_not() -> None:
    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> list[dict[str, int]]:
            return [{"n": 1}, {"n": 2}]

    async def main() -> None:
        Meet.together = asyncio.Barrier(2)
        await Rounds(start=Meet()).run_async({})

    with capture_spans() as captured:
        asyncio.run(main())
    flow = captured.one("invoke_workflow Rounds")
    steps = [on_store(span) for span in captured.named("invoke_node Meet")]
    assert ([step["concurrent"] for step in steps], set(steps[-1]["added.keys"])) == (
        [True, True],
        {"n1", "n2"},
    )
    assert {key: sorted(value) for key, value in on_store(flow).items()} == adds("n1", "n2")


def test_two_flows_at_once_on_one_store_are_concurrent() -> None:
    async def main(stores: list[dict[str, int]]) -> None:
        Meet.together = asyncio.Barrier(2)
        flow = named("Both", AsyncFlow)(start=Meet())
        await asyncio.gather(*map(flow.run_async, stores))

    with capture_spans() as one_store:
        asyncio.run(main([{}] * 2))
    with capture_spans() as two_stores:
        asyncio.run(main([{}, {}]))
    assert [
        [(span.name, span.attributes.get(semconv.SHARED_CONCURRENT)) for span in captured.spans]
        for captured in (one_store, two_stores)
    ] == [[("invoke_node Meet", flag), ("invoke_workflow Both", flag)] * 2 for flag in (True, None)]


def test_two_flows_within_one_node_on_one_store_are_concurrent_and_the_node_is_not() -> None:
    class Fork(AsyncNode):
        async def prep_async(self, shared: Any) -> None:
            Meet.together = asyncio.Barrier(2)
            flows = [named(name, AsyncFlow)(start=Meet()) for name in ("Left", "Right")]
            await asyncio.gather(*(flow.run_async(shared) for flow in flows))

    with capture_spans() as captured:
        asyncio.run(AsyncFlow(start=Fork()).run_async({}))
    assert {name: found.get("concurrent") for name, found in by_name(captured).items()} == {
        "Meet": True,
        "Left": True,
        "Right": True,
        "Fork": None,
        captured.spans[-1].name.rpartition(" ")[2]: None,
    }


def test_two_threads_on_one_store_are_concurrent() -> None:
    together = threading.Barrier(2)

    class Wait(Node):
        def exec(self, prep_res: Any) -> None:
            together.wait(60)

    flow = named("Both")(start=Wait())
    shared: dict[str, Any] = {}
    with capture_spans() as captured, ThreadPoolExecutor(2) as pool:
        list(pool.map(flow.run, [shared, shared]))
    assert by_name(captured) == {"Wait": {"concurrent": True}, "Both": {"concurrent": True}}


def test_two_threads_without_a_store_are_not_concurrent() -> None:
    together = threading.Barrier(2)

    class Wait(Node):
        def exec(self, prep_res: Any) -> None:
            together.wait(60)

    flow = named("Both")(start=Wait())
    with capture_spans() as captured, ThreadPoolExecutor(2) as pool:
        list(pool.map(flow.run, [None, None]))
    assert by_name(captured) == {"Wait": {}, "Both": {}}


# A snapshot handed on hides nothing


def test_what_prep_of_a_flow_writes_is_the_flows() -> None:
    def prep(self: Any, shared: Any) -> None:
        shared["prepared"] = 1

    flow = named("Prepared", prep=prep)(start=writer("Only", a=1))
    with capture_spans() as captured:
        flow.run({})
    assert by_name(captured) == {"Only": adds("a"), "Prepared": adds("prepared", "a")}


def test_what_post_of_a_nested_flow_writes_is_that_flows() -> None:
    def post(self: Any, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["posted"] = 1

    inner = named("Inner", post=post)(start=writer("Deep", deep=1))
    inner >> writer("After", after=1)
    with capture_spans() as captured:
        named("Outer")(start=inner).run({})
    assert by_name(captured) == {
        "Deep": adds("deep"),
        "Inner": adds("deep", "posted"),
        "After": adds("after"),
        "Outer": adds("deep", "posted", "after"),
    }


def test_what_a_flow_of_ones_own_writes_between_two_steps_is_the_flows() -> None:
    def _orch(self: Any, shared: Any, params: Any = None) -> None:
        node = self.start_node
        while node:
            node._run(shared)
            shared[f"between{len(shared)}"] = 1
            node = node.successors.get("default")

    first = writer("First", first=1)
    first >> writer("Second", second=1)
    with capture_spans() as captured:
        named("Own", _orch=_orch)(start=first).run({})
    assert by_name(captured) == {
        "First": adds("first"),
        "Second": adds("second"),
        "Own": adds("first", "between1", "second", "between3"),
    }


def test_what_get_next_node_writes_between_two_steps_is_the_flows() -> None:
    shared: dict[str, int] = {}

    def get_next_node(self: Any, curr: Any, action: Any) -> Any:
        shared[f"between{len(shared)}"] = 1
        return Flow.get_next_node(self, curr, action)

    first = writer("First", first=1)
    first >> writer("Second", second=1)
    with capture_spans() as captured:
        named("Own", get_next_node=get_next_node)(start=first).run(shared)
    assert by_name(captured) == {
        "First": adds("first"),
        "Second": adds("second"),
        "Own": adds("first", "between1", "second", "between3"),
    }


def test_what_another_thread_writes_between_two_steps_is_in_the_diff_of_the_next() -> None:
    shared: dict[str, int] = {}

    class Second(Node):
        def set_params(self, params: Any) -> None:
            shared["between"] = 1

    first = writer("First", first=1)
    first >> Second()
    with capture_spans() as captured:
        named("Stock")(start=first).run(shared)
    assert by_name(captured) == {
        "First": adds("first"),
        "Second": adds("between"),
        "Stock": adds("first", "between"),
    }


def test_a_store_that_is_an_object_is_filled_by_the_steps() -> None:
    class Ask(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.answer = 42

    with capture_spans() as captured:
        named("Asking")(start=Ask()).run(SimpleNamespace())
    assert by_name(captured) == {"Ask": adds("answer"), "Asking": adds("answer")}


def test_a_write_between_two_runs_of_a_flow_in_its_own_run_is_not_the_next_nodes() -> None:
    class Twice(Flow):
        def _run(self, shared: dict[str, object]) -> None:
            self._orch(shared)
            shared["between"] = 1
            self._orch(shared)

    with capture_spans() as captured:
        Twice(start=Node()).run({})
    assert "pocketflow.shared.added.keys" not in captured.spans[1].attributes
    assert captured.one("invoke_workflow Twice").attributes["pocketflow.shared.added.keys"] == ("between",)
