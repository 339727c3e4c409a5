"""A provider of models on 127.0.0.1, as OpenAI and Anthropic are, that keeps account of what it sold."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from tests.pflow.servers import Json, Listening, prompt_of

READ: Final = 40
"""Tokens of each prompt that come from the provider's cache."""
WRITTEN: Final = 20
"""Tokens of each prompt that Anthropic writes there, and charges for."""
THOUGHT: Final = 5
"""Tokens of each answer that are OpenAI's model's thoughts."""


@dataclass(frozen=True, order=True)
class Sold:
    """One answer.

    Attributes:
        step: Who asked: the prompt's first word.
        model: The model.
        input_tokens, output_tokens: All of them: with those of a cache, with thoughts.
        cache_read_tokens, cache_write_tokens, reasoning_tokens: Parts of them.
    """

    step: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = READ
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class Provider(Listening):
    """Sells answers.

    A prompt says what becomes of it: `ask: Be busy 4 times.` is refused as often first, `In JSON, time 3.`
    is answered with an object, which says of the third that it is done.

    Attributes:
        sold: What it answered, since the last `reset`.
    """

    def __init__(self) -> None:
        self.sold: list[Sold] = []
        super().__init__(_handler(self))

    def reset(self) -> None:
        """Begin a new account."""
        super().reset()
        self.sold.clear()

    def answer(self, path: str, body: Json) -> tuple[int, Json]:
        """Answer a request, or refuse to."""
        prompt = prompt_of(body)
        step = prompt.partition(":")[0]
        busy = re.search(r"Be busy (\d+) times", prompt)
        if busy and self.count(prompt) <= int(busy[1]):
            return HTTPStatus.TOO_MANY_REQUESTS, {"error": {"message": "too much", "type": "rate_limit"}}
        given, made = 100 + len(prompt), 10 + len(prompt.split())
        text = _object(prompt) if "In JSON" in prompt else f"{made} tokens"
        if path.endswith("/messages"):
            self.sold.append(Sold(step, body["model"], given, made, cache_write_tokens=WRITTEN))
            return HTTPStatus.OK, _anthropic(body["model"], text, given, made)
        self.sold.append(Sold(step, body["model"], given, made, reasoning_tokens=THOUGHT))
        return HTTPStatus.OK, _openai(body["model"], text, given, made)


def _object(prompt: str) -> str:
    return json.dumps({"answer": 42, "done": "time 3" in prompt})


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = provider.answer(self.path, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(content)

        def do_CONNECT(self) -> None:
            """Refuse to be a proxy to other hosts."""
            self.send_error(HTTPStatus.FORBIDDEN)

        do_GET = do_CONNECT

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def _openai(model: str, text: str, given: int, made: int) -> Json:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": given,
            "completion_tokens": made,
            "total_tokens": given + made,
            "prompt_tokens_details": {"cached_tokens": READ},
            "completion_tokens_details": {"reasoning_tokens": THOUGHT},
        },
    }


def _anthropic(model: str, text: str, given: int, made: int) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": given - READ - WRITTEN,  # Anthropic leaves out what its cache had.
            "cache_read_input_tokens": READ,
            "cache_creation_input_tokens": WRITTEN,
            "output_tokens": made,
        },
    }
