"""Usage and cost on spans: each call once, wherever it shows up, and its price or none.

Prices are gpt-4o-mini's: $0.15 and $0.60 per million tokens, 100 in and 50 out are $0.000045.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import attach, detach, get_current
from pocketflow import (
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchNode,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
)
from tests.support.views import console_output, viewed

from pocketflow_otel import Config, record_usage
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.usage import pricing
from pocketflow_otel.views import wording

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.testing import CapturedSpans

MINI = "gpt-4o-mini"
COST = 0.000045


def used(tokens: int = 100, output: int = 50, model: str | None = MINI, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": tokens, "completion_tokens": output, "model": model, **more}


def put(usage: Any) -> Callable[[Any], None]:
    def do(shared: Any) -> None:
        shared["llm_usage"] = usage

    return do


def nothing(shared: Any) -> None:
    pass


class Step(Node):
    """Does something in `exec`, and something in `post`."""

    def __init__(
        self,
        name: str,
        post: Callable[[Any], Any] = nothing,
        exec: Callable[[], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.name, self.posts, self.execs = name, post, exec

    def exec(self, prep_res: Any) -> None:
        if self.execs is not None:
            self.execs()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return self.posts(shared)


def chain(*nodes: Any, kind: type = Flow) -> Any:
    for before, after in pairwise(nodes):
        before >> after
    flow = kind(start=nodes[0])
    flow.name = "f"
    return flow


def client(
    captured: CapturedSpans, tokens: int = 100, output: int = 50, model: str = MINI, **more: Any
) -> None:
    """Make the span of an LLM client's instrumentation."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": output,
        **more,
    }
    tracer = captured.provider.get_tracer("some.llm.client")
    with tracer.start_as_current_span("chat", attributes=attributes):
        pass


def said(span: ReadableSpan) -> dict[str, Any]:
    """Everything a span of ours says of usage and cost, without the prefixes."""
    assert span.attributes is not None
    shortened = {
        name.removeprefix("pocketflow.").removeprefix("usage."): value
        for name, value in span.attributes.items()
        if name.startswith(("pocketflow.usage.", "pocketflow.cost.", "gen_ai."))
    }
    for name in ("gen_ai.operation.name", "gen_ai.workflow.name"):
        shortened.pop(name, None)
    if "by_model" in shortened:
        shortened["by_model"] = json.loads(shortened["by_model"])
    return shortened


def of(captured: CapturedSpans, name: str) -> dict[str, Any]:
    return said(captured.one(name))


def sums(span: ReadableSpan) -> tuple[Any, ...]:
    """Calls, tokens in and out, dollars, calls without a price."""
    says = said(span)
    return tuple(
        says.get(name)
        for name in ("calls", "input_tokens", "output_tokens", "cost.usd", "cost.unpriced_calls")
    )


def by_name(captured: CapturedSpans) -> dict[str, tuple[Any, ...]]:
    """The calls and the tokens in and out that each of our spans comes to."""
    return {
        span.name.split()[-1]: sums(span)[:3]
        for span in captured.spans
        if span.instrumentation_scope.name == "pocketflow_otel"
    }


def back_end(captured: CapturedSpans) -> tuple[int, int]:
    """What a back end comes to that adds up `gen_ai.usage.*` of all spans."""
    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    first, second = (sum(span.attributes.get(name, 0) for span in captured.spans) for name in names)
    return first, second


NONE = (None, None, None)


def test_the_price_is_said_of_a_step_and_its_flow() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()))).run({})
    rolled_up = {
        "calls": 1,
        "input_tokens": 100,
        "output_tokens": 50,
        "models": (MINI,),
        "cost.usd": COST,
    }
    assert of(captured, "invoke_node Ask") == {
        **rolled_up,
        "gen_ai.request.model": MINI,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cost": COST,
    }
    assert of(captured, "invoke_workflow f") == {
        **rolled_up,
        "by_model": {MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST}},
    }


def test_the_price_is_said_unless_nobody_knows_it() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used(80, 20, "acme-llm-7b")))).run({})
    rolled_up = {
        "calls": 1,
        "input_tokens": 80,
        "output_tokens": 20,
        "models": ("acme-llm-7b",),
        "cost.unpriced_calls": 1,
    }
    assert of(captured, "invoke_node Ask") == {
        **rolled_up,
        "gen_ai.request.model": "acme-llm-7b",
        "gen_ai.usage.input_tokens": 80,
        "gen_ai.usage.output_tokens": 20,
    }
    by_model = {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1}
    assert of(captured, "invoke_workflow f") == {**rolled_up, "by_model": {"acme-llm-7b": by_model}}


