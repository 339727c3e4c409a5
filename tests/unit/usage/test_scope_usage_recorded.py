"""Usage given to `record_usage` counts for the step that is running."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import attach, detach, get_current
from pocketflow import AsyncFlow, AsyncNode, Node
from tests.support.usage_steps import COST, MINI, NONE, Step, back_end, by_name, chain, of, put, used

from pocketflow_otel import record_usage
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable


def test_usage_recorded_anywhere_in_a_step_is_the_steps() -> None:
    class Ask(Node):
        def prep(self, shared: Any) -> None:
            record_usage(used(1, 0))

        def exec(self, prep_res: Any) -> None:
            record_usage([used(2, 0), used(4, 0)])

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            record_usage({"usage": used(8, 0)})

    with capture_spans() as captured:
        chain(Ask()).run({})
    assert by_name(captured) == {"Ask": (4, 15, 0), "f": (4, 15, 0)}
    assert back_end(captured) == (15, 0)


def test_usage_recorded_with_what_it_does_not_say_itself() -> None:
    with capture_spans() as captured:
        usage = {"prompt_tokens": 100, "completion_tokens": 50}
        chain(Step("Ask", exec=lambda: record_usage(usage, model=MINI, provider="openai"))).run({})
    assert of(captured, "invoke_node Ask") == {
        "calls": 1,
        "input_tokens": 100,
        "output_tokens": 50,
        "models": (MINI,),
        "cost.usd": COST,
        "gen_ai.request.model": MINI,
        "gen_ai.provider.name": "openai",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cost": COST,
    }


def test_usage_recorded_with_where_it_was_sent_has_a_price() -> None:
    def ask() -> None:
        record_usage(used(100, 50, "llama-3.3-70b-versatile"), base_url="https://api.groq.com/openai/v1")

    with capture_spans() as captured:
        chain(Step("Ask", exec=ask)).run({})
    # Groq: 100 * $0.59/M + 50 * $0.79/M
    assert of(captured, "invoke_node Ask")["gen_ai.usage.cost"] == pytest.approx(0.0000985)


def test_usage_recorded_by_every_attempt_counts() -> None:
    def ask() -> None:
        record_usage(used(10, 0))
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError("429")

    attempts: list[int] = []
    with capture_spans() as captured:
        chain(Step("Ask", exec=ask, max_retries=3)).run({})
    assert by_name(captured) == {"Ask": (3, 30, 0), "f": (3, 30, 0)}


def test_usage_recorded_in_a_thread_that_has_the_steps_context_is_the_steps() -> None:
    def ask() -> None:
        inside = contextvars.copy_context()
        thread = threading.Thread(target=inside.run, args=(record_usage, used()))
        thread.start()
        thread.join()

    with capture_spans() as captured:
        chain(Step("Ask", exec=ask)).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}


async def outlived(late: Callable[[], object]) -> None:
    """Run a flow whose first step starts a task, which does something when that step is over."""

    class Starts(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            tasks.append(asyncio.create_task(later()))

    class Waits(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            closed.set()
            await tasks[0]

    async def later() -> None:
        await closed.wait()
        late()

    tasks: list[Any] = []
    closed = asyncio.Event()
    await chain(Starts(), Waits(), kind=AsyncFlow).run_async({})


def test_usage_recorded_in_a_task_that_outlives_its_step_is_the_flows() -> None:
    with capture_spans() as captured:
        asyncio.run(outlived(lambda: record_usage(used())))
    assert by_name(captured) == {"Starts": NONE, "Waits": NONE, "f": (1, 100, 50)}
    assert back_end(captured) == (100, 50)


def test_usage_recorded_by_a_step_that_outlives_the_one_that_started_it_is_the_flows() -> None:
    with capture_spans() as captured:
        asyncio.run(outlived(lambda: Step("Late", put(used())).run({})))
    assert by_name(captured) == {"Starts": NONE, "Late": (1, 100, 50), "Waits": NONE, "f": (1, 100, 50)}
    assert captured.one("invoke_workflow f").attributes["pocketflow.flow.steps"] == 3  # type: ignore[index]


def test_usage_recorded_after_the_run_is_lost() -> None:
    with capture_spans() as captured:
        contexts: list[Any] = []
        chain(Step("Ask", exec=lambda: contexts.append(get_current()))).run({})
        token = attach(contexts[0])
        record_usage(used())
        detach(token)
    assert by_name(captured) == {"Ask": NONE, "f": NONE}


def test_usage_recorded_outside_a_run_does_nothing() -> None:
    record_usage(used())
    with capture_spans() as captured:
        record_usage(used())
        chain(Step("Plain")).run({})
    assert by_name(captured) == {"Plain": NONE, "f": NONE}


def test_usage_recorded_from_nonsense_is_said_to_be_none(caplog: pytest.LogCaptureFixture) -> None:
    with capture_spans() as captured:
        chain(Step("Ask", exec=lambda: record_usage({"tokens": 7}))).run({})
    assert (by_name(captured), caplog.messages) == (
        {"Ask": NONE, "f": NONE},
        ["record_usage() found no usage in a dict"],
    )
