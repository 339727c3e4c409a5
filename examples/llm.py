"""`call_llm(prompt)`, as every PocketFlow program has it; here on the standard library alone.

One line is for tracing: `record_usage` has the tokens and the cost of a call counted for the step
that makes it. Programs whose LLM client is instrumented for OpenTelemetry do without.

With `OPENAI_API_KEY` or `OPENAI_BASE_URL` set, it asks that OpenAI-compatible endpoint for
`OPENAI_MODEL`; without them, a small stand-in on this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import cache
from threading import Lock
from urllib.request import ProxyHandler, Request, build_opener

from pocketflow_otel import record_usage

_lock = Lock()


def call_llm(prompt: str) -> str:
    """Return the model's answer.

    Raises:
        urllib.error.HTTPError: The endpoint refused; its `code` is 429 when it has too much to do.
    """
    request = Request(f"{_base_url()}/chat/completions", headers={"Content-Type": "application/json"})
    if key := os.environ.get("OPENAI_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    model = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
    request.data = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]}).encode()
    on_this_machine = request.host.startswith(("127.0.0.1", "localhost"))
    proxies = ProxyHandler({}) if on_this_machine else ProxyHandler()  # else those of the environment
    with build_opener(proxies).open(request, timeout=60) as response:
        completion = json.load(response)
    record_usage(completion)
    content: str = completion["choices"][0]["message"]["content"]
    return content


async def call_llm_async(prompt: str) -> str:
    """Return the model's answer; other tasks go on meanwhile."""
    return await asyncio.to_thread(call_llm, prompt)


def _base_url() -> str:
    if base := os.environ.get("OPENAI_BASE_URL"):
        return base.rstrip("/")
    if os.environ.get("OPENAI_API_KEY"):
        return "https://api.openai.com/v1"
    with _lock:  # Parallel calls share one stand-in.
        return _start_stand_in()


@cache
def _start_stand_in() -> str:
    from stand_in import StandIn

    print("no OPENAI_API_KEY: answers come from the local stand-in", file=sys.stderr)
    return StandIn().start()
