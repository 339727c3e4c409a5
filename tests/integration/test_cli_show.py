"""`show` and its like in a process: what encoding, shell and terminal make of them."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support.processes import PYTHON, run
from tests.support.saved import create_flow, save

if TYPE_CHECKING:
    from pathlib import Path

MAIN = "from pocketflow_otel.cli.main import main; main(prog_name='pocketflow-otel')"


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = save(tmp_path_factory.mktemp("failed"), create_flow())
    return path


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "--gantt"], ["show", "--markdown"], ["replay", "--speed", "0"], ["graph"]],
    ids=str,
)
def test_where_only_ascii_can_be_said_it_is(failed: Path, arguments: list[str]) -> None:
    command, *options = arguments
    done = run(PYTHON, "-c", MAIN, command, failed, *options, env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout.isascii(), done.stderr) == (0, True, "")


def test_runs_are_completed_in_the_shell(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow())
    asked = {
        "_POCKETFLOW_OTEL_COMPLETE": "bash_complete",
        "COMP_WORDS": "pocketflow-otel show ",
        "COMP_CWORD": "2",
        "POCKETFLOW_OTEL_DIR": str(tmp_path),
    }
    done = run(PYTHON, "-c", MAIN, env=asked)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == ["last", path.stem]


def test_what_is_long_goes_through_the_pager_of_a_terminal(failed: Path, tmp_path: Path) -> None:
    outputs = []
    for rows in (5, 60):
        leader, follower = pty.openpty()
        environ = {
            **os.environ,
            "PAGER": f"tee {tmp_path}/paged{rows}",
            "TERM": "xterm",
            "LINES": str(rows),
            "COLUMNS": "99",
        }
        child = subprocess.Popen(
            [PYTHON, "-c", MAIN, "show", failed],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environ,
        )
        os.close(follower)
        told = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:
                break
            told += piece
        os.close(leader)
        assert child.wait(30) == 0
        outputs.append(told)
    assert [(tmp_path / f"paged{rows}").exists() for rows in (5, 60)] == [True, False]
    assert all(b"Flaky" in told for told in outputs)
