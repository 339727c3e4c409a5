"""An OpenAI-compatible server on this machine that answers the examples' prompts by simple rules.

It lets the examples run without a key and without a network, and gives the same answers each time.
With each answer come its tokens, and what they would cost of gpt-4o-mini, as OpenRouter tells it.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY_PROMPTS = 4
"""Of so many prompts, one is refused the first time it comes, as a busy service does."""
PRICE_IN, PRICE_OUT = 0.15, 0.60
"""What gpt-4o-mini costs, in US dollars for a million tokens."""


class StandIn(ThreadingTCPServer):
    """Answers `POST /chat/completions` on a free port of 127.0.0.1, until the program ends."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._lock = Lock()
        self._refused: set[str] = set()

    def start(self) -> str:
        """Serve in a thread of its own; return the base URL."""
        Thread(target=self.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}"

    def is_too_busy_for(self, prompt: str) -> bool:
        """Tell whether to refuse a prompt: by what it says, and never twice."""
        with self._lock:
            if _number(prompt) % BUSY_PROMPTS or prompt in self._refused:
                return False
            self._refused.add(prompt)
            return True


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        """Answer one chat completion."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = asked["messages"][-1]["content"]
        if self.server.is_too_busy_for(prompt):
            self._send(429, {"error": {"message": "too many requests", "type": "rate_limit_exceeded"}})
            return
        text = answer(prompt)
        tokens_in, tokens_out = len(prompt) // 4 + 1, len(text) // 4 + 1
        self._send(
            200,
            {
                "id": f"chatcmpl-{_number(prompt):08x}",
                "object": "chat.completion",
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": tokens_in,
                    "completion_tokens": tokens_out,
                    "total_tokens": tokens_in + tokens_out,
                    "cost": round((tokens_in * PRICE_IN + tokens_out * PRICE_OUT) / 1_000_000, 8),
                },
            },
        )

    def _send(self, status: int, body: object) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Keep stderr for the program."""


def _number(prompt: str) -> int:
    return crc32(prompt.encode(errors="replace"))


def answer(prompt: str) -> str:
    """Return what a patient model might say."""
    for beginning, rule in _RULES.items():
        if prompt.startswith(beginning):
            return rule(prompt)
    return "I can only answer what the examples ask."


def _decide(prompt: str) -> str:
    """Search for each name in the question, calculate with what was found, then answer."""
    question, _, notes = prompt.partition("Notes:")
    question = question.partition("Question:")[2]
    names = re.findall(r"(?<=[a-z,] )[A-Z]\w+(?: [A-Z]\w+)*", question)
    missing = [name for name in names if f"search {name}:" not in notes]
    sum_asked = re.search(r"[\d.]+(?: *[-+*/] *[\d.]+)+", question)
    heights = re.findall(r"(\d+) m\b", notes)
    if missing:
        step = {"action": "search", "input": missing[0]}
    elif "calculate" in notes:
        step = {"action": "answer", "input": ""}
    elif sum_asked:
        step = {"action": "calculate", "input": sum_asked[0]}
    elif "how much higher" in question.lower() and len(heights) > 1:
        step = {"action": "calculate", "input": " - ".join(heights[:2])}
    else:
        step = {"action": "answer", "input": ""}
    return json.dumps(step)


def _conclude(prompt: str) -> str:
    notes = [line for line in prompt.partition("Notes:")[2].splitlines() if line.startswith("- ")]
    if not notes:
        return "I do not know."
    what, _, found = notes[-1][2:].partition(": ")
    return f"{what.removeprefix('calculate ')} = {found}" if what.startswith("calculate") else found


def _summarise(prompt: str) -> str:
    """Return the first sentence below the heading: good writers say there what it is about."""
    text = re.sub(r"(?m)^#.*$", "", prompt.partition("\n\n")[2])
    return _shorten(re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0], 20)


def _combine(prompt: str) -> str:
    return "; ".join(_shorten(line, 5) for line in prompt.partition("\n\n")[2].splitlines())


def _shorten(sentence: str, limit: int) -> str:
    words = sentence.split()
    return " ".join(words if len(words) <= limit else [*words[:limit], "..."])


def _translate(prompt: str) -> str:
    instruction, _, text = prompt.partition("\n\n")
    language = instruction.removeprefix("Translate into ").rstrip(":")
    return " ".join(
        _PHRASES.get(sentence, {}).get(language, f"[{language}: {sentence}]")
        for sentence in re.split(r"(?<=[.!?])\s", " ".join(text.split()))
    )


_RULES: dict[str, Callable[[str], str]] = {
    "You answer a question": _decide,
    "Answer the question": _conclude,
    "Summarise": _summarise,
    "Combine": _combine,
    "Translate into": _translate,
}

_PHRASES = {
    "Good morning.": {
        "French": "Bonjour.",
        "German": "Guten Morgen.",
        "Italian": "Buongiorno.",
        "Spanish": "Buenos días.",
    },
    "The train leaves at nine.": {
        "French": "Le train part à neuf heures.",
        "German": "Der Zug fährt um neun Uhr.",
        "Italian": "Il treno parte alle nove.",
        "Spanish": "El tren sale a las nueve.",
    },
    "Thank you.": {
        "French": "Merci.",
        "German": "Danke.",
        "Italian": "Grazie.",
        "Spanish": "Gracias.",
    },
}
