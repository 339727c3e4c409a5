"""Payloads of `llm`."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from pocketflow_otel.usage.payloads import Usage


@dataclass
class LlmUsage:
    """`llm`'s own class, https://llm.datasette.io/en/stable/python-api.html."""

    input: int | None = None
    output: int | None = None
    details: dict[str, Any] | None = None


class LlmResponse:
    """`llm.Response`: the usage is what a method returns."""

    model = SimpleNamespace(model_id="gpt-4o-mini")

    def usage(self) -> LlmUsage:
        return LlmUsage(input=5, output=23, details={"prompt_tokens_details": {"cached_tokens": 1}})


PAYLOADS = [
    # https://llm.datasette.io/en/stable/logging.html: `llm logs --json`
    pytest.param(
        {
            "model": "gpt-4o-mini",
            "input_tokens": 2006,
            "output_tokens": 300,
            "token_details": {"prompt_tokens_details": {"cached_tokens": 1920}},
        },
        Usage(2006, 300, cache_read_tokens=1920, model="gpt-4o-mini"),
        id="llm-log",
    ),
    # llm-anthropic: `details` is what is left of Anthropic's usage, which leaves out what was cached
    pytest.param(
        LlmUsage(
            input=2048,
            output=503,
            details={"cache_read_input_tokens": 1800, "cache_creation_input_tokens": 248},
        ),
        Usage(2048 + 1800 + 248, 503, cache_read_tokens=1800, cache_write_tokens=248),
        id="llm-anthropic-usage",
    ),
    # llm-gemini: it has added thoughts and tools itself
    pytest.param(
        LlmUsage(
            input=1000,
            output=18 + 144,
            details={
                "candidatesTokenCount": 18,
                "thoughtsTokenCount": 144,
                "cachedContentTokenCount": 800,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
            },
        ),
        Usage(1000, 18 + 144, cache_read_tokens=800, reasoning_tokens=144),
        id="llm-gemini-usage",
    ),
    # https://llm.datasette.io/en/stable/python-api.html: a method gives it
    pytest.param(LlmResponse(), Usage(5, 23, cache_read_tokens=1), id="llm-response"),
]
