"""Read the usage of a model call from the payload that a provider's API answers, in its many shapes.

Objects and dicts alike, without importing any SDK. A `Usage` counts alike for all: input includes
what was read from and written to a cache, output includes reasoning, as OpenTelemetry's convention
has it (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/); payloads that leave those
out are converted.

    >>> read_usage({"prompt_tokens": 100, "completion_tokens": 50, "model": "gpt-4o-mini"})
    [Usage(input_tokens=100, output_tokens=50, model='gpt-4o-mini')]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from inspect import iscoroutinefunction, ismethod
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import dollars, members, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CALLS: Final = 10_000
"""Calls read from one list."""
TICKS: Final = 10**10
"""xAI's `cost_in_usd_ticks` in a dollar: https://docs.x.ai/developers/cost-tracking"""


@dataclass(frozen=True, slots=True, repr=False)
class Usage:
    """The usage of one model call.

    Attributes:
        input_tokens: All of them, cached ones included.
        output_tokens: All of them, reasoning included.
        cache_read_tokens: Of the input, what came from a cache.
        cache_write_tokens: Of the input, what was written to a cache.
        reasoning_tokens: Of the output, what the model thought with.
        model: The model, as whoever reported the usage named it.
        provider: Who served it, if known.
        cost: US dollars, as the provider or pflow reported them; `None` when neither did.
        service_tier: The tier with which the provider served this call, as reported.
        subscribed: Whether a subscription paid for it, as pflow reports of its agents: no list has its price.
        details: Parts that are priced on their own, by genai-prices' names: `input_audio_tokens`,
            `cache_write_1h_tokens`, `web_searches` and the like.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    model: str | None = None
    provider: str | None = None
    cost: float | None = None
    service_tier: str | None = None
    subscribed: bool = False
    details: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    @property
    def tokens(self) -> tuple[int, int]:
        """The counts that everybody reports, by which two usages are known to be of one call."""
        return (self.input_tokens, self.output_tokens)

    def minus(self, before: Usage) -> Usage:
        """Return what an accumulator grew by since `before`; all of it if it started anew."""
        if self.input_tokens < before.input_tokens or self.output_tokens < before.output_tokens:
            return self
        grown = {name: max(getattr(self, name) - getattr(before, name), 0) for name in _COUNTS}
        details = {name: number - before.details.get(name, 0) for name, number in self.details.items()}
        cost = self.cost
        if cost is not None and before:
            # What was counted without a cost has been priced: its cost, reported later, is not one more.
            cost = None if before.cost is None else max(float(_exact(cost) - _exact(before.cost)), 0.0)
        grown_details = {name: number for name, number in details.items() if number > 0}
        return replace(self, **grown, cost=cost, details=MappingProxyType(grown_details))

    def __bool__(self) -> bool:
        return any(self.tokens) or bool(self.cost)

    def __repr__(self) -> str:
        values = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name != "details")
        parts = [f"{name}={value!r}" for name, value in values if value or (name == "cost" and value == 0)]
        return f"Usage({', '.join([*parts, *([f'details={dict(self.details)}'] if self.details else [])])})"


def _exact(cost: float) -> Decimal:
    return Decimal(str(cost))


_COUNTS: Final = tuple(name for name in Usage.__slots__ if name.endswith("_tokens"))


def read_usage(
    reported: Any, *, model: str | None = None, provider: str | None = None, ask: bool = True
) -> list[Usage]:
    """Return the usage of each call in `reported`; nothing when there is none.

    Args:
        reported: A usage, a response that carries one, or a list of either. Shapes known: OpenAI
            (chat, responses), Anthropic, Gemini, Bedrock, Cohere, Mistral, DeepSeek, xAI, Ollama,
            OpenRouter, Perplexity, litellm, LangChain, `llm`, pydantic-ai, pflow.
        model: The model, where `reported` names none.
        provider: The provider, where `reported` names none.
        ask: Whether a method `usage` may be called, as `llm` has one: it may wait for the model.
    """
    found = (_read_one(each, ask=ask) for each in islice(_members(reported), MAX_CALLS))
    return [
        replace(usage, model=usage.model or model, provider=usage.provider or provider)
        for usage in found
        if usage is not None
    ]


def _members(reported: Any) -> Iterator[Any]:
    """Yield what may be calls. A list may hold itself, and a retry its retries: no deeper than that."""
    for outer in reported if isinstance(reported, _LISTS) else [reported]:
        for each in outer if isinstance(outer, _LISTS) else [outer]:
            yield each
            # pflow's agent: the attempts that its answer superseded
            yield from members(_at(each, "retries"))


def _read_one(reported: Any, *, ask: bool) -> Usage | None:
    if isinstance(reported, Usage):
        return reported
    if reported is None or isinstance(reported, _NOTHING):
        return None
    for inner in _carried(reported, ask=ask):
        usage = _counts(inner)
        if usage is None:
            continue
        cost = _cost(inner)
        if cost is None:
            cost = _cost(reported)
        return replace(
            usage,
            model=_text(inner, _MODELS) or _text(reported, _MODELS),
            provider=_text(inner, _PROVIDERS) or _text(reported, _PROVIDERS) or usage.provider,
            cost=cost,
            service_tier=_tier(inner) or _tier(reported),
            subscribed=cost is None and isinstance(inner, Mapping) and _SUBSCRIPTION in inner,
        )
    return None


_LISTS: Final = (list, tuple)
_NOTHING: Final = (str, bytes, int, float, *_LISTS)


def _carried(reported: Any, *, ask: bool) -> Iterator[Any]:
    """Yield what may be the usage in `reported`: a part of it, or itself."""
    for path in _CARRIERS:
        found = _at(reported, path)
        if ask and ismethod(found) and not iscoroutinefunction(found):
            found = found()
        if found is not None:
            yield found
    yield reported


_CARRIERS: Final = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "llm_usage",
    "response_metadata.token_usage",
    "response_metadata.usage",
    "response_metadata",
    "llm_output.token_usage",
    "meta.billed_units",
    "meta.tokens",
    "x_groq.usage",
    "message.usage",
    "response.usage",
    "token_usage",
)
"""Where responses carry their usage; `llm` has a method there."""

_MODELS: Final = (
    "model", "model_name", "model_id", "modelId", "model_version", "modelVersion",
    "response_metadata.model_name", "response_metadata.model", "response_metadata.model_id",
    "llm_output.model_name", "message.model", "response.model",
)  # fmt: skip
_PROVIDERS: Final = (
    "provider", "model_provider", "_hidden_params.custom_llm_provider", "response_metadata.model_provider",
)  # fmt: skip
_TIERS: Final = ("service_tier", "response_metadata.service_tier", "response.service_tier")
_COSTS: Final = ("cost_usd", "total_cost_usd", "cost", "cost.total_cost", "_hidden_params.response_cost")
_SUBSCRIPTION: Final = "api_equivalent_cost_usd"
"""What a call of pflow's agent would have cost without the subscription that paid for it, if known."""

