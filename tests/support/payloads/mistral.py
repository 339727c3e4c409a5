"""Payloads of Mistral."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching
    pytest.param(
        {
            "model": "mistral-large-2512",
            "usage": {
                "prompt_tokens": 1013,
                "completion_tokens": 30,
                "total_tokens": 1043,
                "prompt_tokens_details": {"cached_tokens": 1008},
            },
        },
        Usage(1013, 30, cache_read_tokens=1008, model="mistral-large-2512"),
        id="mistral-cached",
    ),
]
