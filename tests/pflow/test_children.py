"""Processes that pflow starts: those of shell steps do not see us, unless that is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from tests.pflow.environments import ENDS
from tests.pflow.users import TRACED, User, outline, spans_of
from tests.support.patience import patient
from tests.support.processes import APP, write
from tests.support.receiver import Receiver, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pflow.commands import Commands


SHOW = """
import os, sys
print(sorted(os.environ.items()))
print(sys.argv, sys.flags, sys.path, sorted(sys.modules), sep="\\n")
"""
"""A child that tells all it can know of those who started it."""


# Untraced, as by default


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment without a package in it, and return its Python."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def seen(
    home: Path, version: str, launcher: str, elsewhere: Path, commands: Commands, **variables: str
) -> tuple[int, str]:
    """Return the exit code, and what the processes of a workflow see."""
    user = User(home, version, commands, **variables)
    write(user.work / "show.py", SHOW)
    done = user.run(launcher, "-p", "surroundings.pflow.md", f"elsewhere={elsewhere}")
    assert len(user.files()) == (launcher != "bare")
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("version", ENDS)
def test_a_shell_step_sees_what_it_sees_without_us(
    version: str, tmp_path: Path, elsewhere: Path, processes: Commands, forks: Commands
) -> None:
    home = tmp_path / "home"
    bare = seen(home, version, "bare", elsewhere, forks)
    traced = [seen(home, version, launcher, elsewhere, processes) for launcher in TRACED]

    assert bare[0] == 0
    assert bare[1].count("GREETING=hello\n") == 1
    assert bare[1].count("'builtins'") == 4  # Each Python told.
    assert traced == [bare] * len(TRACED)


def test_a_shell_step_sees_the_variables_of_the_user_and_no_more(
    tmp_path: Path, elsewhere: Path, forks: Commands
) -> None:
    home = tmp_path / "home"
    variables = {
        "PYTHONPATH": os.pathsep.join((str(tmp_path), patient(tmp_path / "lib"))),
        "POCKETFLOW_OTEL_CONSOLE": "summary",
        "OTEL_SERVICE_NAME": "reports",
    }
    with Receiver().running() as receiver:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{receiver.grpc_port}"
        bare = seen(home, "newest", "bare", elsewhere, forks, **variables)
        traced = [seen(home, "newest", launcher, elsewhere, forks, **variables) for launcher in TRACED]

    assert (bare[0], len(receiver.spans)) == (0, 14)
    assert traced == [bare] * len(TRACED)


# Traced, where it is asked for


PRINTED = '["* HELLO ADA *", "", "hello", "", "* HELLO BOB *", "", "* HELLO EVE *", ""]'
"""What each child of `calling` wrote to stdout and stderr."""

CALLING = (
    """\
invoke_workflow calling
  invoke_node call
    invoke_workflow linear
      invoke_node greet
      invoke_node shout {"result":"HELLO ADA"}
      invoke_node frame
  invoke_node call-program
    invoke_workflow greeting_flow
      invoke_node Greet
  invoke_node call-each
    batch_item
      invoke_workflow linear
        invoke_node greet
        invoke_node shout {"result":"HELLO BOB"}
        invoke_node frame
    batch_item
      invoke_workflow linear
        invoke_node greet
        invoke_node shout {"result":"HELLO EVE"}
        invoke_node frame
  invoke_node report {"result":"""
    + PRINTED
    + "}"
)
"""One trace out of five processes."""


@pytest.mark.parametrize(
    ("version", "launcher"),
    [("0.8.1", "instrument"), ("newest", "instrument"), ("newest", "run"), ("newest", "run -v")],
)
def test_a_traced_child_goes_on_with_the_trace_of_its_step(
    version: str, launcher: str, tmp_path: Path
) -> None:
    user = User(tmp_path / "home", version)
    write(user.work / "program.py", APP)
    variables = {"POCKETFLOW_OTEL_CHILDREN": "trace", "POCKETFLOW_OTEL_CAPTURE_VALUES": "result"}
    done = user.run(launcher, "-p", "calling.pflow.md", **variables)
    traces = user.all_traces()
    spans = spans_of(traces)

    assert (done.returncode, done.stdout.decode().replace("'", '"')) == (0, PRINTED + "\n")
    assert outline(spans, "pocketflow.shared.values") == CALLING
    assert len({span.trace_id for span in spans}) == 1
    assert [trace.summary.status for trace in traces] == ["ok"] * 5


@pytest.mark.parametrize("launcher", TRACED)
def test_a_python_that_has_nothing_of_ours_is_not_disturbed(
    launcher: str, tmp_path: Path, elsewhere: Path
) -> None:
    user = User(tmp_path / "home", "newest", POCKETFLOW_OTEL_CHILDREN="trace")
    write(user.work / "show.py", SHOW)
    done = user.run(launcher, "-p", "surroundings.pflow.md", f"elsewhere={elsewhere}")
    last = done.stdout.decode().rpartition("\n----\n")[2]

    assert (done.returncode, last) == (0, "to stderr\n\n")


# Those of `pflow ui`


def asked(url: str, workflow: str) -> None:
    """Ask the server of `pflow ui` for a run, as its page does; it may not have begun to listen."""
    body = json.dumps({"workflow": workflow, "inputs": {}}).encode()
    request = Request(f"{url}/api/run", body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(request, timeout=60) as response:
                assert json.load(response)["status"] == "spawned"
            return
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("launcher", TRACED)
def test_runs_that_are_asked_for_in_the_browser_are_traced(launcher: str, tmp_path: Path) -> None:
    user, port = User(tmp_path / "home", "newest"), free_port()
    server = user.start(launcher, "ui", "linear.pflow.md", "--port", str(port), "--no-open")
    try:
        asked(f"http://127.0.0.1:{port}", "linear.pflow.md")
        deadline = time.monotonic() + 60
        while [path.suffix for path in user.files()] != [".json"]:  # Not beside its journal, either.
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        server.terminate()
        _, stderr = server.communicate(timeout=60)

    assert outline(spans_of([user.trace()])) == (
        "invoke_workflow linear\n  invoke_node greet\n  invoke_node shout\n  invoke_node frame"
    )
    assert b"trace ~/" not in stderr  # It is the run's that goes nowhere.