_INPUT: Final = (
    "prompt_tokens", "input_tokens", "prompt_token_count", "promptTokenCount", "inputTokens",
    "prompt_eval_count", "input", "billed_units.input_tokens", "tokens.input_tokens",
)  # fmt: skip
_OUTPUT: Final = (
    "completion_tokens", "output_tokens", "candidates_token_count", "candidatesTokenCount",
    "response_token_count", "responseTokenCount", "outputTokens", "eval_count", "output",
    "billed_units.output_tokens", "tokens.output_tokens",
)  # fmt: skip
_TOTAL: Final = ("total_tokens", "total_token_count", "totalTokenCount", "totalTokens")

_PARTS: Final = ("token_details", "details")
"""Where `llm` and its log keep all but the two counts."""
_CACHE_READ: Final = (
    "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens",
    "input_token_details.cache_read", "input_token_details.cached_tokens",
    "cached_content_token_count", "cachedContentTokenCount", "prompt_cache_hit_tokens",
    "cached_tokens", "cache_read_tokens", "cached_prompt_text_tokens",
)  # fmt: skip
_CACHE_WRITE: Final = (
    "input_token_details.cache_creation", "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens", "input_tokens_details.cache_write_tokens",
    "cache_write_tokens",
)  # fmt: skip
_READ_APART: Final = ("cache_read_input_tokens", "cacheReadInputTokens")
_WRITTEN_APART: Final = ("cache_creation_input_tokens", "cacheWriteInputTokens", "cacheCreationInputTokens")
"""By these names Anthropic and Bedrock report what was cached; their `input_tokens` leaves it out."""
_APART_FROM: Final = ("input_tokens", "inputTokens", "input")
_WRITTEN_5M: Final = (
    "cache_creation.ephemeral_5m_input_tokens", "input_token_details.ephemeral_5m_input_tokens",
    "cacheDetails.ttl=5m.inputTokens",
)  # fmt: skip
_WRITTEN_1H: Final = (
    "cache_creation.ephemeral_1h_input_tokens", "input_token_details.ephemeral_1h_input_tokens",
    "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
    "cacheDetails.ttl=1h.inputTokens",
)  # fmt: skip
_THOUGHTS: Final = ("thoughts_token_count", "thoughtsTokenCount")
_REASONING: Final = (
    "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens", "output_token_details.reasoning", *_THOUGHTS,
    "reasoning_tokens", "thinking_tokens", "reasoning_output_tokens",
)  # fmt: skip
_DETAILS: Final = {
    "cache_write_1h_tokens": _WRITTEN_1H,
    "input_audio_tokens": (
        "prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens",
        "input_token_details.audio_tokens", "input_token_details.audio",
        "prompt_tokens_details.modality=AUDIO.token_count", "promptTokensDetails.modality=AUDIO.tokenCount",
    ),
    "output_audio_tokens": (
        "completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens",
        "output_token_details.audio_tokens", "output_token_details.audio",
        "candidates_tokens_details.modality=AUDIO.token_count",
        "candidatesTokensDetails.modality=AUDIO.tokenCount",
    ),
    "output_image_tokens": (
        "candidates_tokens_details.modality=IMAGE.token_count",
        "candidatesTokensDetails.modality=IMAGE.tokenCount",
    ),
    "input_image_tokens": ("input_tokens_details.image_tokens",),
    "web_searches": ("server_tool_use.web_search_requests",),
}  # fmt: skip
_CACHED_AUDIO: Final = (
    "input_token_details.cached_tokens_details.audio_tokens",
    "cache_tokens_details.modality=AUDIO.token_count", "cacheTokensDetails.modality=AUDIO.tokenCount",
)  # fmt: skip


