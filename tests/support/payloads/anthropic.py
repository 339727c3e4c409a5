"""Payloads of Anthropic."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pocketflow_otel.usage.payloads import Usage

SONNET = "claude-sonnet-4-5-20250929"

PAYLOADS = [
    # https://docs.anthropic.com/en/api/messages: cached tokens are counted apart
    pytest.param(
        {
            "type": "message",
            "model": "claude-sonnet-4-20250514",
            "usage": {
                "input_tokens": 2095,
                "cache_creation_input_tokens": 2051,
                "cache_read_input_tokens": 2051,
                "output_tokens": 503,
                "service_tier": "standard",
            },
        },
        Usage(
            2095 + 2051 + 2051,
            503,
            cache_read_tokens=2051,
            cache_write_tokens=2051,
            model="claude-sonnet-4-20250514",
            service_tier="standard",
        ),
        id="anthropic",
    ),
    # https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#1-hour-cache-duration
    pytest.param(
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "output_tokens": 503,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        Usage(
            2048 + 1800 + 248,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="anthropic-cached-5m-1h",
    ),
    # https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool
    pytest.param(
        {
            "usage": {
                "input_tokens": 105,
                "output_tokens": 6039,
                "cache_read_input_tokens": 7123,
                "cache_creation_input_tokens": 7345,
                "server_tool_use": {"web_search_requests": 1},
            }
        },
        Usage(
            105 + 7123 + 7345,
            6039,
            cache_read_tokens=7123,
            cache_write_tokens=7345,
            details={"web_searches": 1},
        ),
        id="anthropic-web-search",
    ),
    # https://docs.anthropic.com/en/docs/build-with-claude/streaming
    pytest.param(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyy",
                "model": "claude-opus-4-1-20250805",
                "usage": {"input_tokens": 25, "output_tokens": 1},
            },
        },
        Usage(25, 1, model="claude-opus-4-1-20250805"),
        id="anthropic-stream-message-start",
    ),
    pytest.param(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 10682,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 510,
                "server_tool_use": {"web_search_requests": 1},
            },
        },
        Usage(10682, 510, details={"web_searches": 1}),
        id="anthropic-stream-message-delta",
    ),
    # As recorded by pydantic-ai's tests, models/anthropic/cassettes/test_output
    pytest.param(
        {
            "model": SONNET,
            "usage": {
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "input_tokens": 14,
                "output_tokens": 65,
                "service_tier": "standard",
            },
        },
        Usage(14, 65, model=SONNET, service_tier="standard"),
        id="anthropic-nothing-cached",
    ),
    # https://docs.claude.com/en/docs/build-with-claude/fast-mode: what counts is the speed it was served at
    pytest.param(
        {
            "model": "claude-opus-5",
            "usage": {
                "input_tokens": 523,
                "output_tokens": 1842,
                "service_tier": "standard",
                "speed": "fast",
            },
        },
        Usage(523, 1842, model="claude-opus-5", service_tier="fast"),
        id="anthropic-fast",
    ),
    # https://docs.anthropic.com/en/docs/claude-code/sdk: the result of a session has its cost
    pytest.param(
        SimpleNamespace(
            subtype="success",
            total_cost_usd=0.0743955,
            usage={
                "input_tokens": 6,
                "cache_creation_input_tokens": 9163,
                "cache_read_input_tokens": 16415,
                "output_tokens": 965,
                "output_tokens_details": {"thinking_tokens": 412},
            },
        ),
        Usage(
            6 + 9163 + 16415,
            965,
            cache_read_tokens=16415,
            cache_write_tokens=9163,
            reasoning_tokens=412,
            cost=0.0743955,
        ),
        id="claude-agent-sdk-result",
    ),
]
