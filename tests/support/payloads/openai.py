"""Payloads of OpenAI."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://platform.openai.com/docs/api-reference/chat/object
    pytest.param(
        {
            "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
            "object": "chat.completion",
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "The image shows"}}],
            "usage": {
                "prompt_tokens": 1117,
                "completion_tokens": 46,
                "total_tokens": 1163,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
        },
        Usage(1117, 46, model="gpt-4o-2024-08-06", service_tier="default"),
        id="openai-chat",
    ),
    # https://platform.openai.com/docs/guides/prompt-caching: cached tokens are part of the prompt's
    pytest.param(
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        Usage(2006, 300, cache_read_tokens=1920),
        id="openai-chat-cached",
    ),
    # https://platform.openai.com/docs/guides/reasoning: reasoning is part of the output
    pytest.param(
        {
            "model": "o3",
            "usage": {
                "input_tokens": 75,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 1186,
                "output_tokens_details": {"reasoning_tokens": 1024},
                "total_tokens": 1261,
            },
        },
        Usage(75, 1186, reasoning_tokens=1024, model="o3"),
        id="openai-responses-reasoning",
    ),
    # https://platform.openai.com/docs/api-reference/responses-streaming/response/completed
    pytest.param(
        {
            "type": "response.completed",
            "response": {
                "model": "gpt-5",
                "service_tier": "flex",
                "usage": {
                    "input_tokens": 328,
                    "input_tokens_details": {"cached_tokens": 128},
                    "output_tokens": 52,
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": 380,
                },
            },
        },
        Usage(328, 52, cache_read_tokens=128, model="gpt-5", service_tier="flex"),
        id="openai-responses-event-flex",
    ),
    # https://platform.openai.com/docs/guides/realtime-costs: no cached token was audio
    pytest.param(
        {
            "type": "response.done",
            "response": {
                "usage": {
                    "total_tokens": 253,
                    "input_tokens": 132,
                    "output_tokens": 121,
                    "input_token_details": {
                        "text_tokens": 119,
                        "audio_tokens": 13,
                        "image_tokens": 0,
                        "cached_tokens": 64,
                        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
                    },
                    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
                }
            },
        },
        Usage(
            132,
            121,
            cache_read_tokens=64,
            details={"input_audio_tokens": 13, "output_audio_tokens": 91, "cache_audio_read_tokens": 0},
        ),
        id="openai-realtime-audio",
    ),
    # https://platform.openai.com/docs/guides/image-generation
    pytest.param(
        {
            "usage": {
                "total_tokens": 373,
                "input_tokens": 215,
                "input_tokens_details": {"text_tokens": 15, "image_tokens": 200},
                "output_tokens": 158,
            }
        },
        Usage(215, 158, details={"input_image_tokens": 200}),
        id="openai-images",
    ),
    # https://platform.openai.com/docs/api-reference/embeddings/create
    pytest.param(
        {
            "object": "list",
            "model": "text-embedding-ada-002",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        Usage(8, 0, model="text-embedding-ada-002"),
        id="openai-embeddings",
    ),
]
