"""The live view as people meet it: in a real terminal, and on a stderr that is no good."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from tests.processes import BIN, PYTHON, environment

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def on_terminal(columns: int, *command: str | Path, **variables: str) -> str:
    """Run a command with a terminal as stdout and stderr, and return what it was sent."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    env = environment(TERM="xterm-256color", PYTHONIOENCODING="utf-8", NO_COLOR=None, FORCE_COLOR=None)
    with subprocess.Popen(
        [str(part) for part in command], stdin=end, stdout=end, stderr=end, env={**env, **variables}
    ) as process:
        os.close(end)
        sent = b""
        while True:
            try:
                read = os.read(terminal, 65536)
            except OSError:  # What Linux says when the other end is closed.
                break
            if not read:
                break
            sent += read
        assert process.wait() == 0
    os.close(terminal)
    return sent.decode().replace("\r\n", "\n")


def normalised(shown: str, directory: Path) -> str:
    """Take out what differs from run to run: times, shares, the run's id, the directory."""
    shown = shown.replace(str(directory), "DIR")
    shown = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "20261122T193012Z-7f3a91c2", shown)
    return re.sub(r"\(\d+%\)", "(33%)", re.sub(r"\d+\.\d\ds", "0.00s", shown))


@pytest.mark.parametrize("columns", [100, 80, 50])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
def test_the_demo_looks_right_on_a_terminal(columns: int, colour: bool, tmp_path: Path) -> None:
    """The snapshots are looked at by people; UPDATE_SNAPSHOTS=1 makes them anew."""
    variables = {} if colour else {"NO_COLOR": "1"}
    command = BIN / "pocketflow-otel", "demo", "--dir", tmp_path
    shown = normalised(on_terminal(columns, *command, **variables), tmp_path)
    snapshot = SNAPSHOTS / f"demo-{columns}-{'colour' if colour else 'plain'}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(shown, encoding="utf-8")
    assert shown == snapshot.read_text(encoding="utf-8")


APP = """
import os, sys, time
import pocketflow, pocketflow_otel

pocketflow_otel.configure()

class Work(pocketflow.Node):
    def exec(self, prep_res):
        {work}
        return 7

    def post(self, shared, prep_res, exec_res):
        print("answer", exec_res)

pocketflow.Flow(start=Work()).run({{}})
raise SystemExit(3)
"""


def outcome(work: str, redirection: str = "", **variables: str) -> tuple[int, str, str]:
    """Run a flow by the shell, and return exit code, stdout and stderr."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', PYTHON, APP.format(work=work)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(**variables),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("work", "redirection", "variables"),
    [
        ("pass", "2>&-", {}),
        ("pass", "2>/dev/full", {}),
        ("pass", "", {"PYTHONIOENCODING": "ascii"}),
        ("sys.stderr.close()", "", {}),
        ("os.close(2)", "", {}),
        ("sys.stderr.write = lambda text: 1 / 0", "", {}),
    ],
    ids=["closed", "full", "ascii", "closed amid", "descriptor closed amid", "write raises"],
)
def test_a_stderr_that_is_no_good_changes_nothing(
    work: str, redirection: str, variables: dict[str, str]
) -> None:
    assert outcome(work, redirection, **variables)[:2] == (3, "answer 7\n")


def test_lines_of_the_application_stay_whole() -> None:
    work = (
        "sys.stderr.write('loading'); sys.stderr.flush(); "
        "__import__('logging').warning('logged'); "
        "__import__('subprocess').run(['sh', '-c', 'echo from a child >&2']); "
        "[(sys.stderr.write(f'\\r{done}/3'), sys.stderr.flush()) for done in range(4)]"
    )
    code, printed, shown = outcome(work)
    lines = [re.sub(r"\d+\.\d\ds", "0.00s", line) for line in shown.splitlines() if line]
    assert (code, printed) == (3, "answer 7\n")
    assert lines[1:8] == [
        "  0.00s   → Work",
        "loadingWARNING:root:logged",
        "from a child",
        "0/3",
        "1/3",
        "2/3",
        "3/3",
    ]
    assert lines[8] == "  0.00s   ✓ Work 0.00s  → default"


IMPATIENT = """
from pocketflow_otel.export.console import ConsoleView
ConsoleView.__init__.__kwdefaults__["silence"] = 0.5
"""


def test_a_step_says_that_it_still_runs_after_a_silence() -> None:
    """Ten seconds of silence, shortened: the step goes on when its line has come."""
    with subprocess.Popen(
        [PYTHON, "-c", IMPATIENT + APP.format(work="sys.stdin.readline()")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("…"))
        printed, _ = process.communicate("\n", timeout=180)
    assert re.fullmatch(r"… still running: Work \ds\n", line)
    assert (process.returncode, printed) == (3, "answer 7\n")
