"""Give the usage on spans of LLM clients to the steps below which the calls were made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import SpanProcessor

from pocketflow_otel.guard import guard
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.semconv import SCOPE_NAME
from pocketflow_otel.usage import pricing
from pocketflow_otel.usage.scope_usage import ClientSpanUsage
from pocketflow_otel.usage.span_usage import base_url_of, is_client_span, read_span_usage
from pocketflow_otel.usage.totals import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from pocketflow_otel.runtime.scope import Scope
    from pocketflow_otel.usage.payloads import Usage

_WATCHING: Final = guard("watch the span of an LLM client")
_COUNTING: Final = guard("count the usage of an LLM client")


@dataclass(slots=True)
class _SpanBelowStep:
    """A span below a step. `counted`: its usage was; `below`: that of a span below it was."""

    scope: Scope
    parent: _SpanBelowStep | None
    counted: bool = False
    below: bool = False

    def above(self) -> Iterator[_SpanBelowStep]:
        """Yield the spans around it, ended ones too."""
        entry = self.parent
        while entry is not None:
            yield entry
            entry = entry.parent


class ClientUsageProcessor(SpanProcessor):
    """Gives the usage on spans of LLM clients to the step they belong to.

    Frameworks put spans around those of clients, with the same usage or its sum: only the innermost
    one is counted.
    """

    def __init__(self) -> None:
        self._open: dict[int, _SpanBelowStep] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with _WATCHING:
            of = span.instrumentation_scope
            scope = scope_of(current_context() if parent_context is None else parent_context)
            if scope is None or (of is not None and of.name == SCOPE_NAME):
                return
            parent = self._open.get(span.parent.span_id) if span.parent is not None else None
            self._open[span.get_span_context().span_id] = _SpanBelowStep(scope, parent)
            if is_client_span(span.attributes or {}):
                pricing.table.start()  # By the time the model has answered, it is loaded.

    def on_end(self, span: ReadableSpan) -> None:
        with _COUNTING:
            context = span.get_span_context()
            entry = self._open.pop(context.span_id, None) if context is not None else None
            if entry is None:
                return
            usage = read_span_usage(span.attributes or {})
            # A span around this one may have ended before it, and been counted in its place.
            if usage is None or entry.below or any(outer.counted for outer in entry.above()):
                return
            entry.counted = True
            for outer in entry.above():
                outer.below = True
            _give(entry.scope, span, usage)


def _give(scope: Scope, span: ReadableSpan, usage: Usage) -> None:
    start, of = span.start_time or 0, span.instrumentation_scope
    call = Call(usage, datetime.fromtimestamp(start / 1e9, UTC), base_url_of(span.attributes or {}))
    scope.count_client(call, ClientSpanUsage(of.name if of else "", start, span.end_time or start, usage))
