"""What is measured: flows, each on a copy of PocketFlow of its own.

Bare, instrumented and hand-made copies stand side by side, so they can be timed in turns; switching
one copy on and off would throw away what the interpreter has learned about its methods.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import set_span_in_context

from pocketflow_otel.config import Config
from pocketflow_otel.instrument.pocketflow import PocketFlowPatcher
from pocketflow_otel.instrument.tracer import FlowTracer
from pocketflow_otel.semconv import NODE_NEXT

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

    Attributes = dict[str, AttributeValue]
    Store = dict[str, Any]
    Method = Callable[[Any, Any], object]


def bare() -> ModuleType:
    """Return a fresh copy of PocketFlow."""
    spec = find_spec("pocketflow")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instrumented(provider: TracerProvider | None) -> ModuleType:
    """Return a fresh copy of PocketFlow that we trace; without a provider there is no SDK."""
    module = bare()
    PocketFlowPatcher(module, FlowTracer(Config(), provider)).patch()
    return module


def by_hand(tracer: Tracer) -> ModuleType:
    """Return a fresh copy of PocketFlow whose steps make spans with ready-made attributes."""
    module = bare()
    spanned = hand_made_span(tracer)
    for cls in (module.BaseNode, module.Flow):
        cls._run = spanned(cls._run)
    return module


def hand_made_span(tracer: Tracer) -> Callable[[Method], Method]:
    """Return what puts around a method a span that says what a traced step's says, at no trouble."""
    name, at_start, at_end = _span_of_a_step()

    def spanned(method: Method) -> Method:
        def within_span(self: Any, shared: Any) -> object:
            context = get_current()
            span = tracer.start_span(name, context, attributes=at_start)
            token = attach(set_span_in_context(span, context))
            try:
                return method(self, shared)
            finally:
                detach(token)
                span.set_attributes(at_end)
                span.end()

        return within_span

    return spanned


def _span_of_a_step() -> tuple[str, Attributes, Attributes]:
    """Return the name of a traced step's span, its attributes at the start, and those that follow."""
    seen = _LastStep()
    chain(instrumented(sdk(seen)), 3, plain_store(10), count_up)()
    at_end = {name: value for name, value in seen.attributes.items() if name not in seen.at_start}
    return seen.name, seen.at_start, at_end


class _LastStep(SpanProcessor):
    """Keeps what the span of the last step that another followed says."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._started = dict(span.attributes or {})

    def on_end(self, span: ReadableSpan) -> None:
        attributes: Attributes = dict(span.attributes or {})
        if NODE_NEXT in attributes:
            self.name, self.at_start, self.attributes = span.name, self._started, attributes


def sdk(processor: SpanProcessor | None = None) -> TracerProvider:
    """Return an SDK provider; the spans go nowhere."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor or SpanProcessor())
    return provider


def chain(
    module: ModuleType, steps: int, store: Store, change: Callable[[Store], None]
) -> Callable[[], object]:
    """Return the run of a flow of `steps` nodes on `store`, each of which makes one `change`."""

    class Step(module.Node):  # type: ignore[name-defined, misc]
        def prep(self, shared: Store) -> object:
            return shared["question"]

        def exec(self, prep_res: object) -> object:
            return prep_res

        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            change(shared)

    first = last = Step()
    for _ in range(steps - 1):
        last = last >> Step()
    flow = module.Flow(start=first)
    return lambda: flow.run(store)


def spans(tracer: Tracer, number: int) -> Callable[[], object]:
    """Return a loop that makes so many spans, one after the other, below a root."""
    spanned = hand_made_span(tracer)

    @spanned
    def span(self: None, shared: None) -> None:
        """Do nothing."""

    @spanned
    def root(self: None, shared: None) -> None:
        for _ in range(number):
            span(self, shared)

    return lambda: root(None, None)


def plain_store(keys: int) -> Store:
    """Return a store of so many plain values."""
    return {"question": "why?", "count": 0, **{f"key_{number}": number for number in range(2, keys)}}


def count_up(shared: Store) -> None:
    """Bind one key to another value."""
    shared["count"] += 1


def chat_store(messages: int) -> Store:
    """Return a store of 10 keys, one of them the last messages of a chat."""
    history = [{"role": "user", "content": f"message {number}"} for number in range(messages)]
    return {**plain_store(9), "history": history}


def chat_on(shared: Store) -> None:
    """Add a message and forget the oldest, in place."""
    shared["history"].append({"role": "assistant", "content": "indeed"})
    del shared["history"][0]