def test_the_price_is_said_for_the_calls_that_have_one() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put([used(), used(80, 20, "acme-llm-7b"), used(1, 1, None)]))).run({})
    assert of(captured, "invoke_workflow f") == {
        "calls": 3,
        "input_tokens": 181,
        "output_tokens": 71,
        "models": ("acme-llm-7b", MINI, "unknown"),
        "cost.usd": COST,
        "cost.unpriced_calls": 2,
        "by_model": {
            "acme-llm-7b": {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1},
            MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST},
            "unknown": {"calls": 1, "input_tokens": 1, "output_tokens": 1, "unpriced_calls": 1},
        },
    }
    # The step tells of three calls of three models: neither model nor price is theirs together.
    own = {name: value for name, value in of(captured, "invoke_node Ask").items() if "gen_ai" in name}
    assert own == {"gen_ai.usage.input_tokens": 181, "gen_ai.usage.output_tokens": 71}


def test_the_price_is_said_with_every_part_that_is_known() -> None:
    usage = used(
        2006,
        300,
        prompt_tokens_details={"cached_tokens": 1920, "cache_write_tokens": 12},
        completion_tokens_details={"reasoning_tokens": 64},
        provider="openai",
        cost=0.25,
    )
    with capture_spans() as captured:
        chain(Step("Ask", put(usage))).run({})
    assert of(captured, "invoke_node Ask") == {
        "calls": 1,
        "input_tokens": 2006,
        "output_tokens": 300,
        "cache_read.input_tokens": 1920,
        "models": (MINI,),
        "cost.usd": 0.25,
        "gen_ai.request.model": MINI,
        "gen_ai.provider.name": "openai",
        "gen_ai.usage.input_tokens": 2006,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 1920,
        "gen_ai.usage.cache_write.input_tokens": 12,
        "gen_ai.usage.reasoning.output_tokens": 64,
        "gen_ai.usage.cost": 0.25,
    }


def test_the_price_is_said_by_the_users_own_file(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[acme]\ninput = 1\noutput = 2\n", encoding="utf-8")
    with capture_spans(Config(prices=prices)) as captured:
        chain(Step("Ask", put(used(1_000_000, 500_000, "acme")))).run({})
    assert of(captured, "invoke_node Ask")["cost.usd"] == 2.0


def test_the_price_is_said_by_the_model_that_lies_beside_the_usage() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used(model=None)))).run({"llm_model": MINI})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)


def test_the_price_is_said_by_the_clients_span() -> None:
    with capture_spans() as captured:
        ask = Step(
            "Ask",
            exec=lambda: client(
                captured, model="llama-3.3-70b-versatile", **{"server.address": "api.groq.com"}
            ),
        )
        chain(ask).run({})
    # Groq's prices: 100 * $0.59/M + 50 * $0.79/M; the span says that OpenAI's client was used.
    assert of(captured, "invoke_node Ask")["cost.usd"] == pytest.approx(0.0000985)


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


def test_usage_in_the_store_that_accumulates_counts_its_increases() -> None:
    def add(shared: Any) -> None:
        usage = shared.setdefault("llm_usage", {"prompt_tokens": 0, "completion_tokens": 0, "model": MINI})
        usage["prompt_tokens"] += 100
        usage["completion_tokens"] += 50

    with capture_spans() as captured:
        chain(Step("A", add), Step("Plain"), Step("B", add)).run({})
    assert by_name(captured) == {
        "A": (1, 100, 50),
        "Plain": NONE,
        "B": (1, 100, 50),
        "f": (2, 200, 100),
    }


def test_usage_in_the_store_in_a_growing_list_counts_what_was_added() -> None:
    def add(shared: Any) -> None:
        shared.setdefault("llm_usage", []).append(used())

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


def test_a_call_told_by_a_client_and_in_the_store_counts_once() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()), lambda: client(captured))).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")
    assert back_end(captured) == (100, 50)


def test_a_call_recorded_and_in_the_store_counts_once() -> None:
    with capture_spans() as captured:
        cached = used(prompt_tokens_details={"cached_tokens": 80})
        chain(Step("Ask", put(used()), lambda: record_usage(cached))).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert of(captured, "invoke_node Ask")["cache_read.input_tokens"] == 80
    assert back_end(captured) == (100, 50)


def test_a_call_told_in_all_three_ways_counts_once() -> None:
    def ask() -> None:
        client(captured)
        record_usage(used())

    with capture_spans() as captured:
        chain(Step("Ask", put(used()), ask)).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert back_end(captured) == (100, 50)


