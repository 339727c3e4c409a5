"""Payloads of LangChain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://reference.langchain.com/python/langchain_core/messages/#UsageMetadata
    pytest.param(
        {
            "input_tokens": 350,
            "output_tokens": 240,
            "total_tokens": 590,
            "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
            "output_token_details": {"audio": 10, "reasoning": 200},
        },
        Usage(
            350,
            240,
            cache_read_tokens=100,
            cache_write_tokens=200,
            reasoning_tokens=200,
            details={"input_audio_tokens": 10, "output_audio_tokens": 10},
        ),
        id="langchain-usage-metadata",
    ),
    # The same, on a message of langchain-openai, which has the provider's own report too
    pytest.param(
        SimpleNamespace(
            content="Hello!",
            usage_metadata={"input_tokens": 8, "output_tokens": 9, "total_tokens": 17},
            response_metadata={
                "token_usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17},
                "model_provider": "openai",
                "model_name": "gpt-4o-mini-2024-07-18",
                "service_tier": "default",
            },
        ),
        Usage(8, 9, model="gpt-4o-mini-2024-07-18", provider="openai", service_tier="default"),
        id="langchain-openai-message",
    ),
    # Before usage_metadata there was token_usage alone
    pytest.param(
        SimpleNamespace(
            usage_metadata=None,
            response_metadata={
                "token_usage": {"completion_tokens": 9, "prompt_tokens": 8, "total_tokens": 17},
                "model_name": "gpt-3.5-turbo",
            },
        ),
        Usage(8, 9, model="gpt-3.5-turbo"),
        id="langchain-token-usage-alone",
    ),
    # langchain-anthropic's chat_models.py: by age, and then nothing under the common name
    pytest.param(
        {
            "input_tokens": 4096,
            "output_tokens": 503,
            "total_tokens": 4599,
            "input_token_details": {
                "cache_read": 1800,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 148,
                "ephemeral_1h_input_tokens": 100,
            },
        },
        Usage(
            4096,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="langchain-anthropic-cache-by-age",
    ),
    # langchain-aws before 1.0 passed Bedrock's counts on: 7 + 20 + 3697 = 3724
    pytest.param(
        {
            "input_tokens": 7,
            "output_tokens": 20,
            "total_tokens": 3724,
            "input_token_details": {"cache_read": 3697, "cache_creation": 0},
        },
        Usage(7 + 3697, 20, cache_read_tokens=3697),
        id="langchain-aws-cached",
    ),
    # langchain-ollama puts Ollama's answer into response_metadata
    pytest.param(
        SimpleNamespace(
            usage_metadata=None,
            response_metadata={
                "model": "llama3.2",
                "model_provider": "ollama",
                "prompt_eval_count": 26,
                "eval_count": 298,
            },
        ),
        Usage(26, 298, model="llama3.2", provider="ollama"),
        id="langchain-ollama-message",
    ),
    # langchain_core.outputs.LLMResult, as callbacks get it
    pytest.param(
        SimpleNamespace(
            generations=[],
            llm_output={
                "token_usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17},
                "model_name": "gpt-4o-mini",
            },
        ),
        Usage(8, 9, model="gpt-4o-mini"),
        id="langchain-llm-result",
    ),
]
