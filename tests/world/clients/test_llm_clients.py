"""Real clients of OpenAI and Anthropic against a real server: what it sent is what is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.processes import BIN, environment, run
from tests.world.clients.llm_server import LlmServer

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(__file__).parent / "llm_app.py"


@pytest.fixture
def server() -> Iterator[LlmServer]:
    server = LlmServer()
    yield server
    server.close()


def test_every_call_of_real_clients_is_counted_as_the_server_sent_it(
    server: LlmServer, tmp_path: Path
) -> None:
    env = environment(PYTHONWARNINGS="ignore", OPENAI_API_KEY=None, ANTHROPIC_API_KEY=None)
    done = run(BIN / "pocketflow-otel", "run", "--dir", tmp_path, APP, server.url, env=env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (file,) = tmp_path.glob("*.json")
    trace = json.loads(file.read_text(encoding="utf-8"))
    counted = {
        model: {name: said[name] for name in ("calls", "input_tokens", "output_tokens")}
        for model, said in trace["summary"]["models"].items()
    }
    assert counted == {model: dict(sent) for model, sent in server.sent.items()}
    assert {model: sent["calls"] for model, sent in server.sent.items()} == {
        "gpt-4o-mini": 7,
        "claude-haiku-4-5": 7,
    }
    steps = {event["name"]: event["tokens"] for event in trace["events"] if event["type"] == "node_complete"}
    assert sum(steps.values()) == trace["summary"]["total_tokens"]
    assert min(steps.values()) > 0
    # The price table was there in time for the run's total: nothing waits, nothing is unknown.
    assert (trace["summary"]["unpriced_calls"], trace["summary"]["total_cost"] > 0) == (0, True)
