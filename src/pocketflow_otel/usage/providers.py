"""Providers of models: their names in spans, in the prefixes of models and in the list of prices.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
https://docs.litellm.ai/docs/providers
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pocketflow_otel.usage.payloads import Usage


@dataclass(frozen=True, slots=True)
class Provider:
    """Who serves models, by the names it has.

    Attributes:
        name: In OpenTelemetry's convention; empty where that has none.
        prefix: Of its models' names in litellm, and so in pflow; empty where we need none.
        price_id: In genai-prices; empty of one that is not there.
        aliases: In spans, LangChain and further prefixes of litellm.
        resells: Whether its models have names with slashes of their own.
        local: Whether it is software that people run themselves, whose models have no price.
        models: How names of models begin that are its own, where genai-prices does not know.
    """

    name: str = ""
    prefix: str = ""
    price_id: str = ""
    aliases: tuple[str, ...] = ()
    resells: bool = False
    local: bool = False
    models: tuple[str, ...] = ()


PROVIDERS: Final = (
    Provider("anthropic", "anthropic", "anthropic"),
    Provider("aws.bedrock", "bedrock", "aws", ("aws", "aws_bedrock", "bedrock_converse")),
    Provider("azure.ai.inference", "azure_ai", "azure", ("az.ai.inference",)),
    Provider("azure.ai.openai", "azure", "azure", ("az.ai.openai", "azure_openai")),
    Provider("cohere", "cohere", "cohere", ("cohere_chat",)),
    Provider("deepseek", "deepseek", "deepseek"),
    Provider("gcp.gemini", "gemini", "google", ("gcp.gen_ai", "google", "google_genai")),
    Provider("gcp.vertex_ai", "vertex_ai", "google", ("google_vertexai", "vertexai")),
    Provider("groq", "groq", "groq", resells=True),
    Provider("ibm.watsonx.ai", "watsonx"),
    Provider("mistral_ai", "mistral", "mistral", ("mistralai",)),
    Provider("openai", "openai", "openai", models=("chatgpt-", "codex-", "text-embedding-")),
    Provider("perplexity", "perplexity", "perplexity"),
    Provider("x_ai", "xai", "x-ai", ("x-ai",)),
    Provider(price_id="cerebras", aliases=("cerebras",)),
    Provider(price_id="fireworks", aliases=("fireworks", "fireworks_ai"), resells=True),
    Provider(price_id="moonshotai", aliases=("moonshot", "moonshot_ai", "moonshotai")),
    Provider(price_id="novita", aliases=("novita",), resells=True),
    Provider(price_id="openrouter", aliases=("openrouter",), resells=True),
    Provider(price_id="together", aliases=("together", "together_ai"), resells=True),
    Provider(price_id="voyageai", aliases=("voyage", "voyageai")),
    Provider(aliases=("huggingface_local", "llama.cpp", "lmstudio", "ollama", "vllm"), local=True),
)

_BY_PREFIX: Final = {each.prefix: each.name for each in PROVIDERS if each.prefix}
_PRICE_IDS: Final = {
    name: each.price_id
    for each in PROVIDERS
    for name in (each.name, each.prefix, *each.aliases)
    if name and each.price_id
}
_RESELLERS: Final = frozenset(each.price_id for each in PROVIDERS if each.resells)
_LOCAL: Final = frozenset(name for each in PROVIDERS if each.local for name in each.aliases)
_MAKERS: Final = tuple((start, each.price_id) for each in PROVIDERS for start in each.models)

_BEDROCK: Final = re.compile(
    r"(?:[a-z-]{2,6}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen)\."
)
_RESOURCE: Final = re.compile(r"arn:aws[\w-]*:bedrock:[^/]*/|(?:projects/.+/)?(?:publishers/\w+/)?models/")
"""What Bedrock and Google put before the name of a model, in that of a resource."""
_TUNED: Final = re.compile(r"(?:^|/)ft:|:ft-")
"""In the name of a model that OpenAI or Mistral has fine-tuned for somebody."""


def provider_name(usage: Usage) -> str | None:
    """Return who served a call, as reported, or else by the prefix of the model.

    >>> from pocketflow_otel.usage.payloads import Usage
    >>> provider_name(Usage(1, 1, model="vertex_ai/gemini-2.5-pro"))
    'gcp.vertex_ai'
    """
    prefix, slash, _ = (usage.model or "").partition("/")
    return usage.provider or (_BY_PREFIX.get(prefix) if slash else None)


def split_provider(model: str, given: str | None) -> tuple[str | None, str | None]:
    """Return genai-prices' provider, if that is known, and the model's name there.

    The name is `None` where no price can be right: a fine-tuned model is not priced as its base, a
    model behind a prefix nobody knows is somebody's own.

    >>> split_provider("openrouter/openai/gpt-4o", None)
    ('openrouter', 'openai/gpt-4o')
    >>> split_provider("claude-sonnet-4-5", "aws.bedrock")
    ('aws', 'claude-sonnet-4-5')
    >>> split_provider("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai")
    ('openai', None)
    """
    provider = _PRICE_IDS.get(given.lower()) if given else None
    name = _RESOURCE.sub("", model, count=1) if _RESOURCE.match(model) else model
    prefix, slash, rest = name.partition("/")
    if slash and provider not in _RESELLERS:
        named = _PRICE_IDS.get(prefix.lower())
        if named is not None:
            provider, name = named, rest
        elif provider is None:
            name = ""
    if _BEDROCK.match(name) and provider is None:
        provider = "aws"
    if given and provider is None and given.lower() in _LOCAL:
        return None, None
    return provider, None if not name or is_tuned(name) else name


def is_tuned(model: str) -> bool:
    """Return whether a model was fine-tuned for somebody, and has a price of its own."""
    return _TUNED.search(model) is not None


def runs_locally(model: str, provider: str | None) -> bool:
    """Return whether a model has no price because its provider is software that people run themselves."""
    return (provider or "").lower() in _LOCAL and split_provider(model, provider)[1] is None


def maker_of(model: str) -> str | None:
    """Return genai-prices' provider of a model by its name, where genai-prices does not know."""
    return next((maker for start, maker in _MAKERS if model.startswith(start)), None)
