"""pflow called from Python: `configure()` traces it, run by run and thread by thread."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.pflow.environments import ENDS
from tests.pflow.homes import register
from tests.pflow.users import User, outline, spans_of
from tests.support.patience import AT_THE_END
from tests.support.receiver import Receiver, stay_silent, tcp_server

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from pathlib import Path


COMMANDS = """
import sys
from pocketflow_otel import configure

configure(console="off", capture_values=["stdout"])
assert not [name for name in sys.modules if name.partition(".")[0] == "pflow"]

from pflow.cli import cli_main

for name in ("ada", "bob"):
    sys.argv = ["pflow", "-p", "linear.pflow.md", f"name={name}"]
    try:
        cli_main()
    except SystemExit as ended:
        assert not ended.code
"""
"""Two commands, one after the other."""

THREADS = """
import threading
from pocketflow_otel import configure

configure(console="off")

from pflow.mcp_server.services.execution_service import ExecutionService

INPUTS = {"linear": {"name": "world"}, "batch-sequential": {}, "branch": {"size": 7}, "nested": {}}
together = threading.Barrier(len(INPUTS))


def run(name, wait=lambda: None):
    wait()
    ExecutionService.execute_workflow(f"{name}.pflow.md", INPUTS[name])


for name in INPUTS:
    run(name)
threads = [threading.Thread(target=run, args=(name, together.wait)) for name in INPUTS]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
"""Four workflows, first one after the other, then at once, as pflow's MCP server runs them."""

RUNS = """
import time
from pocketflow_otel import configure

configure(console="off")

from pflow.execution.result import RunnerConfig
from pflow.execution.runner import WorkflowRunner

WorkflowRunner().run("linear.pflow.md", {}, RunnerConfig())
%s
for pause in (%s):
    time.sleep(pause)
    WorkflowRunner().run("linear.pflow.md", {}, RunnerConfig())
"""
"""A run, and others after pauses."""

HELD_UP = """
from pocketflow_otel.sdk import flush
flush.FLUSH_SECONDS = 600.0
"""
"""From here on, a run that is held up is so for longer than a program of these tests may take."""


def user_of(home: Path, version: str) -> User:
    """Return one whose pflow has found its nodes already."""
    user = User(home, version)
    register(home, version)
    return user


def run(user: User, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [user.bin / "python", "-c", program],
        **user.surroundings(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("version", ENDS)
def test_two_commands_in_one_process_are_two_traces(version: str, tmp_path: Path) -> None:
    user = user_of(tmp_path / "home", version)
    done = run(user, COMMANDS)
    traces = user.all_traces()

    assert done.stdout == "* HELLO ADA *\n* HELLO BOB *\n"
    assert [outline(spans_of([trace])).count("\n") for trace in traces] == [3, 3]
    assert len({trace.summary.trace_id for trace in traces}) == 2
    values = [str(span.attributes.get(semconv.SHARED_VALUES)) for span in spans_of(traces)]
    assert [name for name in ("ADA", "BOB") if any(f"* HELLO {name} *" in value for value in values)] == [
        "ADA",
        "BOB",
    ]


@pytest.mark.parametrize("version", ENDS)
def test_runs_at_once_are_the_traces_that_they_are_one_after_the_other(version: str, tmp_path: Path) -> None:
    user = user_of(tmp_path / "home", version)
    run(user, THREADS)
    traces = user.all_traces()
    trees = sorted(outline(trace.spans) for trace in traces)

    assert len({trace.summary.trace_id for trace in traces}) == 8
    assert trees[::2] == trees[1::2] == sorted(set(trees))


def test_runs_apart_by_as_long_as_an_end_takes_lose_no_spans_to_a_slow_endpoint(tmp_path: Path) -> None:
    user = user_of(tmp_path / "home", "newest")
    with Receiver(delay=0.6).running() as receiver:
        done = run(
            user,
            RUNS % ("", "2.0,") + AT_THE_END,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}",
        )

    assert done.stderr == ""
    assert len(receiver.spans) == len(spans_of(user.all_traces())) == 8


def test_an_endpoint_that_does_not_answer_holds_up_the_first_run_alone(tmp_path: Path) -> None:
    user = user_of(tmp_path / "home", "newest")
    with tcp_server(stay_silent) as port:
        done = run(
            user,
            RUNS % (HELD_UP, "0, 0.3, 0.3"),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
        )

    (line,) = done.stderr.splitlines()
    assert line.startswith("pocketflow-otel: 16 of 16 spans did not reach 127.0.0.1:")
