"""Payloads that pflow's steps leave in the store, by version."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    pytest.param(
        {
            "model": "anthropic/claude-sonnet-4-5",
            "input_tokens": 1000,
            "output_tokens": 200,
            "total_tokens": 1200,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 800,
        },
        Usage(
            1000 + 100 + 800,
            200,
            cache_read_tokens=800,
            cache_write_tokens=100,
            model="anthropic/claude-sonnet-4-5",
        ),
        id="pflow-0.8-llm",
    ),
    pytest.param(
        {
            "model": "gpt-4o-mini",
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cost_usd": 0.000045,
        },
        Usage(100, 50, model="gpt-4o-mini", cost=0.000045),
        id="pflow-0.12-llm",
    ),
    pytest.param(
        {
            "model": "anthropic/claude-sonnet-4-5",
            "input_tokens": 1900,
            "uncached_input_tokens": 1000,
            "output_tokens": 200,
            "total_tokens": 2100,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 800,
            "has_cache_telemetry": True,
            "input_token_accounting": "total_includes_cache",
            "thinking_tokens": 150,
            "thinking_budget": 1024,
            "cache_chunks_skipped": [],
            "cost_usd": None,
        },
        Usage(
            1900,
            200,
            cache_read_tokens=800,
            cache_write_tokens=100,
            reasoning_tokens=150,
            model="anthropic/claude-sonnet-4-5",
        ),
        id="pflow-0.13-llm",
    ),
    pytest.param(
        {
            "model": "claude-sonnet-4-5",
            "input_tokens": 12,
            "output_tokens": 345,
            "total_tokens": 357,
            "cache_creation_input_tokens": 4000,
            "cache_read_input_tokens": 15000,
            "total_cost_usd": 0.0251,
            "duration_ms": 5234,
            "num_turns": 3,
            "session_id": "b7c1",
        },
        Usage(
            12 + 4000 + 15000,
            345,
            cache_read_tokens=15000,
            cache_write_tokens=4000,
            model="claude-sonnet-4-5",
            cost=0.0251,
        ),
        id="pflow-0.8-claude-code",
    ),
    pytest.param(
        {
            "model": "gpt-5-codex",
            "input_tokens": 900,
            "uncached_input_tokens": 400,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 500,
            "input_token_accounting": None,
            "output_tokens": 120,
            "total_tokens": 1020,
            "cost_usd": 0.0021,
            "api_equivalent_cost_usd": None,
            "duration_ms": 812,
            "reasoning_output_tokens": 64,
        },
        Usage(900, 120, cache_read_tokens=500, reasoning_tokens=64, model="gpt-5-codex", cost=0.0021),
        id="pflow-0.15-agent",
    ),
    pytest.param(
        {
            "model": "gpt-5-codex",
            "input_tokens": 900,
            "uncached_input_tokens": 400,
            "cache_read_input_tokens": 500,
            "output_tokens": 120,
            "cost_usd": None,
            "api_equivalent_cost_usd": None,
        },
        Usage(900, 120, cache_read_tokens=500, model="gpt-5-codex", subscribed=True),
        id="pflow-0.16-agent-of-a-subscription",
    ),
]
