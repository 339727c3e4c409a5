"""Attributes for back ends that look for other names, on top of ours, and usage only once."""

from __future__ import annotations

from typing import Any

import pocketflow

from pocketflow_otel import Config, record_usage, using
from pocketflow_otel.testing import CapturedSpans, capture_spans

FOREIGN = ("openinference.", "graph.", "input.", "output.", "langfuse.", "session.")


class Ask(pocketflow.Node):
    def post(self, shared: dict[str, Any], prepared: object, executed: object) -> None:
        shared["answer"] = 42
        record_usage({"prompt_tokens": 100, "completion_tokens": 50}, model="no-such-model")


class Items(pocketflow.BatchNode):
    def prep(self, shared: object) -> list[int]:
        return [1]


def run(config: Config) -> CapturedSpans:
    ask, inner = Ask(), pocketflow.Flow(start=Items())
    inner.name = "inner"
    ask >> inner >> Ask()
    flow = pocketflow.Flow(start=ask)
    flow.name = "qa"
    with capture_spans(config) as captured, using(session_id="chat-7", tags=["beta"]):
        flow.run({"question": "why?", "secret": 1})
    return captured


def foreign(captured: CapturedSpans) -> list[tuple[str, dict[str, Any]]]:
    """Return what back ends of other names see, span by span, in the order of starts."""
    return [
        (
            span.name,
            {name: value for name, value in (span.attributes or {}).items() if name.startswith(FOREIGN)},
        )
        for span in sorted(captured.spans, key=lambda span: span.start_time or 0)
    ]


def test_without_the_variable_there_is_nothing_but_the_session() -> None:
    assert {tuple(attributes) for _, attributes in foreign(run(Config()))} == {("session.id",)}


def test_openinference_sees_chains_and_the_graph_of_a_flow() -> None:
    chain = {"openinference.span.kind": "CHAIN", "session.id": "chat-7"}
    call = {**chain, "openinference.span.kind": "LLM"}  # No other span tells of its usage.
    assert foreign(run(Config(compat=("openinference",)))) == [
        ("invoke_workflow qa", {**chain, "graph.node.id": "qa"}),
        ("invoke_node Ask", {**call, "graph.node.id": "Ask", "graph.node.parent_id": "qa"}),
        ("invoke_workflow inner", {**chain, "graph.node.id": "inner", "graph.node.parent_id": "Ask"}),
        ("invoke_node Items", {**chain, "graph.node.id": "Items", "graph.node.parent_id": "inner"}),
        ("batch_item", chain),
        ("invoke_node Ask", {**call, "graph.node.id": "Ask", "graph.node.parent_id": "inner"}),
    ]


def test_langfuse_sees_chains_and_the_name_and_tags_of_the_trace() -> None:
    more = {"langfuse.observation.type": "chain", "langfuse.trace.tags": ("beta",), "session.id": "chat-7"}
    first, *others = foreign(run(Config(compat=("langfuse",))))
    assert first == ("invoke_workflow qa", {**more, "langfuse.trace.name": "qa"})
    call = {**more, "langfuse.observation.type": "generation"}  # Only those are priced.
    assert all(attributes == (call if "Ask" in name else more) for name, attributes in others)


def test_input_and_output_are_the_values_that_were_asked_for_and_no_others() -> None:
    compat = ("openinference", "langfuse")
    captured = run(Config(compat=compat, capture_values=("question", "answer")))
    root, ask, *_ = (attributes for _, attributes in foreign(captured))
    expected = {
        "input.value": '{"question":"why?"}',
        "input.mime_type": "application/json",
        "output.value": '{"answer":42}',
        "output.mime_type": "application/json",
        "langfuse.observation.input": '{"question":"why?"}',
        "langfuse.observation.output": '{"answer":42}',
    }
    for attributes in (root, ask):
        assert {name: attributes[name] for name in expected} == expected
    assert not any("secret" in str(attributes) for _, attributes in foreign(captured))


def test_without_captured_values_there_is_no_input_and_no_output() -> None:
    for _, attributes in foreign(run(Config(compat=("openinference", "langfuse")))):
        assert not any("put" in name for name in attributes)


def test_usage_is_not_repeated_under_other_names() -> None:
    def usage(config: Config) -> list[dict[str, Any]]:
        spans = sorted(run(config).spans, key=lambda span: span.start_time or 0)
        return [
            {
                name: value
                for name, value in (span.attributes or {}).items()
                if "usage" in name or "token" in name
            }
            for span in spans
        ]

    assert usage(Config(compat=("openinference", "langfuse"))) == usage(Config())
