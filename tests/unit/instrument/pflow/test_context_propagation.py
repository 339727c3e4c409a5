"""The context is handed on into pflow's pools, and into no others."""

from __future__ import annotations

from opentelemetry.context import attach, detach, get_current, set_value

from pocketflow_otel.instrument.pflow.context_propagation import ContextBound, propagating_executor


def test_a_propagating_pool_hands_the_context_on_and_another_pool_does_not() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def seen() -> object:
        return get_current().get("key")

    token = attach(set_value("key", "value"))
    try:
        with propagating_executor(ThreadPoolExecutor)(1) as ours, ThreadPoolExecutor(1) as plain:
            answers = [ours.submit(seen).result(), plain.submit(seen).result()]
            after = ours.submit(lambda: 1 / 0).exception()
    finally:
        detach(token)

    assert (answers, type(after)) == (["value", None], ZeroDivisionError)
    assert issubclass(propagating_executor(ThreadPoolExecutor), ThreadPoolExecutor)
    assert propagating_executor(ThreadPoolExecutor).__name__ == "ThreadPoolExecutor"


def test_a_function_with_a_context_is_called_as_it_is() -> None:
    assert ContextBound(lambda *args, **kwargs: (args, kwargs), get_current())(1, a=2) == ((1,), {"a": 2})
