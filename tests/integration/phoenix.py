"""Check what a Phoenix that runs makes of our spans: `python tests/integration/phoenix.py`.

    pip install arize-phoenix && phoenix serve

A run is sent over HTTP and another over gRPC, each to a project of its own. Then Phoenix is asked
for kinds, the graph, tokens and cost. Exits with 1 when something is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

PROGRAM = """
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


def send(project: str, protocol: str, endpoint: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(PROGRAM, encoding="utf-8")
        environ = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={project}",
            "POCKETFLOW_OTEL_COMPAT": "openinference",
            "POCKETFLOW_OTEL_CAPTURE_VALUES": "question,answer",
            "POCKETFLOW_OTEL_CONSOLE": "off",
            "POCKETFLOW_OTEL_DIR": folder,
        }
        command = [str(Path(sys.executable).parent / "pocketflow-otel"), "run", "app.py"]
        subprocess.run(command, cwd=folder, env=environ, check=True)


def ask(phoenix: str, project: str) -> dict[str, Any] | None:
    """Return what Phoenix says of a project that has all spans and their cost."""
    body = json.dumps({"query": QUERY}).encode()
    request = Request(f"{phoenix}/graphql", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", default="http://localhost:6006", help="Phoenix, and its OTLP over HTTP")
    parser.add_argument("--grpc", default="http://localhost:4317", help="its OTLP over gRPC")
    options = parser.parse_args()
    wrong = 0
    for protocol, endpoint in (("http/protobuf", options.http), ("grpc", options.grpc)):
        project = f"pocketflow-{protocol[:4]}-{time.time_ns()}"
        send(project, protocol, endpoint)
        found = None
        for _ in range(30):  # Phoenix writes in batches, and prices later.
            found = ask(options.http, project)
            if found is not None:
                break
            time.sleep(1)
        print(protocol, "as it should be" if found == EXPECTED else "WRONG", json.dumps(found))
        wrong += found != EXPECTED
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
