"""Payloads of Voyage AI."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.voyageai.com/reference/embeddings-api: a total alone
    pytest.param(
        {"object": "list", "model": "voyage-3.5", "usage": {"total_tokens": 10}},
        Usage(10, 0, model="voyage-3.5"),
        id="voyage-embeddings",
    ),
]
