"""The spans of LLM clients: each call counts once, for its step, however it is seen."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node

from pocketflow_otel import Config
from pocketflow_otel.sdk.provider import count_client_usage, state_of
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from pocketflow_otel.testing import CapturedSpans


def told(tokens: int, output: int = 0, model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": output,
        **more,
    }


class Clients:
    """Makes the spans that instrumentations of LLM clients make."""

    def __init__(self, captured: CapturedSpans) -> None:
        self.provider = captured.provider

    def start(self, attributes: dict[str, Any] | None, *, source: str = "some.llm.client") -> Span:
        return self.provider.get_tracer(source).start_span("chat", attributes=attributes)

    @contextmanager
    def around(self, attributes: dict[str, Any] | None, *, source: str = "some.framework") -> Iterator[Span]:
        """A span that is current for the block, and is given its usage at the end, as real ones are."""
        span = self.start(None, source=source)
        token = context.attach(set_span_in_context(span))
        try:
            yield span
        finally:
            context.detach(token)
            span.set_attributes(attributes or {})
            span.end()

    def call(self, attributes: dict[str, Any], *, source: str = "some.llm.client") -> None:
        with self.around(attributes, source=source):
            pass


def counted(span: ReadableSpan) -> tuple[Any, Any]:
    """The calls and the input tokens that one of our spans says it comes to."""
    assert span.attributes is not None
    return span.attributes.get("pocketflow.usage.calls"), span.attributes.get("pocketflow.usage.input_tokens")


def run(step: Callable[[Clients], Any], *, config: Config | None = None) -> CapturedSpans:
    """Run a flow of one node, whose `exec` is `step`."""

    class Ask(Node):
        def exec(self, prep_res: Any) -> Any:
            return step(clients)

    with capture_spans(config) as captured:
        clients = Clients(captured)
        Flow(start=Ask()).run({})
    return captured


def ours(captured: CapturedSpans) -> dict[str, tuple[Any, Any]]:
    return {
        span.name if "node" in span.name else "flow": counted(span)
        for span in captured.spans
        if span.instrumentation_scope.name == "pocketflow_otel"
    }


def both(calls: int | None, tokens: int | None) -> dict[str, tuple[Any, Any]]:
    return {"invoke_node Ask": (calls, tokens), "flow": (calls, tokens)}


def test_calls_belong_to_the_step_they_are_made_in() -> None:
    def step(clients: Clients) -> None:
        clients.call(told(100))
        clients.call(told(100))

    assert ours(run(step)) == both(2, 200)


def test_a_span_without_usage_is_no_call() -> None:
    assert ours(run(lambda clients: clients.call({"gen_ai.operation.name": "chat"}))) == both(None, None)


def test_a_frameworks_span_around_a_clients_is_not_one_more() -> None:
    def step(clients: Clients) -> None:
        with clients.around(told(300)), clients.around(None, source="http"):
            clients.call(told(100))
            clients.call(told(200))

    assert ours(run(step)) == both(2, 300)


def test_a_frameworks_span_counts_where_no_client_tells() -> None:
    def step(clients: Clients) -> None:
        with clients.around(told(300)):
            clients.call({"http.request.method": "POST"}, source="http")

    assert ours(run(step)) == both(1, 300)


def test_three_spans_around_each_other_are_one_call() -> None:
    def step(clients: Clients) -> None:
        with clients.around(told(100), source="agent"), clients.around(told(100), source="langchain"):
            clients.call(told(100), source="openai")

    assert ours(run(step)) == both(1, 100)


def test_a_stream_that_outlives_the_span_around_it_is_not_counted_twice() -> None:
    def step(clients: Clients) -> None:
        with clients.around(told(100)):
            stream = clients.start(None)
        stream.set_attributes(told(100))
        stream.end()

    assert ours(run(step)) == both(1, 100)


def test_a_stream_whose_request_has_ended_hides_what_is_around_both() -> None:
    # An HTTP span between the framework's and the client's ends before the stream does.
    def step(clients: Clients) -> None:
        with clients.around(told(300)):
            with clients.around(None, source="http"):
                stream = clients.start(None)
            stream.set_attributes(told(100))
            stream.end()

    assert ours(run(step)) == both(1, 100)


def test_a_late_stream_counts_beside_one_that_was_counted() -> None:
    # The framework's own usage was not counted, for one of its calls was; so the other is missing still.
    def step(clients: Clients) -> None:
        with clients.around(told(300)):
            clients.call(told(100))
            stream = clients.start(None)
        stream.set_attributes(told(200))
        stream.end()

    assert ours(run(step)) == both(2, 300)


def test_two_instrumentations_side_by_side_are_one_call() -> None:
    def step(clients: Clients) -> None:
        first, second = clients.start(None, source="openinference"), clients.start(None, source="openllmetry")
        for span in (second, first):
            span.set_attributes(told(100, 50))
            span.end()

    assert ours(run(step)) == both(1, 100)


def test_two_calls_at_once_by_one_instrumentation_are_two() -> None:
    def step(clients: Clients) -> None:
        first, second = clients.start(None), clients.start(None)
        for span in (first, second):
            span.set_attributes(told(100, 50))
            span.end()

    assert ours(run(step)) == both(2, 200)


def test_a_flow_in_a_tool_of_an_agent_keeps_its_calls() -> None:
    class Tool(Node):
        def exec(self, prep_res: Any) -> None:
            clients.call(told(7))

    class Agent(Node):
        def exec(self, prep_res: Any) -> None:
            with clients.around(told(100), source="agent"):
                Tool().run({})

    with capture_spans() as captured:
        clients = Clients(captured)
        Agent().run({})
    assert ours(captured) == {"invoke_node Tool": (1, 7), "invoke_node Agent": (2, 107)}


def test_a_stream_that_ends_after_exec_belongs_to_the_step() -> None:
    class Ask(Node):
        def exec(self, prep_res: Any) -> Any:
            return clients.start(None)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            exec_res.set_attributes(told(100))
            exec_res.end()

    with capture_spans() as captured:
        clients = Clients(captured)
        Flow(start=Ask()).run({})
    assert ours(captured) == both(1, 100)


def streamed(*, explicit: bool) -> dict[str, tuple[Any, Any]]:
    """A stream opened by one step and read by the next, which may be told of by the first."""

    class Open(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["stream"] = clients.start(None)
            if explicit:
                shared["llm_usage"] = {"prompt_tokens": 90}

    class Read(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["stream"].set_attributes(told(100))
            shared["stream"].end()

    with capture_spans() as captured:
        clients = Clients(captured)
        start = Open()
        start >> Read()
        Flow(start=start).run({})
    return ours(captured)


def test_a_stream_that_ends_after_its_step_belongs_to_the_flow() -> None:
    assert streamed(explicit=False) == {
        "invoke_node Open": (None, None),
        "invoke_node Read": (None, None),
        "flow": (1, 100),
    }


def test_a_late_stream_adds_nothing_to_what_its_step_said() -> None:
    assert streamed(explicit=True) == {
        "invoke_node Open": (1, 90),
        "invoke_node Read": (None, None),
        "flow": (1, 90),
    }


def test_a_late_stream_of_an_item_adds_nothing_to_what_its_batch_said() -> None:
    class Ask(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1]

        def exec(self, item: int) -> Any:
            return clients.start(None)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["streams"] = exec_res
            shared["llm_usage"] = {"prompt_tokens": 90}

    class Read(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            for stream in shared["streams"]:
                stream.set_attributes(told(100))
                stream.end()

    with capture_spans() as captured:
        clients = Clients(captured)
        start = Ask()
        start >> Read()
        Flow(start=start).run({})
    assert [counted(captured.one(name)) for name in ("invoke_node Ask", "invoke_node Read")] == [
        (1, 90),
        (None, None),
    ]
    assert ours(captured)["flow"] == (1, 90)


def test_a_second_instrumentations_late_stream_is_the_same_call() -> None:
    class Ask(Node):
        def exec(self, prep_res: Any) -> Any:
            first, second = clients.start(None, source="a"), clients.start(None, source="b")
            first.set_attributes(told(100))
            first.end()
            return second

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["stream"] = exec_res

    class Read(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["stream"].set_attributes(told(100))
            shared["stream"].end()

    with capture_spans() as captured:
        clients = Clients(captured)
        start = Ask()
        start >> Read()
        Flow(start=start).run({})
    assert ours(captured) == {**both(1, 100), "invoke_node Read": (None, None)}


def test_a_stream_that_ends_after_the_run_is_of_no_run() -> None:
    with capture_spans() as captured:
        clients = Clients(captured)

        class Ask(Node):
            def exec(self, prep_res: Any) -> Any:
                return clients.start(None)

            def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
                shared["stream"] = exec_res

        shared: dict[str, Any] = {}
        Flow(start=Ask()).run(shared)
        shared["stream"].set_attributes(told(100))
        shared["stream"].end()
    assert ours(captured) == both(None, None)


def test_a_call_outside_any_run_is_of_no_run() -> None:
    with capture_spans() as captured:
        clients = Clients(captured)
        clients.call(told(100))
        with clients.around(told(300)):
            Node().run({})
        clients.call(told(100))
    assert ours(captured) == {"invoke_node Node": (None, None)}


def test_items_beyond_the_limit_of_spans_count_too() -> None:
    class Ask(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 10, 100]

        def exec(self, tokens: int) -> None:
            clients.call(told(tokens))

    with capture_spans(Config(max_batch_items=1)) as captured:
        clients = Clients(captured)
        Flow(start=Ask()).run({})
    assert [counted(item) for item in captured.named("batch_item")] == [(1, 1)]
    assert counted(captured.one("invoke_node Ask")) == (3, 111)


def test_clients_in_tasks_of_a_step_belong_to_it() -> None:
    class Ask(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await asyncio.gather(*(self.one(tokens) for tokens in (1, 10, 100)))

        async def one(self, tokens: int) -> None:
            with clients.around(told(tokens), source="some.llm.client"):
                await asyncio.sleep(0)

    with capture_spans() as captured:
        clients = Clients(captured)
        asyncio.run(AsyncFlow(start=Ask()).run_async({}))
    assert ours(captured) == both(3, 111)


def test_a_provider_is_watched_once() -> None:
    def step(clients: Clients) -> None:
        count_client_usage(clients.provider)
        count_client_usage(clients.provider)
        clients.call(told(100))

    assert ours(run(step)) == both(1, 100)


def test_spans_of_another_provider_are_not_ours_to_count() -> None:
    other = TracerProvider(shutdown_on_exit=False)

    def step(clients: Clients) -> None:
        with other.get_tracer("x").start_as_current_span("chat", attributes=told(100)):
            pass

    assert ours(run(step)) == both(None, None)


def test_nothing_is_remembered_of_ended_spans() -> None:
    def step(clients: Clients) -> None:
        with clients.around(told(300)):
            clients.call(told(100))
        processor = state_of(clients.provider).client_usage
        assert processor is not None
        assert processor._open == {}

    assert ours(run(step)) == both(1, 100)
    assert trace.get_current_span() is trace.INVALID_SPAN
