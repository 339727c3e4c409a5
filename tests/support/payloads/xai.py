"""Payloads of xAI."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.x.ai/docs/api-reference#chat-completions: 32 + 9 + 94 = 135, so reasoning is apart
    pytest.param(
        {
            "model": "grok-3-mini",
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {
                    "text_tokens": 32,
                    "audio_tokens": 0,
                    "image_tokens": 0,
                    "cached_tokens": 6,
                },
                "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
                "num_sources_used": 0,
            },
        },
        Usage(32, 9 + 94, cache_read_tokens=6, reasoning_tokens=94, model="grok-3-mini"),
        id="xai-chat-reasoning",
    ),
    # https://docs.x.ai/developers/cost-tracking: ten billion ticks a dollar
    pytest.param(
        {
            "input_tokens": 21365,
            "input_tokens_details": {"cached_tokens": 10496},
            "output_tokens": 3646,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 25011,
            "num_server_side_tools_used": 8,
            "cost_in_usd_ticks": 648004500,
        },
        Usage(21365, 3646, cache_read_tokens=10496, cost=0.06480045),
        id="xai-responses-cost-in-ticks",
    ),
]
