"""Payloads of DeepSeek."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://api-docs.deepseek.com/guides/kv_cache: hits and misses make up the prompt
    pytest.param(
        {
            "model": "deepseek-reasoner",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 140,
                "prompt_cache_hit_tokens": 60,
                "prompt_cache_miss_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 25},
            },
        },
        Usage(100, 40, cache_read_tokens=60, reasoning_tokens=25, model="deepseek-reasoner"),
        id="deepseek-cache-hit",
    ),
]
