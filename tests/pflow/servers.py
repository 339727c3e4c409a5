"""One server on 127.0.0.1 for all workflows: plain HTTP, OpenAI's chat completions, and a proxy that refuses.

Answers depend on the request alone, and on how often it came since `reset`: two runs of a workflow
are sent the same bytes.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


class Listening:
    """Listens on 127.0.0.1 until `close`.

    Args:
        handler: What answers a request.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._came: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Listener(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Forget what came."""
        with self._lock:
            self._came.clear()

    def count(self, request: str) -> int:
        """Return how often a request came, this time included."""
        with self._lock:
            self._came[request] += 1
            return self._came[request]


class Server(Listening):
    """Answers what workflows ask.

    Attributes:
        refused: What was asked of other hosts, through the proxy that this server is to its clients.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []
        super().__init__(_handler(self))


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is one of the things tested."""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/"):
                self._refuse()
            elif found := re.fullmatch(r"/flaky/(\d+)", self.path):
                self._answer_after(int(found[1]))
            elif found := re.fullmatch(r"/status/(\d+)", self.path):
                self._send(int(found[1]), {"error": "as asked for"})
            else:
                self._send(200, {"answer": "forty-two"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path.endswith("/chat/completions"):
                self._send(*_complete(server, body), {"retry-after-ms": "1"})
            else:
                self._send(200, body)

        def do_CONNECT(self) -> None:
            self._refuse()

        def _refuse(self) -> None:
            server.refused.append(self.path)
            self._send(403, {"error": "there is no other host"})

        def _answer_after(self, failures: int) -> None:
            """Hang up as often, then answer."""
            if server.count(self.path) > failures:
                self._send(200, {"answer": "at last"})

        def _send(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return "Thu, 01 Jan 2026 00:00:00 GMT"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def _complete(server: Server, body: Json) -> tuple[int, Json]:
    """Answer a prompt; `Refuse` in it is refused, `Be busy N times` is told so as often."""
    prompt = prompt_of(body)
    if "Refuse" in prompt:
        return HTTPStatus.BAD_REQUEST, _error("this is refused")
    busy = re.search(r"Be busy (\d+) times", prompt)
    if busy and server.count(prompt) <= int(busy[1]):
        return HTTPStatus.TOO_MANY_REQUESTS, _error("this is too much")
    message = {"role": "assistant", "content": f"{len(prompt.split())} words"}
    return HTTPStatus.OK, {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(prompt),
    }


def _usage(prompt: str) -> Json:
    """Return numbers of tokens that no two prompts share."""
    given, made = 100 + len(prompt), 10 + len(prompt.split())
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }


def prompt_of(body: Json) -> str:
    """Return the last message of a request to a model."""
    content: str | list[Json] = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _error(message: str) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}