def _counts(usage: Any) -> Usage | None:
    """Read the counts, and make them include what they leave out."""
    given, named = _count([usage], _INPUT), _count([usage], _OUTPUT)
    total = _count([usage], _TOTAL)
    if given is None and named is None:
        # Embeddings report a total alone; `{}` reports nothing.
        return None if total is None else Usage(input_tokens=total)
    input_tokens, output = given or 0, named or 0
    parts = [usage, *(part for name in _PARTS if (part := _at(usage, name)) is not None)]
    by_age = (_count(parts, _WRITTEN_5M) or 0) + (_count(parts, _WRITTEN_1H) or 0)
    read = _count(parts, (*_CACHE_READ, *_READ_APART)) or 0
    write = max(_count(parts, (*_CACHE_WRITE, *_WRITTEN_APART)) or 0, by_age)
    cached = read + write
    if cached and (
        cached > input_tokens or total == input_tokens + output + cached or _leaves_cache_out(usage, parts)
    ):
        input_tokens += cached
    reasoning = _count(parts, _REASONING) or 0
    if reasoning and _leaves_reasoning_out(usage, input_tokens, output, reasoning, total):
        output += reasoning
    input_tokens += _count([usage], ("tool_use_prompt_token_count", "toolUsePromptTokenCount")) or 0
    details = {name: number for name, paths in _DETAILS.items() if (number := _count(parts, paths))}
    if "input_audio_tokens" in details and (cached_audio := _count(parts, _CACHED_AUDIO)) is not None:
        details["cache_audio_read_tokens"] = cached_audio
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
        provider="ollama" if _count([usage], ("prompt_eval_count",)) is not None else None,
        details=MappingProxyType(details),
    )


def _leaves_cache_out(usage: Any, parts: list[Any]) -> bool:
    """Return whether the input leaves out what was cached, as Anthropic's and Bedrock's does."""
    if _count([usage], ("uncached_input_tokens",)) is not None:
        return False  # pflow since 0.13
    apart = _count(parts, (*_READ_APART, *_WRITTEN_APART)) is not None
    return apart and _count([usage], _APART_FROM) is not None and _count(parts, _CACHE_READ) is None


def _leaves_reasoning_out(usage: Any, given: int, output: int, reasoning: int, total: int | None) -> bool:
    """Return whether the output given does not include `reasoning` tokens, as Gemini's and xAI's."""
    if reasoning > output or _count([usage], _THOUGHTS) is not None:
        return True
    return total is not None and total == given + output + reasoning


def _count(holders: list[Any], paths: tuple[str, ...]) -> int | None:
    """Return the first of `paths` in `holders` that is a count."""
    for holder in holders:
        for path in paths:
            found = _at(holder, path)
            if found is not None and (count := tokens(found)) is not None:
                return count
    return None


def _text(holder: Any, paths: tuple[str, ...]) -> str | None:
    for path in paths:
        found = _at(holder, path)
        if isinstance(found, str) and found:
            return found
    return None


def _tier(holder: Any) -> str | None:
    """Return the tier; Anthropic reports apart from it that a call was a fast one, which is dearer."""
    fast = _text(holder, ("speed",))
    return fast if fast == "fast" else _text(holder, _TIERS)


def _cost(holder: Any) -> float | None:
    for path in _COSTS:
        cost = dollars(_at(holder, path))
        if cost is not None:
            return cost
    ticks = _count([holder], ("cost_in_usd_ticks",))
    return None if ticks is None else ticks / TICKS


def _at(holder: Any, path: str) -> Any:
    """Return what lies at `a.b.c`, by key or attribute; `None` when a step is missing.

    A step `a=b` chooses, of a list, the first member whose `a` is `b`.
    """
    while path and holder is not None:
        name, _, path = path.partition(".")
        if isinstance(holder, Mapping):
            holder = holder.get(name)
        elif isinstance(holder, _LISTS):
            key, chosen, value = name.partition("=")
            listed = holder if chosen else ()
            holder = next((each for each in listed if _at(each, key) == value), None)
        else:
            holder = getattr(holder, name, None)
    return holder
