"""Payloads of Groq."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://console.groq.com/docs/api-reference#chat-create
    pytest.param(
        {
            "model": "llama-3.3-70b-versatile",
            "usage": {
                "queue_time": 0.037493756,
                "prompt_tokens": 18,
                "prompt_time": 0.000680594,
                "completion_tokens": 556,
                "completion_time": 0.463333333,
                "total_tokens": 574,
                "total_time": 0.464013927,
            },
            "service_tier": "on_demand",
            "x_groq": {"id": "req_01jbd6g2qdfw2adyrt2az8hz4w"},
        },
        Usage(18, 556, model="llama-3.3-70b-versatile", service_tier="on_demand"),
        id="groq",
    ),
    # https://console.groq.com/docs/text-chat#streaming: the last chunk, under a key of its own
    pytest.param(
        {
            "model": "llama-3.3-70b-versatile",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "x_groq": {
                "id": "req_01jbd6g2qdfw2adyrt2az8hz4w",
                "usage": {"prompt_tokens": 18, "completion_tokens": 556, "total_tokens": 574},
            },
        },
        Usage(18, 556, model="llama-3.3-70b-versatile"),
        id="groq-stream",
    ),
]
