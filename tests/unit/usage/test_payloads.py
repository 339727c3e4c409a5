"""Read usage: documented responses of providers and libraries, in every form they are met in.

Each row stands as its source shows it; beside it, what it must come to. Input includes what was
cached, output includes what the model thought, whatever the source leaves out.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from pocketflow_otel.usage.payloads import MAX_TOKENS, Usage, read_usage

SONNET = "claude-sonnet-4-5-20250929"


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


OPENAI = [
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
    # https://docs.voyageai.com/reference/embeddings-api: a total alone
    pytest.param(
        {"object": "list", "model": "voyage-3.5", "usage": {"total_tokens": 10}},
        Usage(10, 0, model="voyage-3.5"),
        id="voyage-embeddings",
    ),
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

ANTHROPIC = [
    # https://docs.anthropic.com/en/api/messages: cached tokens are counted apart
    pytest.param(
        {
            "type": "message",
            "model": "claude-sonnet-4-20250514",
            "usage": {
                "input_tokens": 2095,
                "cache_creation_input_tokens": 2051,
                "cache_read_input_tokens": 2051,
                "output_tokens": 503,
                "service_tier": "standard",
            },
        },
        Usage(
            2095 + 2051 + 2051,
            503,
            cache_read_tokens=2051,
            cache_write_tokens=2051,
            model="claude-sonnet-4-20250514",
            service_tier="standard",
        ),
        id="anthropic",
    ),
    # https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#1-hour-cache-duration
    pytest.param(
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "output_tokens": 503,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        Usage(
            2048 + 1800 + 248,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="anthropic-cached-5m-1h",
    ),
    # https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool
    pytest.param(
        {
            "usage": {
                "input_tokens": 105,
                "output_tokens": 6039,
                "cache_read_input_tokens": 7123,
                "cache_creation_input_tokens": 7345,
                "server_tool_use": {"web_search_requests": 1},
            }
        },
        Usage(
            105 + 7123 + 7345,
            6039,
            cache_read_tokens=7123,
            cache_write_tokens=7345,
            details={"web_searches": 1},
        ),
        id="anthropic-web-search",
    ),
    # https://docs.anthropic.com/en/docs/build-with-claude/streaming
    pytest.param(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyy",
                "model": "claude-opus-4-1-20250805",
                "usage": {"input_tokens": 25, "output_tokens": 1},
            },
        },
        Usage(25, 1, model="claude-opus-4-1-20250805"),
        id="anthropic-stream-message-start",
    ),
    pytest.param(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 10682,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 510,
                "server_tool_use": {"web_search_requests": 1},
            },
        },
        Usage(10682, 510, details={"web_searches": 1}),
        id="anthropic-stream-message-delta",
    ),
    # As recorded by pydantic-ai's tests, models/anthropic/cassettes/test_output
    pytest.param(
        {
            "model": SONNET,
            "usage": {
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "input_tokens": 14,
                "output_tokens": 65,
                "service_tier": "standard",
            },
        },
        Usage(14, 65, model=SONNET, service_tier="standard"),
        id="anthropic-nothing-cached",
    ),
    # https://docs.claude.com/en/docs/build-with-claude/fast-mode: what counts is the speed it was served at
    pytest.param(
        {
            "model": "claude-opus-5",
            "usage": {
                "input_tokens": 523,
                "output_tokens": 1842,
                "service_tier": "standard",
                "speed": "fast",
            },
        },
        Usage(523, 1842, model="claude-opus-5", service_tier="fast"),
        id="anthropic-fast",
    ),
    # https://docs.anthropic.com/en/docs/claude-code/sdk: the result of a session has its cost
    pytest.param(
        SimpleNamespace(
            subtype="success",
            total_cost_usd=0.0743955,
            usage={
                "input_tokens": 6,
                "cache_creation_input_tokens": 9163,
                "cache_read_input_tokens": 16415,
                "output_tokens": 965,
                "output_tokens_details": {"thinking_tokens": 412},
            },
        ),
        Usage(
            6 + 9163 + 16415,
            965,
            cache_read_tokens=16415,
            cache_write_tokens=9163,
            reasoning_tokens=412,
            cost=0.0743955,
        ),
        id="claude-agent-sdk-result",
    ),
]

GEMINI = [
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

OTHERS = [
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
    # https://docs.mistral.ai/studio-api/conversations/advanced/prompt-caching
    pytest.param(
        {
            "model": "mistral-large-2512",
            "usage": {
                "prompt_tokens": 1013,
                "completion_tokens": 30,
                "total_tokens": 1043,
                "prompt_tokens_details": {"cached_tokens": 1008},
            },
        },
        Usage(1013, 30, cache_read_tokens=1008, model="mistral-large-2512"),
        id="mistral-cached",
    ),
    # https://api-docs.deepseek.com/guides/kv_cache: hits and misses make up the prompt
    pytest.param(
        {
            "model": "deepseek-reasoner",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 140,
                "prompt_cache_hit_tokens": 60,
                "prompt_cache_miss_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 25},
            },
        },
        Usage(100, 40, cache_read_tokens=60, reasoning_tokens=25, model="deepseek-reasoner"),
        id="deepseek-cache-hit",
    ),
    # https://docs.x.ai/docs/api-reference#chat-completions: 32 + 9 + 94 = 135, so reasoning is apart
    pytest.param(
        {
            "model": "grok-3-mini",
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {
                    "text_tokens": 32,
                    "audio_tokens": 0,
                    "image_tokens": 0,
                    "cached_tokens": 6,
                },
                "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0},
                "num_sources_used": 0,
            },
        },
        Usage(32, 9 + 94, cache_read_tokens=6, reasoning_tokens=94, model="grok-3-mini"),
        id="xai-chat-reasoning",
    ),
    # https://docs.x.ai/developers/cost-tracking: ten billion ticks a dollar
    pytest.param(
        {
            "input_tokens": 21365,
            "input_tokens_details": {"cached_tokens": 10496},
            "output_tokens": 3646,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 25011,
            "num_server_side_tools_used": 8,
            "cost_in_usd_ticks": 648004500,
        },
        Usage(21365, 3646, cache_read_tokens=10496, cost=0.06480045),
        id="xai-responses-cost-in-ticks",
    ),
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
    # https://openrouter.ai/docs/use-cases/usage-accounting
    pytest.param(
        {
            "object": "chat.completion.chunk",
            "usage": {
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "cost": 0.95,
                "cost_details": {"upstream_inference_cost": 19},
                "prompt_tokens": 194,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
                "total_tokens": 196,
            },
        },
        Usage(194, 2, cache_write_tokens=100, cost=0.95),
        id="openrouter-with-cost",
    ),
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
    # https://docs.perplexity.ai/api-reference/chat-completions-post: the whole cost, searches included
    pytest.param(
        {
            "model": "sonar-pro",
            "usage": {
                "prompt_tokens": 15,
                "completion_tokens": 98,
                "total_tokens": 113,
                "search_context_size": "low",
                "cost": {
                    "input_tokens_cost": 0.0,
                    "output_tokens_cost": 0.001,
                    "request_cost": 0.014,
                    "total_cost": 0.015,
                },
            },
        },
        Usage(15, 98, model="sonar-pro", cost=0.015),
        id="perplexity-with-cost",
    ),
    # https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html
    pytest.param(
        {
            "model": "Qwen/Qwen2.5-7B-Instruct",
            "usage": {
                "prompt_tokens": 30,
                "total_tokens": 41,
                "completion_tokens": 11,
                "prompt_tokens_details": None,
            },
            "service_tier": None,
        },
        Usage(30, 11, model="Qwen/Qwen2.5-7B-Instruct"),
        id="vllm",
    ),
]

LIBRARIES = [
    # https://docs.litellm.ai/docs/completion/token_usage: the cost is a hidden parameter
    pytest.param(
        SimpleNamespace(
            model="gpt-4o-mini-2024-07-18",
            usage=SimpleNamespace(
                prompt_tokens=100,
                completion_tokens=50,
                total_tokens=150,
                prompt_tokens_details=SimpleNamespace(cached_tokens=0, audio_tokens=None),
                completion_tokens_details=None,
            ),
            _hidden_params={"custom_llm_provider": "openai", "response_cost": 4.5e-05},
        ),
        Usage(100, 50, model="gpt-4o-mini-2024-07-18", provider="openai", cost=4.5e-05),
        id="litellm-response",
    ),
    # https://docs.litellm.ai/docs/completion/prompt_caching: OpenAI's shape for Anthropic too
    pytest.param(
        SimpleNamespace(
            prompt_tokens=2048 + 1800 + 248,
            completion_tokens=503,
            total_tokens=2048 + 1800 + 248 + 503,
            prompt_tokens_details=SimpleNamespace(
                cached_tokens=1800,
                cache_creation_tokens=248,
                cache_creation_token_details=SimpleNamespace(
                    ephemeral_5m_input_tokens=148, ephemeral_1h_input_tokens=100
                ),
            ),
            cache_creation_input_tokens=248,
            cache_read_input_tokens=1800,
        ),
        Usage(
            2048 + 1800 + 248,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="litellm-anthropic-usage",
    ),
    # https://reference.langchain.com/python/langchain_core/messages/#UsageMetadata
    pytest.param(
        {
            "input_tokens": 350,
            "output_tokens": 240,
            "total_tokens": 590,
            "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
            "output_token_details": {"audio": 10, "reasoning": 200},
        },
        Usage(
            350,
            240,
            cache_read_tokens=100,
            cache_write_tokens=200,
            reasoning_tokens=200,
            details={"input_audio_tokens": 10, "output_audio_tokens": 10},
        ),
        id="langchain-usage-metadata",
    ),
    # The same, on a message of langchain-openai, which has the provider's own report too
    pytest.param(
        SimpleNamespace(
            content="Hello!",
            usage_metadata={"input_tokens": 8, "output_tokens": 9, "total_tokens": 17},
            response_metadata={
                "token_usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17},
                "model_provider": "openai",
                "model_name": "gpt-4o-mini-2024-07-18",
                "service_tier": "default",
            },
        ),
        Usage(8, 9, model="gpt-4o-mini-2024-07-18", provider="openai", service_tier="default"),
        id="langchain-openai-message",
    ),
    # Before usage_metadata there was token_usage alone
    pytest.param(
        SimpleNamespace(
            usage_metadata=None,
            response_metadata={
                "token_usage": {"completion_tokens": 9, "prompt_tokens": 8, "total_tokens": 17},
                "model_name": "gpt-3.5-turbo",
            },
        ),
        Usage(8, 9, model="gpt-3.5-turbo"),
        id="langchain-token-usage-alone",
    ),
    # langchain-anthropic's chat_models.py: by age, and then nothing under the common name
    pytest.param(
        {
            "input_tokens": 4096,
            "output_tokens": 503,
            "total_tokens": 4599,
            "input_token_details": {
                "cache_read": 1800,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 148,
                "ephemeral_1h_input_tokens": 100,
            },
        },
        Usage(
            4096,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            details={"cache_write_1h_tokens": 100},
        ),
        id="langchain-anthropic-cache-by-age",
    ),
    # langchain-aws before 1.0 passed Bedrock's counts on: 7 + 20 + 3697 = 3724
    pytest.param(
        {
            "input_tokens": 7,
            "output_tokens": 20,
            "total_tokens": 3724,
            "input_token_details": {"cache_read": 3697, "cache_creation": 0},
        },
        Usage(7 + 3697, 20, cache_read_tokens=3697),
        id="langchain-aws-cached",
    ),
    # langchain-ollama puts Ollama's answer into response_metadata
    pytest.param(
        SimpleNamespace(
            usage_metadata=None,
            response_metadata={
                "model": "llama3.2",
                "model_provider": "ollama",
                "prompt_eval_count": 26,
                "eval_count": 298,
            },
        ),
        Usage(26, 298, model="llama3.2", provider="ollama"),
        id="langchain-ollama-message",
    ),
    # langchain_core.outputs.LLMResult, as callbacks get it
    pytest.param(
        SimpleNamespace(
            generations=[],
            llm_output={
                "token_usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17},
                "model_name": "gpt-4o-mini",
            },
        ),
        Usage(8, 9, model="gpt-4o-mini"),
        id="langchain-llm-result",
    ),
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

# What pflow's steps leave in the store, by version; shared/design/pflow.md section 1d.
PFLOW = [
    pytest.param(
        {
            "model": "anthropic/claude-sonnet-4-5",
            "input_tokens": 1000,
            "output_tokens": 200,
            "total_tokens": 1200,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 800,
        },
        Usage(
            1000 + 100 + 800,
            200,
            cache_read_tokens=800,
            cache_write_tokens=100,
            model="anthropic/claude-sonnet-4-5",
        ),
        id="pflow-0.8-llm",
    ),
    pytest.param(
        {
            "model": "gpt-4o-mini",
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cost_usd": 0.000045,
        },
        Usage(100, 50, model="gpt-4o-mini", cost=0.000045),
        id="pflow-0.12-llm",
    ),
    pytest.param(
        {
            "model": "anthropic/claude-sonnet-4-5",
            "input_tokens": 1900,
            "uncached_input_tokens": 1000,
            "output_tokens": 200,
            "total_tokens": 2100,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 800,
            "has_cache_telemetry": True,
            "input_token_accounting": "total_includes_cache",
            "thinking_tokens": 150,
            "thinking_budget": 1024,
            "cache_chunks_skipped": [],
            "cost_usd": None,
        },
        Usage(
            1900,
            200,
            cache_read_tokens=800,
            cache_write_tokens=100,
            reasoning_tokens=150,
            model="anthropic/claude-sonnet-4-5",
        ),
        id="pflow-0.13-llm",
    ),
    pytest.param(
        {
            "model": "claude-sonnet-4-5",
            "input_tokens": 12,
            "output_tokens": 345,
            "total_tokens": 357,
            "cache_creation_input_tokens": 4000,
            "cache_read_input_tokens": 15000,
            "total_cost_usd": 0.0251,
            "duration_ms": 5234,
            "num_turns": 3,
            "session_id": "b7c1",
        },
        Usage(
            12 + 4000 + 15000,
            345,
            cache_read_tokens=15000,
            cache_write_tokens=4000,
            model="claude-sonnet-4-5",
            cost=0.0251,
        ),
        id="pflow-0.8-claude-code",
    ),
    pytest.param(
        {
            "model": "gpt-5-codex",
            "input_tokens": 900,
            "uncached_input_tokens": 400,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 500,
            "input_token_accounting": None,
            "output_tokens": 120,
            "total_tokens": 1020,
            "cost_usd": 0.0021,
            "api_equivalent_cost_usd": None,
            "duration_ms": 812,
            "reasoning_output_tokens": 64,
        },
        Usage(900, 120, cache_read_tokens=500, reasoning_tokens=64, model="gpt-5-codex", cost=0.0021),
        id="pflow-0.15-agent",
    ),
    pytest.param(
        {
            "model": "gpt-5-codex",
            "input_tokens": 900,
            "uncached_input_tokens": 400,
            "cache_read_input_tokens": 500,
            "output_tokens": 120,
            "cost_usd": None,
            "api_equivalent_cost_usd": None,
        },
        Usage(900, 120, cache_read_tokens=500, model="gpt-5-codex", subscribed=True),
        id="pflow-0.16-agent-of-a-subscription",
    ),
]

PAYLOADS = [*OPENAI, *ANTHROPIC, *GEMINI, *OTHERS, *LIBRARIES, *PFLOW]


@pytest.mark.parametrize(("payload", "usage"), PAYLOADS)
def test_a_documented_payload_is_one_call(payload: Any, usage: Usage) -> None:
    assert read_usage(payload) == [usage]


def test_there_are_forty_payloads_of_different_kinds() -> None:
    assert len({row.id for row in PAYLOADS}) == len(PAYLOADS) >= 40


def test_an_agent_of_pflow_tells_of_the_attempts_its_answer_superseded() -> None:
    first = {"model": "gpt-5-codex", "input_tokens": 700, "output_tokens": 90, "cost_usd": 0.001}
    last = {"model": "gpt-5-codex", "input_tokens": 900, "output_tokens": 120, "cost_usd": 0.002}
    assert read_usage({**last, "retries": [first, {}]}) == [
        Usage(900, 120, model="gpt-5-codex", cost=0.002),
        Usage(700, 90, model="gpt-5-codex", cost=0.001),
    ]


COUNTS = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "model": "gpt-4o-mini"}
DETAILED = {**COUNTS, "prompt_tokens_details": {"cached_tokens": 80}}


class Slotted:
    __slots__ = ("completion_tokens", "model", "prompt_tokens", "prompt_tokens_details")

    def __init__(self) -> None:
        self.prompt_tokens, self.completion_tokens, self.model = 100, 50, "gpt-4o-mini"
        self.prompt_tokens_details = SimpleNamespace(cached_tokens=80)


class Computed:
    prompt_tokens = property(lambda self: 100)
    completion_tokens = property(lambda self: 50)
    model = property(lambda self: "gpt-4o-mini")
    prompt_tokens_details = property(lambda self: {"cached_tokens": 80})


FORMS = [
    pytest.param(DETAILED, id="dict"),
    pytest.param(OrderedDict(DETAILED), id="subclass-of-dict"),
    pytest.param(MappingProxyType(DETAILED), id="mapping"),
    pytest.param(SimpleNamespace(**DETAILED), id="object-with-dicts"),
    pytest.param(Slotted(), id="object-with-slots"),
    pytest.param(Computed(), id="object-with-properties"),
    pytest.param(Mock(**DETAILED), id="mock-with-counts"),
    pytest.param({"usage": DETAILED}, id="dict-in-dict"),
    pytest.param(SimpleNamespace(usage=SimpleNamespace(**DETAILED)), id="object-in-object"),
    pytest.param(Mock(usage=Mock(**DETAILED)), id="mock-in-mock"),
    pytest.param({**DETAILED, "usage": "high"}, id="another-thing-is-called-usage"),
    pytest.param({"usage": {}, "usage_metadata": DETAILED}, id="the-first-carrier-is-empty"),
    pytest.param({"llm_usage": DETAILED}, id="a-store"),
]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_a_usage_comes_in_does_not_matter(form: Any) -> None:
    assert read_usage(form) == [Usage(100, 50, cache_read_tokens=80, model="gpt-4o-mini")]


def test_a_usage_is_itself() -> None:
    usage = Usage(1, 2, model="m", cost=0.5)
    assert read_usage(usage) == [usage]


def test_a_list_tells_of_several_calls() -> None:
    calls = [COUNTS, {"usage": {"input_tokens": 7, "output_tokens": 3}}, {}, None, (DETAILED,)]
    assert read_usage(calls, model="claude-haiku-4-5", provider="anthropic") == [
        Usage(100, 50, model="gpt-4o-mini", provider="anthropic"),
        Usage(7, 3, model="claude-haiku-4-5", provider="anthropic"),
        Usage(100, 50, cache_read_tokens=80, model="gpt-4o-mini", provider="anthropic"),
    ]


def test_a_list_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketflow_otel.usage.payloads.MAX_CALLS", 50)
    assert len(read_usage([{"total_tokens": 1}] * 51)) == 50
    assert len(read_usage([[{"total_tokens": 1}] * 50] * 3)) == 50


def test_a_list_that_holds_itself_ends() -> None:
    calls: list[Any] = [COUNTS]
    calls.append(calls)
    assert read_usage(calls) == [Usage(100, 50, model="gpt-4o-mini")] * 2
    usage: dict[str, Any] = dict(COUNTS)
    usage["retries"] = [usage]
    assert read_usage(usage) == [Usage(100, 50, model="gpt-4o-mini")] * 2


class Lazy:
    """Its usage waits for the model."""

    asked = 0

    def usage(self) -> dict[str, int]:
        self.asked += 1
        return {"prompt_tokens": 5}


class AsyncResponse:
    async def usage(self) -> dict[str, int]:
        return {"prompt_tokens": 5}


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        {},
        [],
        (),
        "150 tokens",
        b"150",
        150,
        1.5,
        True,
        object(),
        {"model": "gpt-4o-mini"},
        {"usage": None},
        {"usage": []},
        {"meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}},
        {"prompt_tokens": "100", "completion_tokens": "50"},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": -1, "completion_tokens": -5, "total_tokens": -6},
        {"prompt_tokens": 1.5, "completion_tokens": float("nan"), "total_tokens": float("inf")},
        {"prompt_tokens": MAX_TOKENS + 1},
        {"prompt_tokens": [100], "completion_tokens": {"n": 50}},
        (each for each in [COUNTS]),
        Usage,
        dict,
        Mock(),
        MagicMock(),
        Mock(usage=Mock()),
        AsyncResponse(),
    ],
    ids=lambda nothing: type(nothing).__name__,
)
def test_what_tells_of_no_call_is_none(nothing: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_usage(nothing) == []


def test_zeros_are_a_usage_that_comes_to_nothing() -> None:
    (usage,) = read_usage({"prompt_tokens": 0, "completion_tokens": 0})
    assert (usage, bool(usage)) == (Usage(), False)


@pytest.mark.parametrize(
    ("number", "tokens"),
    [(7, 7), (7.0, 7), (np.int64(7), 7), (np.float64(7.0), 7), (True, 0), (-7, 0), (7.5, 0), ("7", 0)],
    ids=repr,
)
def test_a_count_is_a_whole_number_of_at_least_zero(number: Any, tokens: int) -> None:
    (usage,) = read_usage({"input_tokens": number, "output_tokens": 1})
    assert (usage, type(usage.input_tokens)) == (Usage(tokens, 1), int)


@pytest.mark.parametrize(
    ("cost", "read"),
    [
        (0.5, 0.5),
        (0, 0.0),
        (2, 2.0),
        (-0.1, None),
        (True, None),
        ("0.5", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ({"total_cost": 0.25}, 0.25),
    ],
    ids=repr,
)
def test_a_cost_is_a_number_of_dollars(cost: Any, read: float | None) -> None:
    (usage,) = read_usage({"total_tokens": 1, "cost_usd": cost, "cost": cost})
    assert usage.cost == read


def test_what_the_payload_says_wins_over_what_is_given() -> None:
    assert read_usage(COUNTS, model="other", provider="azure") == [
        Usage(100, 50, model="gpt-4o-mini", provider="azure")
    ]
    assert read_usage({"total_tokens": 1, "model": ""}, model="other") == [Usage(1, model="other")]


def test_a_method_is_asked_only_by_request() -> None:
    lazy = Lazy()
    assert (read_usage(lazy, ask=False), lazy.asked) == ([], 0)
    assert (read_usage(lazy), lazy.asked) == ([Usage(5)], 1)


def test_a_mock_is_never_called() -> None:
    response = Mock()
    read_usage(response)
    response.usage.assert_not_called()


def test_reading_changes_nothing() -> None:
    payload = {**DETAILED, "retries": [dict(COUNTS)]}
    before = repr(payload)
    read_usage([payload])
    assert repr(payload) == before


ACCUMULATED = Usage(100, 50, cache_read_tokens=80, cost=0.3, model="m", details={"web_searches": 1})


@pytest.mark.parametrize(
    ("now", "grown"),
    [
        pytest.param(ACCUMULATED, Usage(cost=0.0, model="m"), id="not-at-all"),
        pytest.param(
            Usage(150, 60, cache_read_tokens=90, cost=0.4, model="m", details={"web_searches": 3}),
            Usage(50, 10, cache_read_tokens=10, cost=0.1, model="m", details={"web_searches": 2}),
            id="everything",
        ),
        pytest.param(Usage(150, 60, model="m"), Usage(50, 10, model="m"), id="no-cost-any-more"),
        pytest.param(Usage(90, 60, cost=0.1), Usage(90, 60, cost=0.1), id="fewer-in-so-it-is-new"),
        pytest.param(Usage(100, 40, cost=0.1), Usage(100, 40, cost=0.1), id="fewer-out-so-it-is-new"),
        pytest.param(
            Usage(150, 60, cache_read_tokens=20, cost=0.2, model="m"),
            Usage(50, 10, cost=0.0, model="m"),
            id="its-parts-are-only-the-last-call's",
        ),
    ],
)
def test_an_accumulator_grows_by_the_difference(now: Usage, grown: Usage) -> None:
    assert now.minus(ACCUMULATED) == grown


def test_a_cost_told_later_is_not_one_call_more() -> None:
    counted = Usage(100, 50, model="gpt-4o-mini")
    told = Usage(100, 50, model="gpt-4o-mini", cost=0.000045)
    assert not told.minus(counted)
    assert told.minus(Usage()) == told


def test_a_usage_shows_what_it_knows() -> None:
    usage = Usage(3, 0, model="m", cost=0.0, details=MappingProxyType({"web_searches": 1}))
    assert repr(usage) == "Usage(input_tokens=3, model='m', cost=0.0, details={'web_searches': 1})"
    assert usage.total_tokens == 3
