"""Payloads of Azure."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://learn.microsoft.com/azure/ai-foundry/openai/how-to/chatgpt
    pytest.param(
        {
            "model": "gpt-35-turbo",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
            "usage": {"completion_tokens": 33, "prompt_tokens": 557, "total_tokens": 590},
        },
        Usage(557, 33, model="gpt-35-turbo"),
        id="azure-chat",
    ),
]
