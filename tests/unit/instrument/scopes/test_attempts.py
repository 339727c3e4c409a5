"""Attempts: how many there were, what failed on the way, and what a fallback gave."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from traceback import walk_tb

import pytest
from pocketflow import AsyncNode, Node
from tests.support.scoped import ATTEMPTS, Flaky, Store, events

from pocketflow_otel.testing import START, TICK, capture_spans

FALLBACK = "pocketflow.node.fallback"


def failed(attempt: int, limit: int, *, wait: float) -> tuple[str, dict[str, object]]:
    return (
        "pocketflow.attempt.failed",
        {
            "attempt": attempt,
            "max": limit,
            "phase": "exec",
            "wait_seconds": wait,
            "exception.type": "ConnectionError",
            "exception.message": f"no answer to call {attempt}",
        },
    )


def test_attempts_that_failed_are_told_and_the_node_is_no_error() -> None:
    with capture_spans() as captured:
        Flaky(2, max_retries=3, wait=0.001).run({})
    span = captured.one("invoke_node Flaky")
    assert (events(span), span.status.status_code.name, captured.tree(ATTEMPTS, FALLBACK)) == (
        [failed(1, 3, wait=0.001), failed(2, 3, wait=0.001)],
        "UNSET",
        "invoke_node Flaky attempts=3",
    )


def test_a_failed_attempt_is_told_at_the_time_it_failed() -> None:
    with capture_spans() as captured:
        Flaky(2, max_retries=3).run({})
    span = captured.one("invoke_node Flaky")
    assert [(event.timestamp - START) // TICK for event in span.events] == [4, 5]
    assert (span.end_time or 0) > span.events[-1].timestamp


def test_the_last_attempt_that_failed_is_the_error_itself() -> None:
    with capture_spans() as captured, pytest.raises(ConnectionError):
        Flaky(9, max_retries=2).run({})
    span = captured.one("invoke_node Flaky")
    assert events(span) == [
        failed(1, 2, wait=0.0),
        ("exception", {"exception.type": "ConnectionError", "exception.message": "no answer to call 2"}),
    ]


def test_a_debugger_may_look_at_what_ran_a_step_that_failed() -> None:
    with capture_spans() as captured, pytest.raises(ConnectionError) as raised:
        Flaky(9, max_retries=2).run({})
    looked_at = [frame.f_locals.get("self") for frame, _ in walk_tb(raised.value.__traceback__)]
    nodes = list(filter(None, looked_at))
    methods = [(node.prep, node._exec, node.exec, node.exec_fallback, node.post) for node in nodes]
    assert len(methods) > len(("run", "_run", "_exec"))
    assert captured.tree(ATTEMPTS) == "invoke_node Flaky attempts=2"


def test_a_fallback_takes_the_place_of_the_last_attempt() -> None:
    class Saved(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    class SavedLater(AsyncNode):
        async def exec_async(self, prep_res: object) -> str:
            raise ConnectionError("no answer to call 1")

        async def exec_fallback_async(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    with capture_spans() as captured:
        Saved(9, max_retries=2).run({})
        asyncio.run(SavedLater().run_async({}))
    assert captured.tree(ATTEMPTS, FALLBACK).splitlines() == [
        "invoke_node Saved attempts=2 fallback=True",
        "invoke_node SavedLater attempts=1 fallback=True",
    ]
    assert [events(span) for span in captured.spans] == [
        [failed(1, 2, wait=0.0), failed(2, 2, wait=0.0)],
        [failed(1, 1, wait=0.0)],
    ]
    assert {span.status.status_code.name for span in captured.spans} == {"UNSET"}


def test_what_failed_before_a_fallback_is_told_though_post_fails_too() -> None:
    class Saved(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

        def post(self, shared: Store, prep_res: object, exec_res: str) -> None:
            raise ValueError(exec_res)

    with capture_spans() as captured, pytest.raises(ValueError, match="no idea"):
        Saved(9).run({})
    assert events(captured.one("invoke_node Saved")) == [
        failed(1, 1, wait=0.0),
        ("exception", {"exception.type": "ValueError", "exception.message": "no idea"}),
    ]


def test_a_fallback_that_asks_once_more_is_still_the_fallback() -> None:
    class AsksItself(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> object:
            return self.exec(prep_res)

    class Repeats(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> object:
            return self._exec(prep_res)

    class RepeatsLater(AsyncNode):
        calls = 0

        async def exec_async(self, prep_res: object) -> str:
            self.calls += 1
            if self.calls < 3:
                raise ConnectionError(f"no answer to call {self.calls}")
            return "answer"

        async def exec_fallback_async(self, prep_res: object, exc: Exception) -> object:
            return await self._exec(prep_res)

    with capture_spans() as captured:
        AsksItself(2, max_retries=2).run({})
        Repeats(2, max_retries=2).run({})
        asyncio.run(RepeatsLater(max_retries=2).run_async({}))
    assert captured.tree(ATTEMPTS, FALLBACK).splitlines() == [
        "invoke_node AsksItself attempts=2 fallback=True",
        "invoke_node Repeats attempts=2 fallback=True",
        "invoke_node RepeatsLater attempts=2 fallback=True",
    ]
    both = [failed(1, 2, wait=0.0), failed(2, 2, wait=0.0)]
    assert [events(span) for span in captured.spans] == [both] * 3


def test_what_a_fallback_could_not_save_may_be_tried_again() -> None:
    class Around(Flaky):
        def _exec(self, prep_res: object) -> object:
            while True:
                with suppress(ConnectionError):
                    return super()._exec(prep_res)

    class Alone(Flaky):
        def _exec(self, prep_res: object) -> object:
            while True:
                try:
                    return self.exec(prep_res)
                except ConnectionError as error:
                    with suppress(ConnectionError):
                        return self.exec_fallback(prep_res, error)

    class Whole(Flaky):
        def _run(self, shared: Store) -> object:
            while True:
                with suppress(ConnectionError):
                    return super()._run(shared)

    with capture_spans() as captured:
        for kind in (Around, Alone, Whole):
            kind(3, max_retries=1).run({})
    assert captured.tree(ATTEMPTS, FALLBACK).splitlines() == [
        "invoke_node Around attempts=4",
        "invoke_node Alone attempts=4",
        "invoke_node Whole attempts=4",
    ]
    assert [[own["max"] for _, own in events(span)] for span in captured.spans] == [[0, 0, 0]] * 3


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_retries": 2}, [(2, 0.0), (0, 0.0), (0, 0.0)]),
        ({"max_retries": float("inf")}, [(0, 0.0)] * 3),
        ({"max_retries": 10**30}, [(0, 0.0)] * 3),
        ({"max_retries": 9, "wait": float("inf")}, [(9, 0.0)] * 3),
        ({"max_retries": 9, "wait": float("nan")}, [(9, 0.0)] * 3),
        ({"max_retries": 9, "wait": 10**400}, [(9, 0.0)] * 3),
    ],
)
def test_a_loop_of_its_own_tells_what_can_be_said_of_its_limits(
    limits: dict[str, float], told: list[tuple[int, float]]
) -> None:
    class Loops(Flaky):
        def _exec(self, prep_res: object) -> object:
            while True:
                try:
                    return self.exec(prep_res)
                except ConnectionError as error:
                    if self.calls == 3:
                        return self.exec_fallback(prep_res, error)

        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    with capture_spans() as captured:
        Loops(3, **limits).run({})
    recorded = events(captured.one("invoke_node Loops"))
    assert [(own["max"], own["wait_seconds"]) for _, own in recorded] == told


def test_a_class_may_say_how_often_its_nodes_try() -> None:
    class Settled(Flaky):
        max_retries = 3
        wait = 0.001

        def __init__(self) -> None:
            self.params: dict[str, object] = {}
            self.successors: dict[str, Node] = {}
            self.failures, self.calls = 2, 0

    with capture_spans() as captured:
        Settled().run({})
    assert events(captured.one("invoke_node Settled")) == [failed(1, 3, wait=0.001), failed(2, 3, wait=0.001)]


def test_many_attempts_are_all_counted_and_the_first_and_the_last_told() -> None:
    with capture_spans() as captured:
        Flaky(99, max_retries=100).run({})
    span = captured.one("invoke_node Flaky")
    recorded = [attributes["attempt"] for _, attributes in events(span)]
    assert (captured.tree(ATTEMPTS), recorded) == ("invoke_node Flaky attempts=100", [*range(1, 32), 99])


def test_an_exec_that_calls_itself_or_its_parent_is_one_attempt() -> None:
    class Parent(Node):
        def exec(self, prep_res: object) -> int:
            return 1

    class Child(Parent):
        def exec(self, prep_res: object) -> int:
            return super().exec(prep_res) if prep_res == "inner" else self.exec("inner")

        def post(self, shared: Store, prep_res: object, exec_res: int) -> None:
            self.exec("inner")

    with capture_spans() as captured:
        Child().run({})
    assert captured.tree(ATTEMPTS) == "invoke_node Child attempts=1"
