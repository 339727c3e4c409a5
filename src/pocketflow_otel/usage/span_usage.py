"""Read the usage of a call from the attributes of an LLM client's span."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import dollars, text, tokens
from pocketflow_otel.usage.payloads import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_CLIENT_ATTRIBUTES: Final = ("gen_ai.operation.name", "gen_ai.system", "openinference.span.kind")


def read_span_usage(attributes: Mapping[str, Any]) -> Usage | None:
    """Return the usage in the attributes of a client's span; `None` of a span that has none."""
    given, output = _count(attributes, _INPUT), _count(attributes, _OUTPUT)
    if given is None and output is None:
        given = _count(attributes, _TOTAL)  # of an embedding
        if given is None:
            return None
    input_tokens = given or 0
    read, write = _count(attributes, _CACHE_READ) or 0, _count(attributes, _CACHE_WRITE) or 0
    if read + write > input_tokens:  # Some leave cached tokens out, against the convention.
        input_tokens += read + write
    details = {name: number for name, names in _DETAILS.items() if (number := _count(attributes, names))}
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output or 0,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=_count(attributes, _REASONING) or 0,
        model=_text(attributes, _MODEL),
        provider=_text(attributes, _PROVIDER),
        cost=next((cost for name in _COST if (cost := dollars(attributes.get(name))) is not None), None),
        service_tier=_text(attributes, _TIER),
        details=MappingProxyType(details),
    )


def is_client_span(attributes: Mapping[str, Any]) -> bool:
    """Return whether attributes, at the start of a span, are those of an LLM client."""
    return any(name in attributes for name in _CLIENT_ATTRIBUTES)


def base_url_of(attributes: Mapping[str, Any]) -> str | None:
    """Return where a call was sent, if its client's span has that."""
    host = attributes.get("server.address")
    return f"https://{host}" if isinstance(host, str) and host else None


def _count(attributes: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := tokens(attributes.get(name))) is not None), None)


def _text(attributes: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := text(attributes.get(name)))), None)
