"""Payloads of vLLM."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html
    pytest.param(
        {
            "model": "Qwen/Qwen2.5-7B-Instruct",
            "usage": {
                "prompt_tokens": 30,
                "total_tokens": 41,
                "completion_tokens": 11,
                "prompt_tokens_details": None,
            },
            "service_tier": None,
        },
        Usage(30, 11, model="Qwen/Qwen2.5-7B-Instruct"),
        id="vllm",
    ),
]