def test_several_calls_recorded_and_their_sum_in_the_store_count_once_each() -> None:
    def ask() -> None:
        record_usage(used(60, 30))
        record_usage(used(40, 20))

    with capture_spans() as captured:
        chain(Step("Ask", put(used()), ask)).run({})
    assert by_name(captured) == {"Ask": (2, 100, 50), "f": (2, 100, 50)}


def test_what_the_step_says_corrects_its_client_in_the_sums() -> None:
    # The client's span says 90; the response said 100. The span keeps what it said.
    with capture_spans() as captured:
        chain(Step("Ask", put(used()), lambda: client(captured, 90))).run({})
    assert sums(captured.one("invoke_workflow f")) == (1, 100, 50, COST, None)
    assert captured.one("chat").attributes["gen_ai.usage.input_tokens"] == 90  # type: ignore[index]
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")


def test_what_is_below_and_summed_up_by_the_step_above_counts_once() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            steps = (Step("A", exec=lambda: client(captured, 7, 3)), Step("B", put(used(1, 2))))
            chain(*steps).run({})

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used(8, 5)

    with capture_spans() as captured:
        Outer().run({})
    assert by_name(captured) == {"A": (1, 7, 3), "B": (1, 1, 2), "f": (2, 8, 5), "Outer": (2, 8, 5)}
    assert back_end(captured) == (8, 5)


def test_what_one_step_says_leaves_other_steps_clients_alone() -> None:
    with capture_spans() as captured:
        chain(
            Step("Seen", exec=lambda: client(captured, 7, 3)),
            Step("Said", put(used())),
        ).run({})
    assert by_name(captured) == {"Seen": (1, 7, 3), "Said": (1, 100, 50), "f": (2, 107, 53)}
    assert back_end(captured) == (107, 53)


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


def test_usage_recorded_in_a_task_that_outlives_its_step_is_the_flows() -> None:
    class Starts(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            self.task = tasks.append(asyncio.create_task(later()))

    class Waits(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            closed.set()
            await tasks[0]

    async def later() -> None:
        await closed.wait()
        record_usage(used())

    async def main() -> None:
        global closed
        closed = asyncio.Event()
        await chain(Starts(), Waits(), kind=AsyncFlow).run_async({})

    tasks: list[Any] = []
    with capture_spans() as captured:
        asyncio.run(main())
    assert by_name(captured) == {"Starts": NONE, "Waits": NONE, "f": (1, 100, 50)}
    assert back_end(captured) == (100, 50)


def test_usage_recorded_by_a_step_that_outlives_the_one_that_started_it_is_the_flows() -> None:
    class Starts(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            tasks.append(asyncio.create_task(later()))

    class Waits(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            closed.set()
            await tasks[0]

    async def later() -> None:
        await closed.wait()
        Step("Late", put(used())).run({})

    async def main() -> None:
        global closed
        closed = asyncio.Event()
        await chain(Starts(), Waits(), kind=AsyncFlow).run_async({})

    tasks: list[Any] = []
    with capture_spans() as captured:
        asyncio.run(main())
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


class LateTable(pricing._Table):
    """A price table that is loaded when somebody waits for it, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def wait(self, seconds: float) -> None:
        self.go.set()
        super().wait(seconds)


@pytest.fixture
def late_table(monkeypatch: pytest.MonkeyPatch) -> LateTable:
    """Stands in for genai-prices' half second of loading."""
    table = LateTable()
    real = pricing._ask

    def ask(*call: Any, **more: Any) -> Decimal | None:
        if threading.current_thread().name == "pocketflow-otel-prices":
            table.go.wait()
            return None
        assert table.ready, "asked a price of a table that is not loaded"
        return real(*call, **more)

    monkeypatch.setattr(pricing, "_ask", ask)
    monkeypatch.setattr(pricing, "table", table)
    return table


def test_prices_that_come_late_are_waited_for_off_an_event_loop(late_table: LateTable) -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()))).run({})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)
    assert of(captured, "invoke_node Ask")["gen_ai.usage.cost"] == COST


def test_prices_that_come_late_do_not_hold_up_an_event_loop(late_table: LateTable) -> None:
    class Ask(AsyncNode):
        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used()

    class Next(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            waited.append(late_table.go.is_set())

    waited: list[bool] = []
    with capture_spans() as captured:
        asyncio.run(chain(Ask(), Next(), kind=AsyncFlow).run_async({}))
    assert waited == [False]
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, None, None)
    assert "gen_ai.usage.cost" not in of(captured, "invoke_node Ask")
    assert sums(captured.one("invoke_workflow f")) == (1, 100, 50, COST, None)


