"""The context is handed on into pflow's pools, and into no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from traceback import extract_tb

import pytest
from opentelemetry.context import attach, detach, get_current, set_value

from pocketflow_otel.instrument.pflow.context_propagation import ContextBound, propagating_executor


def test_a_propagating_pool_hands_the_context_on_and_another_pool_does_not() -> None:
    def seen() -> object:
        return get_current().get("key")

    pool = propagating_executor(ThreadPoolExecutor)(1)
    token = attach(set_value("key", "value"))
    try:
        with pool, ThreadPoolExecutor(1) as plain:
            answers = [pool.submit(seen).result(), plain.submit(seen).result()]
            detach(token)
            after = [pool.submit(lambda: 1 / 0).exception(), pool.submit(seen).result()]
    finally:
        detach(token)

    assert (answers, type(after[0]), after[1]) == (["value", None], ZeroDivisionError, None)
    assert issubclass(propagating_executor(ThreadPoolExecutor), ThreadPoolExecutor)
    assert propagating_executor(ThreadPoolExecutor).__name__ == "ThreadPoolExecutor"


def divide(number: int) -> float:
    return 1 / number


def test_an_error_in_a_pool_has_one_frame_of_ours() -> None:
    with propagating_executor(ThreadPoolExecutor)(1) as pool, ThreadPoolExecutor(1) as plain:
        traced, bare = pool.submit(divide, 0).exception(), plain.submit(divide, 0).exception()

    assert traced is not None
    assert bare is not None
    frames = [frame.name for frame in extract_tb(bare.__traceback__)]
    assert [frame.name for frame in extract_tb(traced.__traceback__)] == [
        *frames[:-1], "traced_by_pocketflow_otel", "divide",
    ]  # fmt: skip


def test_a_function_with_a_context_is_called_as_it_is_and_without_a_frame_of_ours() -> None:
    context = set_value("key", "value")
    bound = ContextBound(divide, context)
    with pytest.raises(ZeroDivisionError) as raised:
        bound(0)

    assert (bound(number=2), bound.context) == (0.5, context)
    assert [frame.name for frame in extract_tb(raised.value.__traceback__)][1:] == ["divide"]
