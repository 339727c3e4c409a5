"""Payloads of pydantic-ai."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://ai.pydantic.dev/api/usage/#pydantic_ai.usage.RequestUsage
    pytest.param(
        SimpleNamespace(
            input_tokens=4096,
            cache_write_tokens=248,
            cache_read_tokens=1800,
            output_tokens=503,
            input_audio_tokens=0,
            details={"reasoning_tokens": 128},
        ),
        Usage(4096, 503, cache_read_tokens=1800, cache_write_tokens=248, reasoning_tokens=128),
        id="pydantic-ai-usage",
    ),
]
