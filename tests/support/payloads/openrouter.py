"""Payloads of OpenRouter."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://openrouter.ai/docs/use-cases/usage-accounting
    pytest.param(
        {
            "object": "chat.completion.chunk",
            "usage": {
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "cost": 0.95,
                "cost_details": {"upstream_inference_cost": 19},
                "prompt_tokens": 194,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
                "total_tokens": 196,
            },
        },
        Usage(194, 2, cache_write_tokens=100, cost=0.95),
        id="openrouter-with-cost",
    ),
]
