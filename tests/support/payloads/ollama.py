"""Payloads of Ollama."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://github.com/ollama/ollama/blob/main/docs/api.md: a model of one's own machine
    pytest.param(
        {
            "model": "llama3.2",
            "message": {"role": "assistant", "content": "Hello! How are you today?"},
            "done": True,
            "total_duration": 5191566416,
            "prompt_eval_count": 26,
            "prompt_eval_duration": 383809000,
            "eval_count": 298,
            "eval_duration": 4799921000,
        },
        Usage(26, 298, model="llama3.2", provider="ollama"),
        id="ollama-chat",
    ),
]
