"""Payloads of Amazon Bedrock."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-examples.html
    pytest.param(
        {
            "ResponseMetadata": {"HTTPStatusCode": 200},
            "output": {"message": {"role": "assistant", "content": [{"text": "Sure!"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 125, "outputTokens": 60, "totalTokens": 185},
            "metrics": {"latencyMs": 1175},
        },
        Usage(125, 60),
        id="bedrock-converse",
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html: "total input tokens =
    # inputTokens + cacheReadInputTokens + cacheWriteInputTokens"; cacheDetails splits the writes
    pytest.param(
        {
            "usage": {
                "inputTokens": 1586,
                "outputTokens": 40,
                "totalTokens": 1586 + 40 + 1547 + 300,
                "cacheReadInputTokens": 1547,
                "cacheWriteInputTokens": 300,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 100}],
            }
        },
        Usage(
            1586 + 1547 + 300,
            40,
            cache_read_tokens=1547,
            cache_write_tokens=300,
            details={"cache_write_1h_tokens": 200},
        ),
        id="bedrock-converse-cached",
    ),
]