def test_prices_that_come_late_are_not_needed_for_what_is_known(
    late_table: LateTable, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[acme]\ninput = 1\noutput = 1\n", encoding="utf-8")

    class Ask(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            record_usage([used(cost=0.25), used(500_000, 0, "acme"), used(1, 1, None)])

    with capture_spans(Config(prices=prices)) as captured:
        asyncio.run(chain(Ask(), kind=AsyncFlow).run_async({}))
    assert sums(captured.one("invoke_node Ask")) == (3, 500_101, 51, 0.75, 1)
    assert late_table.go.is_set() is False
    late_table.go.set()


def test_prices_that_come_late_are_loaded_while_the_model_answers(late_table: LateTable) -> None:
    def ask() -> None:
        client(captured)
        assert late_table._thread is not None

    with capture_spans() as captured:
        chain(Step("Ask", exec=ask)).run({})
    assert sums(captured.one("invoke_node Ask")) == (1, 100, 50, COST, None)


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (0, "$0"),
        (1e-9, "$0.0000000010"),
        (0.000045, "$0.000045"),
        (0.00023, "$0.00023"),
        (0.0099, "$0.0099"),
        (0.01, "$0.010"),
        (0.0123, "$0.012"),
        (0.5, "$0.500"),
        (1, "$1.00"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_never_prints_as_nothing(dollars: float, shown: str) -> None:
    assert wording.money(dollars) == shown


def test_usage_is_told_line_by_line() -> None:
    def run() -> None:
        cached = used(1200, 210, prompt_tokens_details={"cached_tokens": 1000})
        many = [used(), used(), used(80, 20, "acme-llm-7b")]
        chain(
            Step("Cached", put(cached)),
            Step("Private", put(used(80, 20, "acme-llm-7b"))),
            Step("Free", put(used(1, 1, cost=0))),
            Step("Many", put(many)),
        ).run({})

    lines = console_output(run).splitlines()
    # 200 * $0.15/M + 1000 * $0.075/M + 210 * $0.60/M = $0.000231
    ends = [line.partition("llm_usage  ")[2] for line in lines if "✓" in line]
    assert ends == [
        "$0.00023 · 1,200→210 tok (83% cached) · gpt-4o-mini",
        "$? · 80→20 tok · acme-llm-7b (no price)",
        "$0 · 1→1 tok · gpt-4o-mini",
        "Σ ≥ $0.000090 · 3 calls",
        "",
    ]
    assert [line.partition("4 steps · ")[2] for line in lines if line.startswith("ok")] == [
        "6 LLM calls · 1,912 tokens · cost ≥ $0.00032 (2 calls unpriced: acme-llm-7b)"
    ]


def test_a_run_whose_price_nobody_knows_says_so() -> None:
    lines = console_output(lambda: chain(Step("Ask", put(used(80, 20, "acme")))).run({})).splitlines()
    assert [line.partition("1 step · ")[2] for line in lines if line.startswith("ok")] == [
        "1 LLM call · 100 tokens · cost $? (1 call unpriced: acme)"
    ]


def test_usage_and_cost_stand_in_the_trace_file(tmp_path: Path) -> None:
    with viewed(FileView("all", tmp_path)):
        chain(Step("Ask", put([used(), used(80, 20, "acme-llm-7b")])), Step("Plain")).run({})
    (file,) = tmp_path.glob("*.json")
    trace = json.loads(file.read_text(encoding="utf-8"))
    bill = {
        name: trace["summary"][name]
        for name in (
            "total_tokens",
            "input_tokens",
            "output_tokens",
            "total_cost",
            "unpriced_calls",
            "llm_calls",
            "models",
        )
    }
    assert bill == {
        "total_tokens": 250,
        "input_tokens": 180,
        "output_tokens": 70,
        "total_cost": COST,
        "unpriced_calls": 1,
        "llm_calls": 2,
        "models": {
            "acme-llm-7b": {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1},
            MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST},
        },
    }
    usage = {
        event["name"]: {name: event[name] for name in ("tokens", "token_details", "cost") if name in event}
        for event in trace["events"]
        if event["type"] == "node_complete"
    }
    details = {"prompt": 180, "completion": 70}
    assert usage == {"Ask": {"tokens": 250, "token_details": details, "cost": COST}, "Plain": {}}
