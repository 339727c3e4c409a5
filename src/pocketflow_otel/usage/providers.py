"""Name the providers of models as OpenTelemetry's convention does.

https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pocketflow_otel.usage.payloads import Usage

_PREFIXES: Final = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gemini": "gcp.gemini",
    "groq": "groq",
    "mistral": "mistral_ai",
    "openai": "openai",
    "perplexity": "perplexity",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""By the prefixes with which litellm, and so pflow, names models: https://docs.litellm.ai/docs/providers"""


def provider_name(usage: Usage) -> str | None:
    """Return who served a call, as reported, or else by the prefix of the model.

    >>> from pocketflow_otel.usage.payloads import Usage
    >>> provider_name(Usage(1, 1, model="vertex_ai/gemini-2.5-pro"))
    'gcp.vertex_ai'
    """
    prefix, slash, _ = (usage.model or "").partition("/")
    return usage.provider or (_PREFIXES.get(prefix) if slash else None)
