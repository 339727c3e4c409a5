r"""`capture_spans()`: look at the spans of a flow in a test.

with capture_spans() as captured:
    flow.run({})
assert captured.tree() == "invoke_workflow greet\n  invoke_node Greet"
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from pocketflow_otel.config import Config
from pocketflow_otel.instrument.instrumentor import PocketFlowInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from opentelemetry.sdk.trace import ReadableSpan

START: Final = 1_795_375_812_000_000_000
"""The first instant of the fixed clock: 2026-11-22T19:30:12 UTC, in nanoseconds."""
TICK: Final = 1_000_000
"""What the fixed clock advances at each look: one millisecond."""


class CapturedSpans:
    """The finished spans of a `capture_spans()` block, and the provider they came from."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans, in the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of this name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the span of this name.

        Raises:
            LookupError: There is none, or more than one.
        """
        found = self.named(name)
        if len(found) != 1:
            raise LookupError(f"{len(found)} spans are named {name!r}; there are: {self.tree()}")
        return found[0]

    def tree(self, *attributes: str) -> str:
        """Return a line for each span, indented below its parent, in the order of starts.

        Args:
            attributes: Names of attributes to show, where a span has them.
        """
        spans = sorted(self.spans, key=lambda span: (span.start_time, span.context.span_id))
        known = {span.context.span_id for span in spans}
        lines: list[str] = []

        def add(parent: int | None, depth: int) -> None:
            for span in spans:
                above = span.parent.span_id if span.parent else None
                if (above if above in known else None) != parent:
                    continue
                shown = [
                    f"{name.rpartition('.')[2]}={span.attributes[name]!s}"
                    for name in attributes
                    if span.attributes and name in span.attributes
                ]
                lines.append("  " * depth + " ".join([span.name, *shown]))
                add(span.context.span_id, depth + 1)

        add(None, 0)
        return "\n".join(lines)


class SequentialIds(IdGenerator):
    """Gives ids 1, 2, 3, ... so that two equal programs make equal spans."""

    def __init__(self) -> None:
        self._spans = count(1)
        self._traces = count(1)

    def generate_span_id(self) -> int:
        return next(self._spans)

    def generate_trace_id(self) -> int:
        return next(self._traces)


@contextmanager
def capture_spans(
    config: Config | None = None,
    *,
    module: ModuleType | None = None,
    fixed: bool = True,
) -> Iterator[CapturedSpans]:
    """Instrument PocketFlow for the block, with a provider of its own, and collect its spans.

    Args:
        config: Settings; the defaults, not the environment's, when absent.
        module: The PocketFlow to instrument, by default what is imported as `pocketflow`.
        fixed: Whether ids count from 1 and the clock advances one millisecond at each look.
    """
    from pocketflow_otel.instrument.pocketflow import PocketFlowPatcher
    from pocketflow_otel.instrument.pocketflow_copies import Copies
    from pocketflow_otel.instrument.tracer import FlowTracer
    from pocketflow_otel.runtime.clock import RunClock
    from pocketflow_otel.sdk.provider import count_client_usage

    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=SequentialIds() if fixed else None, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    count_client_usage(provider)
    ticks = count(0, TICK)
    clock = RunClock(lambda: START, lambda: next(ticks))
    flow_tracer = FlowTracer(config or Config(), provider, new_clock=(lambda: clock) if fixed else RunClock)
    flows = Copies(flow_tracer) if module is None else PocketFlowPatcher(module, flow_tracer)
    outer = PocketFlowInstrumentor.copies
    if outer is not None:
        outer.undo()
    try:
        flows.patch()
        if fixed:
            with patch("opentelemetry.sdk.trace.time_ns", clock.now):
                yield CapturedSpans(provider, exporter)
        else:
            yield CapturedSpans(provider, exporter)
    finally:
        flows.undo()
        if outer is not None:
            outer.patch()
