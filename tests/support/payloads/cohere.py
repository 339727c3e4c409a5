"""Payloads of Cohere."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.cohere.com/reference/chat: what is billed, as OpenTelemetry's convention asks
    pytest.param(
        {
            "usage": {
                "billed_units": {"input_tokens": 5, "output_tokens": 418},
                "tokens": {"input_tokens": 71, "output_tokens": 418},
            }
        },
        Usage(5, 418),
        id="cohere-v2",
    ),
    # https://docs.cohere.com/v1/reference/chat
    pytest.param(
        {
            "text": "The Art of ...",
            "meta": {
                "api_version": {"version": "1"},
                "billed_units": {"input_tokens": 4, "output_tokens": 191},
                "tokens": {"input_tokens": 70, "output_tokens": 191},
            },
        },
        Usage(4, 191),
        id="cohere-v1",
    ),
]
