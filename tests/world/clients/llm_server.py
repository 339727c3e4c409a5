"""A server that speaks OpenAI's and Anthropic's HTTP, and keeps account of the usage it sends."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any


class LlmServer:
    """Answers chat requests on 127.0.0.1.

    Attributes:
        url: Where it listens.
        sent: Calls and tokens, by model.
    """

    def __init__(self) -> None:
        self.sent: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        self._numbers = count(1)
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                kind, content = answer(self.path, body)
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[str, bytes]:
        with self._lock:
            number = next(self._numbers)
            tokens, output = 100 + number, 10 + number
            self.sent.setdefault(body["model"], Counter()).update(
                calls=1, input_tokens=tokens, output_tokens=output
            )
        make = _anthropic if path.endswith("/messages") else _openai
        return make(body, tokens, output)


def _openai(body: dict[str, Any], tokens: int, output: int) -> tuple[str, bytes]:
    usage = {"prompt_tokens": tokens, "completion_tokens": output, "total_tokens": tokens + output}
    answer = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "hi"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return _json(answer | {"object": "chat.completion", "choices": choices, "usage": usage})
    answer["object"] = "chat.completion.chunk"
    deltas = [({"role": "assistant", "content": "hi"}, None), ({}, "stop")]
    chunks: list[Any] = [
        answer | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    chunks.append(answer | {"choices": [], "usage": usage})
    return _stream([*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), "data: [DONE]\n\n"])


def _anthropic(body: dict[str, Any], tokens: int, output: int) -> tuple[str, bytes]:
    cached = 30
    usage = {"input_tokens": tokens - cached, "cache_read_input_tokens": cached, "output_tokens": output}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
    if not body.get("stream"):
        content = [{"type": "text", "text": "hi"}]
        return _json(message | {"content": content, "stop_reason": "end_turn", "usage": usage})
    events = [
        {
            "type": "message_start",
            "message": message | {"content": [], "usage": usage | {"output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}},
        {"type": "message_stop"},
    ]
    return _stream(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def _json(answer: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(answer).encode()


def _stream(parts: Any) -> tuple[str, bytes]:
    return "text/event-stream", "".join(parts).encode()
