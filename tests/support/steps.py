"""Nodes and flows for the tests of the views: each says what it does, and moves a clock of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pocketflow

from pocketflow_otel.testing import START

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Nanoseconds since the epoch. A look at it costs one microsecond, work what a step says."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        self.now += 1_000
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


clock = Clock()


def nothing(shared: Any) -> None:
    pass


class Step(pocketflow.Node):
    """A node that takes its time in `exec`, and in `post` does what it is told."""

    def __init__(
        self, name: str, takes: float = 0.0, post: Callable[[Any], Any] = nothing, **options: Any
    ) -> None:
        super().__init__(**options)
        self.name = name
        self.takes = takes
        self.does = post

    def exec(self, prep_res: Any) -> None:
        clock.advance(self.takes)

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return self.does(shared)


def named(flow: Any, name: str) -> Any:
    flow.name = name
    return flow


class FailsFirst(Step):
    """Fails as often as it is told, then goes well."""

    def __init__(self, name: str, failures: int, message: str = "429", **options: Any) -> None:
        super().__init__(name, **options)
        self.left = failures
        self.message = message

    def exec(self, prep_res: Any) -> None:
        clock.advance(0.1)
        if self.left:
            self.left -= 1
            raise ConnectionError(self.message)


class FallsBack(FailsFirst):
    def exec_fallback(self, prep_res: Any, exc: Exception) -> str:
        return "a guess"


class InParallel(pocketflow.AsyncParallelBatchNode):
    """Does its last item first; the second item fails once."""

    def __init__(self) -> None:
        super().__init__(max_retries=3, wait=0.01)
        self.name = "Summarize"
        self.failed = False

    async def prep_async(self, shared: Any) -> list[int]:
        self.turn = asyncio.Condition()
        self.next = 2
        return [0, 1, 2]

    async def exec_async(self, index: int) -> int:
        async with self.turn:
            await self.turn.wait_for(lambda: self.next == index)
            clock.advance(0.1)
            if index == 1 and not self.failed:
                self.failed = True
                raise ConnectionError("429")
            self.next -= 1
            self.turn.notify_all()
        return index

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["summaries"] = exec_res


class Numbers(pocketflow.BatchNode):
    """Takes a tenth of a second for each number; does not like 13."""

    def __init__(self, name: str, numbers: Any) -> None:
        super().__init__()
        self.name = name
        self.numbers = numbers

    def prep(self, shared: Any) -> Any:
        return self.numbers

    def exec(self, number: int) -> None:
        clock.advance(0.1)
        if number == 13:
            raise ValueError("unlucky")


class Rounds(pocketflow.BatchFlow):
    def prep(self, shared: Any) -> list[dict[str, str]]:
        return [{"file": "a.txt"}, {"file": "b.txt"}]


class RoundsAtOnce(pocketflow.AsyncParallelBatchFlow):
    async def prep_async(self, shared: Any) -> list[dict[str, str]]:
        return [{"file": "a.txt"}, {"file": "b.txt"}]


class Waits(pocketflow.AsyncNode):
    """Lets the other rounds begin before it goes on."""

    async def exec_async(self, prep_res: Any) -> None:
        await asyncio.sleep(0)
        clock.advance(0.1)
