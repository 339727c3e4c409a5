"""Usage in the attributes of LLM clients' spans, by any convention."""

from __future__ import annotations

from typing import Any

import pytest

from pocketflow_otel.usage.payloads import Usage
from pocketflow_otel.usage.span_usage import read_span_usage

CONVENTIONS = [
    # https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
    pytest.param(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "openai.response.service_tier": "flex",
            "gen_ai.usage.input_tokens": 2006,
            "gen_ai.usage.output_tokens": 300,
            "gen_ai.usage.cache_read.input_tokens": 1920,
            "gen_ai.usage.cache_creation.input_tokens": 12,
            "gen_ai.usage.reasoning.output_tokens": 64,
        },
        Usage(
            2006,
            300,
            cache_read_tokens=1920,
            cache_write_tokens=12,
            reasoning_tokens=64,
            model="gpt-4o-mini-2024-07-18",
            provider="openai",
            service_tier="flex",
        ),
        id="opentelemetry",
    ),
    # The same, before semantic conventions 1.27
    pytest.param(
        {
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "claude-haiku-4-5",
            "gen_ai.usage.prompt_tokens": 100,
            "gen_ai.usage.completion_tokens": 50,
        },
        Usage(100, 50, model="claude-haiku-4-5", provider="anthropic"),
        id="opentelemetry-former-names",
    ),
    # https://github.com/traceloop/openllmetry, opentelemetry-instrumentation-anthropic
    pytest.param(
        {
            "gen_ai.system": "Anthropic",
            "gen_ai.response.model": "claude-haiku-4-5",
            "gen_ai.usage.input_tokens": 4096,
            "gen_ai.usage.output_tokens": 503,
            "llm.usage.total_tokens": 4599,
            "gen_ai.usage.cache_read_input_tokens": 1800,
            "gen_ai.usage.cache_creation_input_tokens": 248,
        },
        Usage(
            4096,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            model="claude-haiku-4-5",
            provider="Anthropic",
        ),
        id="openllmetry",
    ),
    # https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
    pytest.param(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o-mini",
            "llm.provider": "azure",
            "llm.system": "openai",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 50,
            "llm.token_count.total": 150,
            "llm.token_count.prompt_details.cache_read": 80,
            "llm.token_count.prompt_details.cache_write": 10,
            "llm.token_count.prompt_details.audio": 5,
            "llm.token_count.completion_details.reasoning": 20,
            "llm.cost.total": 0.25,
        },
        Usage(
            100,
            50,
            cache_read_tokens=80,
            cache_write_tokens=10,
            reasoning_tokens=20,
            model="gpt-4o-mini",
            provider="azure",
            cost=0.25,
            details={"input_audio_tokens": 5},
        ),
        id="openinference",
    ),
    pytest.param(
        {
            "openinference.span.kind": "EMBEDDING",
            "embedding.model_name": "text-embedding-3-small",
            "llm.token_count.total": 8,
        },
        Usage(8, 0, model="text-embedding-3-small"),
        id="openinference-embedding",
    ),
    # https://logfire.pydantic.dev/docs: pydantic-ai's spans have a cost
    pytest.param(
        {
            "gen_ai.provider.name": "openai",
            "gen_ai.response.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 50,
            "operation.cost": 0.00075,
        },
        Usage(100, 50, model="gpt-4o", provider="openai", cost=0.00075),
        id="pydantic-ai",
    ),
    # Some leave cached tokens out of the input, against the convention
    pytest.param(
        {
            "gen_ai.usage.input_tokens": 5,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.cache_read.input_tokens": 1800,
            "gen_ai.usage.cache_write.input_tokens": 248,
        },
        Usage(5 + 1800 + 248, 50, cache_read_tokens=1800, cache_write_tokens=248),
        id="cached-tokens-left-out",
    ),
    pytest.param({"gen_ai.usage.output_tokens": 50}, Usage(0, 50), id="output-alone"),
    pytest.param({"gen_ai.usage.input_tokens": 100.0}, Usage(100, 0), id="float"),
    pytest.param(
        {
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": -1,
            "gen_ai.usage.cost": float("nan"),
            "gen_ai.response.model": ("gpt-4o", "gpt-4o-mini"),
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.system": 7,
            "gen_ai.usage.cache_read.input_tokens": "many",
        },
        Usage(100, 0, model="gpt-4o"),
        id="nonsense-is-passed-over",
    ),
    pytest.param({"gen_ai.usage.input_tokens": "100"}, None, id="no-number"),
    pytest.param({"gen_ai.usage.input_tokens": True}, None, id="bool"),
    pytest.param({"gen_ai.operation.name": "chat", "gen_ai.usage.cost": 0.1}, None, id="no-tokens"),
    pytest.param({"http.request.method": "POST"}, None, id="another-span"),
    pytest.param({}, None, id="nothing"),
]


@pytest.mark.parametrize(("attributes", "usage"), CONVENTIONS)
def test_a_clients_span_tells_of_a_usage(attributes: dict[str, Any], usage: Usage | None) -> None:
    assert read_span_usage(attributes) == usage
