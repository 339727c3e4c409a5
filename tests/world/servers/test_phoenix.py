"""What a real Phoenix makes of our spans: kinds, the graph, tokens and cost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from tests.support.patience import AT_THE_END
from tests.support.processes import BIN, environment, run, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = """
from pocketflow import Flow, Node
from pocketflow_otel import using

class Ask(Node):
    def post(self, shared, prepared, executed):
        shared["answer"] = "42"
        shared["llm_usage"] = {"prompt_tokens": 100, "completion_tokens": 50, "model": "gpt-4o-mini"}

class Check(Node):
    pass

ask = Ask()
ask >> Check()
flow = Flow(start=ask)
flow.name = "qa"
with using(session_id="chat-7"):
    flow.run({"question": "why?", "secret": "x"})
"""
QUERY = """{projects{edges{node{name tokenCountTotal costSummary{total{cost}} spans(first:10){edges{node{
name spanKind tokenCountTotal input{value} output{value} attributes costSummary{total{cost}}}}}}}}}"""

EXPECTED = {
    "tokens": 150,
    "cost": 0.000045,
    "kinds": {"invoke_workflow qa": "chain", "invoke_node Ask": "llm", "invoke_node Check": "chain"},
    "edges": {"invoke_workflow qa": None, "invoke_node Ask": "qa", "invoke_node Check": "Ask"},
    "output": '{"answer":"42"}',
    "session": "chat-7",
    "secret": False,
}
PATIENCE = 240.0
"""Seconds until Phoenix has begun, or has written and priced what it was sent: it does so in batches."""


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a Phoenix by protocol."""
    folder = tmp_path_factory.mktemp("phoenix")
    http, grpc = free_ports(2)
    variables = {
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(http),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_WORKING_DIR": str(folder),
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [BIN / "phoenix", "serve"], env=os.environ | variables, stdout=log, stderr=log
        ) as process,
    ):
        try:
            until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{http}/healthz"))
            assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")[-2000:]
            yield {"http/protobuf": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}
        finally:
            process.terminate()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10):
            return True
    except OSError:
        return False


def until(found: Callable[[], Any]) -> Any:
    """Return what is found at last, or nothing; another program has no event to wait for."""
    end = time.monotonic() + PATIENCE
    while not (result := found()) and time.monotonic() < end:
        time.sleep(0.2)
    return result


def ask(phoenix: str, project: str) -> dict[str, Any] | None:
    """Return what Phoenix says of a project that has all spans and their cost."""
    body = json.dumps({"query": QUERY}).encode()
    request = Request(f"{phoenix}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE) as response:
        projects = json.load(response)["data"]["projects"]["edges"]
    for node in (edge["node"] for edge in projects if edge["node"]["name"] == project):
        spans = {edge["node"]["name"]: edge["node"] for edge in node["spans"]["edges"]}
        attributes = {name: json.loads(span["attributes"]) for name, span in spans.items()}
        if len(spans) == 3 and node["costSummary"]["total"]["cost"]:
            return {
                "tokens": node["tokenCountTotal"],
                "cost": round(node["costSummary"]["total"]["cost"], 9),
                "kinds": {name: span["spanKind"] for name, span in spans.items()},
                "edges": {
                    name: said.get("graph", {}).get("node", {}).get("parent_id")
                    for name, said in attributes.items()
                },
                "output": spans["invoke_node Ask"]["output"]["value"],
                "session": attributes["invoke_workflow qa"]["session"]["id"],
                "secret": "secret" in json.dumps([span["input"] for span in spans.values()]),
            }
    return None


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_phoenix_shows_kinds_graph_tokens_and_cost(
    phoenix: dict[str, str], tmp_path: Path, protocol: str
) -> None:
    project = f"pocketflow-{protocol[:4]}"
    write(tmp_path / "app.py", AT_THE_END + APP)
    env = environment(
        OTEL_EXPORTER_OTLP_ENDPOINT=phoenix[protocol],
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_RESOURCE_ATTRIBUTES=f"openinference.project.name={project}",
        POCKETFLOW_OTEL_COMPAT="openinference",
        POCKETFLOW_OTEL_CAPTURE_VALUES="question,answer",
        POCKETFLOW_OTEL_CONSOLE="off",
    )
    done = run(BIN / "pocketflow-otel", "run", "app.py", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert until(lambda: ask(phoenix["http/protobuf"], project)) == EXPECTED
