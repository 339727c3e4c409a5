"""Read usage from the ended spans of LLM clients below a step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import get_current
from opentelemetry.sdk.trace import SpanProcessor

from pocketflow_otel.guard import guard
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.semconv import SCOPE_NAME
from pocketflow_otel.usage import pricing
from pocketflow_otel.usage.payloads import Usage, cost_of, count_of
from pocketflow_otel.usage.totals import Call, ClientSpanUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from pocketflow_otel.runtime.scope import Scope

_WATCHING: Final = guard("watch the span of an LLM client")
_COUNTING: Final = guard("count the usage of an LLM client")

# By the conventions' present and former names, OpenLLMetry's, and OpenInference's:
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
# https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_TOTAL: Final = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")
_OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
_CACHE_READ: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "llm.token_count.prompt_details.cache_read",
)
_CACHE_WRITE: Final = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
)
_REASONING: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)
_DETAILS: Final = {
    "input_audio_tokens": ("llm.token_count.prompt_details.audio",),
    "output_audio_tokens": ("llm.token_count.completion_details.audio",),
}
_MODEL: Final = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name")
_PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_TIER: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
_COST: Final = ("gen_ai.usage.cost", "llm.cost.total", "operation.cost")
_OF_A_CLIENT: Final = ("gen_ai.operation.name", "gen_ai.system", "openinference.span.kind")


def usage_of(attributes: Mapping[str, Any]) -> Usage | None:
    """Return the usage that a client span's attributes tell of."""
    given, output = _count(attributes, _INPUT), _count(attributes, _OUTPUT)
    if given is None and output is None:
        given = _count(attributes, _TOTAL)  # of an embedding
        if given is None:
            return None
    tokens = given or 0
    read, write = _count(attributes, _CACHE_READ) or 0, _count(attributes, _CACHE_WRITE) or 0
    if read + write > tokens:  # Some leave cached tokens out, against the convention.
        tokens += read + write
    details = {name: number for name, names in _DETAILS.items() if (number := _count(attributes, names))}
    return Usage(
        input_tokens=tokens,
        output_tokens=output or 0,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=_count(attributes, _REASONING) or 0,
        model=_text(attributes, _MODEL),
        provider=_text(attributes, _PROVIDER),
        cost=next((cost for name in _COST if (cost := cost_of(attributes.get(name))) is not None), None),
        service_tier=_text(attributes, _TIER),
        details=MappingProxyType(details),
    )


def _count(attributes: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := count_of(attributes.get(name))) is not None), None)


def _text(attributes: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    values = (attributes.get(name) for name in names)
    return next((value for value in values if isinstance(value, str) and value), None)


@dataclass(slots=True)
class _Open:
    """A span below a step. `counted`: its usage was; `below`: that of a span below it was."""

    scope: Scope
    parent: _Open | None
    counted: bool = False
    below: bool = False

    def above(self) -> Iterator[_Open]:
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
        self._open: dict[int, _Open] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with _WATCHING:
            of = span.instrumentation_scope
            scope = scope_of(get_current() if parent_context is None else parent_context)
            if scope is None or (of is not None and of.name == SCOPE_NAME):
                return
            parent = self._open.get(span.parent.span_id) if span.parent is not None else None
            self._open[span.get_span_context().span_id] = _Open(scope, parent)
            if any(name in (span.attributes or {}) for name in _OF_A_CLIENT):
                pricing.table.start()  # By the time the model has answered, it is loaded.

    def on_end(self, span: ReadableSpan) -> None:
        with _COUNTING:
            context = span.get_span_context()
            entry = self._open.pop(context.span_id, None) if context is not None else None
            if entry is None:
                return
            usage = usage_of(span.attributes or {})
            # A span around this one may have ended before it, and been counted in its place.
            if usage is None or entry.below or any(outer.counted for outer in entry.above()):
                return
            entry.counted = True
            for outer in entry.above():
                outer.below = True
            _give(entry.scope, span, usage)


def _give(scope: Scope, span: ReadableSpan, usage: Usage) -> None:
    start, of = span.start_time or 0, span.instrumentation_scope
    call = Call(usage, datetime.fromtimestamp(start / 1e9, UTC), _base_url(span.attributes or {}))
    scope.count_client(call, ClientSpanUsage(of.name if of else "", start, span.end_time or start, usage))


def _base_url(attributes: Mapping[str, Any]) -> str | None:
    host = attributes.get("server.address")
    return f"https://{host}" if isinstance(host, str) and host else None
