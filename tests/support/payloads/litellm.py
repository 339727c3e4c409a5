"""Payloads of litellm."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.litellm.ai/docs/completion/token_usage: the cost is a hidden parameter
    pytest.param(
        SimpleNamespace(
            model="gpt-4o-mini-2024-07-18",
            usage=SimpleNamespace(
                prompt_tokens=100,
                completion_tokens=50,
                total_tokens=150,
                prompt_tokens_details=SimpleNamespace(cached_tokens=0, audio_tokens=None),
                completion_tokens_details=None,
            ),
            _hidden_params={"custom_llm_provider": "openai", "response_cost": 4.5e-05},
        ),
        Usage(100, 50, model="gpt-4o-mini-2024-07-18", provider="openai", cost=4.5e-05),
        id="litellm-response",
    ),
    # https://docs.litellm.ai/docs/completion/prompt_caching: OpenAI's shape for Anthropic too
    pytest.param(
        SimpleNamespace(
            prompt_tokens=2048 + 1800 + 248,
            completion_tokens=503,
            total_tokens=2048 + 1800 + 248 + 503,
            prompt_tokens_details=SimpleNamespace(
                cached_tokens=1800,
                cache_creation_tokens=248,
                cache_creation_token_details=SimpleNamespace(
                    ephemeral_5m_input_tokens=148, ephemeral_1h_input_tokens=100
                ),
            ),
            cache_creation_input_tokens=248,
            cache_read_input_tokens=1800,
        ),
        Usage(
            2048 + 1800 + 248,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="litellm-anthropic-usage",
    ),
]
