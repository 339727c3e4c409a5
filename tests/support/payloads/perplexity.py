"""Payloads of Perplexity."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.perplexity.ai/api-reference/chat-completions-post: the whole cost, searches included
    pytest.param(
        {
            "model": "sonar-pro",
            "usage": {
                "prompt_tokens": 15,
                "completion_tokens": 98,
                "total_tokens": 113,
                "search_context_size": "low",
                "cost": {
                    "input_tokens_cost": 0.0,
                    "output_tokens_cost": 0.001,
                    "request_cost": 0.014,
                    "total_cost": 0.015,
                },
            },
        },
        Usage(15, 98, model="sonar-pro", cost=0.015),
        id="perplexity-with-cost",
    ),
]
