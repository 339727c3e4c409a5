"""Which calls open a span, and below what: other providers, samplers, parents in the environment."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from pocketflow import AsyncFlow, AsyncNode, Node
from tests.support.instrumented import Ask, AskLater, Spans, Store, Talk

from pocketflow_otel import Config, PocketFlowInstrumentor
from pocketflow_otel.testing import capture_spans


def test_nothing_is_traced_where_instrumentation_is_suppressed(spans: Spans) -> None:
    class Quiet(Node):
        def exec(self, prep_res: object) -> None:
            with suppress_instrumentation():
                Talk(start=Ask()).run({})

    with suppress_instrumentation():
        store: Store = {}
        Talk(start=Ask()).run(store)
    Quiet().run({})
    assert (store, spans.names) == ({"answer": "answer"}, ["invoke_node Quiet"])


def test_what_is_sampled_out_has_no_spans_and_runs_as_ever(instrumentor: PocketFlowInstrumentor) -> None:
    class Calls(Node):
        def exec(self, prep_res: object) -> None:
            with spans.provider.get_tracer("a client").start_as_current_span("call") as span:
                sampled.append(span.get_span_context().trace_flags.sampled)
            Ask().run(store)

    spans = Spans(sampler=ParentBased(ALWAYS_OFF))
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    before = get_current()
    store: Store = {}
    sampled: list[bool] = []
    Talk(start=Calls()).run(store)

    class CallsLater(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            Calls().run(store)

    asyncio.run(AsyncFlow(start=CallsLater()).run_async(store))
    assert (store, sampled, spans.names) == ({"answer": "answer"}, [False, False], [])
    assert get_current() is before


def test_without_an_sdk_flows_run_as_ever(instrumentor: PocketFlowInstrumentor) -> None:
    instrumentor.instrument(config=Config())
    before = get_current()
    store: Store = {}
    ask = Ask()
    ask >> Ask()
    Talk(start=ask).run(store)
    asyncio.run(AsyncFlow(start=AskLater()).run_async(store))
    with pytest.raises(RuntimeError, match="Use run_async"):
        AskLater().run(store)
    assert (store, get_current()) == ({"answer": "answer"}, before)


def test_a_provider_that_comes_later_gets_the_next_run(
    instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Node):
        def exec(self, prep_res: object) -> None:
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)

    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    instrumentor.instrument(config=Config())
    late = Late()
    late >> Ask()
    Talk(start=late).run({})
    during = spans.names
    Talk(start=Ask()).run({})
    assert (during, spans.names) == ([], ["invoke_node Ask", "invoke_workflow Talk"])


def test_a_run_without_a_parent_is_adopted_by_the_environment(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import baggage

    class Looks(Node):
        def exec(self, prep_res: object) -> None:
            context = trace.get_current_span().get_span_context()
            seen.append(
                (f"{context.trace_id:x}", context.trace_state.get("vendor"), baggage.get_baggage("user"))
            )

    seen: list[object] = []
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    monkeypatch.setenv("TRACESTATE", "vendor=one")
    monkeypatch.setenv("BAGGAGE", "user=ada")
    Talk(start=Looks()).run({})
    with ThreadPoolExecutor() as pool:
        pool.submit(Looks().run, {}).result()
    with spans.provider.get_tracer("outer").start_as_current_span("outer") as outer:
        Talk(start=Looks()).run({})
    outer_id = f"{outer.get_span_context().trace_id:x}"
    assert seen == [("ab" * 16, "one", "ada")] * 2 + [(outer_id, None, None)]


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01"])
def test_a_parent_in_the_environment_that_makes_no_sense_is_ignored(
    traceparent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", traceparent)
    with capture_spans() as captured:
        Ask().run({})
    assert captured.one("invoke_node Ask").parent is None


def test_a_parent_that_is_not_sampled_leaves_the_run_out(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-00")
    Ask().run({})
    assert spans.names == []
