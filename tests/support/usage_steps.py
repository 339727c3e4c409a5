"""Steps that report usage, and what is said of it on their spans.

Prices are gpt-4o-mini's: $0.15 and $0.60 per million tokens, 100 in and 50 out are $0.000045.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pocketflow import Flow, Node
from tests.support.steps import nothing

if TYPE_CHECKING:
    from collections.abc import Callable

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
