"""Payloads of Gemini."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pocketflow_otel.usage.payloads import Usage

PAYLOADS = [
    # https://ai.google.dev/api/generate-content#UsageMetadata; as in genai-prices' test_extract_usage.py:
    # thoughts and what tools put into the prompt are counted apart (75 + 25 + 18 + 144 = 262)
    pytest.param(
        {
            "usageMetadata": {
                "promptTokenCount": 75,
                "candidatesTokenCount": 18,
                "totalTokenCount": 262,
                "trafficType": "ON_DEMAND",
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 75}],
                "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 18}],
                "toolUsePromptTokenCount": 25,
                "thoughtsTokenCount": 144,
            },
            "modelVersion": "gemini-2.5-flash",
        },
        Usage(75 + 25, 18 + 144, reasoning_tokens=144, model="gemini-2.5-flash"),
        id="gemini-rest-thoughts-and-tools",
    ),
    # The same file: the cached content is part of the prompt (14152 + 60 + 69 = 14281)
    pytest.param(
        {
            "usageMetadata": {
                "promptTokenCount": 14152,
                "candidatesTokenCount": 60,
                "totalTokenCount": 14281,
                "cachedContentTokenCount": 12239,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 14002},
                    {"modality": "AUDIO", "tokenCount": 150},
                ],
                "cacheTokensDetails": [
                    {"modality": "AUDIO", "tokenCount": 129},
                    {"modality": "TEXT", "tokenCount": 12110},
                ],
                "candidatesTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 50},
                    {"modality": "AUDIO", "tokenCount": 10},
                ],
                "thoughtsTokenCount": 69,
            },
            "modelVersion": "gemini-2.5-flash",
        },
        Usage(
            14152,
            60 + 69,
            cache_read_tokens=12239,
            reasoning_tokens=69,
            model="gemini-2.5-flash",
            details={"input_audio_tokens": 150, "cache_audio_read_tokens": 129, "output_audio_tokens": 10},
        ),
        id="gemini-rest-cached-audio",
    ),
    # https://google.github.io/adk-docs: google-genai's objects, here as it dumps them
    pytest.param(
        SimpleNamespace(
            model_version="gemini-2.5-flash",
            usage_metadata=SimpleNamespace(
                candidates_token_count=17,
                candidates_tokens_details=[SimpleNamespace(modality="TEXT", token_count=17)],
                cached_content_token_count=None,
                prompt_token_count=557,
                prompt_tokens_details=[SimpleNamespace(modality="TEXT", token_count=557)],
                thoughts_token_count=122,
                tool_use_prompt_token_count=None,
                total_token_count=696,
                traffic_type="ON_DEMAND",
            ),
        ),
        Usage(557, 17 + 122, reasoning_tokens=122, model="gemini-2.5-flash"),
        id="gemini-sdk-thoughts",
    ),
    # https://ai.google.dev/gemini-api/docs/image-generation
    pytest.param(
        {
            "usageMetadata": {
                "promptTokenCount": 8,
                "candidatesTokenCount": 1290,
                "totalTokenCount": 1298,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
            "modelVersion": "gemini-2.5-flash-image",
        },
        Usage(8, 1290, model="gemini-2.5-flash-image", details={"output_image_tokens": 1290}),
        id="gemini-image",
    ),
    # https://ai.google.dev/api/live#UsageMetadata
    pytest.param(
        {"usageMetadata": {"promptTokenCount": 100, "responseTokenCount": 50, "totalTokenCount": 150}},
        Usage(100, 50),
        id="gemini-live",
    ),
]
