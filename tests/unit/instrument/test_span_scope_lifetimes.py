"""What a step held dies when it would without us, though contexts outlive steps."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from pocketflow import AsyncFlow, AsyncNode, BatchFlow, BatchNode, Node
from tests.support.instrumented import Ask, Store, Talk

from pocketflow_otel.instrument.scopes.batch import BatchState
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.scope import Scope
from pocketflow_otel.testing import capture_spans


def test_what_a_step_held_dies_as_it_would_without_us() -> None:
    class Thing:
        pass

    class Makes(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2]

        def exec(self, prep_res: object) -> Thing:
            return Thing()

        def post(self, shared: Store, prep_res: object, exec_res: list[Thing]) -> None:
            self.own = Thing()
            references.extend(map(weakref.ref, (self, self.own, *exec_res)))

    class Fails(Node):
        def exec(self, prep_res: object) -> None:
            local = Thing()
            references.append(weakref.ref(local))
            raise ValueError("broken")

        def exec_fallback(self, prep_res: object, exc: Exception) -> None:
            pass

    references: list[weakref.ref[Any]] = []
    with capture_spans():
        makes = Makes()
        makes >> Fails()
        flow = Talk(start=makes)
        gc.collect()
        gc.disable()
        try:
            flow.run({})
            assert [reference() for reference in references] == [None] * 5
        finally:
            gc.enable()


def test_what_an_attempt_held_dies_before_the_next() -> None:
    class Thing:
        pass

    class Fails(Node):
        def exec(self, prep_res: object) -> None:
            note_alive()
            thing = Thing()
            references.append(weakref.ref(thing))
            raise ValueError("broken")

        def exec_fallback(self, prep_res: object, exc: Exception) -> None:
            note_alive()

        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            note_alive()

    def note_alive() -> None:
        alive.append([reference() is not None for reference in references])

    def run() -> list[list[bool]]:
        references.clear()
        alive.clear()
        gc.collect()
        gc.disable()
        try:
            Fails(max_retries=2).run({})
        finally:
            gc.enable()
        return list(alive)

    references: list[weakref.ref[Thing]] = []
    alive: list[list[bool]] = []
    bare = run()
    with capture_spans():
        assert run() == bare == [[], [False], [False, True], [False, False]]


def test_a_step_leaves_no_cycle_behind() -> None:
    class Items(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2]

    class Rounds(BatchFlow):
        def prep(self, shared: Store) -> list[Store]:
            return [{}, {}]

    def ours() -> list[object]:
        # By their type: to ask an object for its class fails for a proxy of what is gone.
        kinds = (Scope, CallHandler, BatchState)
        return [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]

    items = Items()
    items >> Ask()
    flow = Rounds(start=items)
    with capture_spans():
        gc.collect()
        gc.disable()
        try:
            before = ours()
            flow.run({})
            assert len(ours()) == len(before)
        finally:
            gc.enable()


def test_a_context_that_outlives_its_step_keeps_nothing_of_the_user_alive() -> None:
    class Store(dict[str, Any]):
        pass

    class Schedules(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            tasks.append(asyncio.create_task(asyncio.sleep(0.01)))

    async def main() -> object:
        store = Store()
        reference = weakref.ref(store)
        await AsyncFlow(start=Schedules()).run_async(store)
        del store
        left = reference()
        await tasks[0]
        return left

    tasks: list[asyncio.Task[None]] = []
    with capture_spans():
        assert asyncio.run(main()) is None
