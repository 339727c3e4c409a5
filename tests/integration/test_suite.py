"""What this suite promises of itself: its markers, its guard, what it needs, and where it may be started."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.processes import PYTHON, environment, run, write

if TYPE_CHECKING:
    import subprocess

TESTS = Path(__file__).parents[1]


def suite(folder: Path, tests: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run tests as if they stood in tests/unit."""
    for name in ("conftest.py", "support/effort.py", "support/needs.py", "unit/conftest.py"):
        write(folder / "tests" / name, (TESTS / name).read_text(encoding="utf-8"))
    write(folder / "tests" / "unit" / "test_sample.py", tests)
    write(folder / "pytest.ini", "[pytest]\naddopts = --import-mode=importlib -W ignore\npythonpath = .\n")
    return run(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder, **options)


PROCESSES = """
import os, subprocess, sys, pytest

@pytest.fixture(scope="module")
def started():
    subprocess.run([sys.executable, "-c", ""])

def test_fixture(started): pass

def test_caught():
    try:
        subprocess.run([sys.executable, "-c", ""])
    except BaseException:
        pass

def test_fork():
    if not os.fork():
        os._exit(0)

def test_none(): pass
"""


def test_a_test_in_the_folder_of_units_starts_no_process(tmp_path: Path) -> None:
    done = suite(tmp_path, PROCESSES)
    assert re.findall(r"^(?:FAILED|ERROR) tests/unit/test_sample\.py::(\w+)", done.stdout, re.MULTILINE) == [
        "test_caught", "test_fork", "test_fixture",
    ]  # fmt: skip
    assert "1 passed" in done.stdout


def test_each_test_has_the_marker_of_its_folder(request: pytest.FixtureRequest) -> None:
    assert {marker.name for marker in request.node.iter_markers()} == {"integration"}


NEEDS = """
import pytest
from tests.support.needs import needs_program

@pytest.mark.needs_program("surely-not-there")
def test_marked(): pass

def test_called(): needs_program("surely-not-there")

def test_there(): needs_program("sh")
"""


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [(None, "1 passed, 2 skipped"), ("true", "1 failed, 1 passed, 1 error")],
    ids=["here", "ci"],
)
def test_a_missing_program_is_a_skip_here_and_a_failure_in_ci(
    tmp_path: Path, ci: str | None, outcome: str
) -> None:
    done = suite(tmp_path, NEEDS, env=environment(CI=ci))
    assert outcome in done.stdout
    assert ("surely-not-there is not installed: .ci/run" in done.stdout) == (ci is not None)


INTERRUPTED = f"""
import signal, subprocess, sys

def test_it():
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), {signal.SIGINT})"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        assert child.wait() == -{signal.SIGINT}
"""


def test_children_can_be_interrupted_though_the_suite_was_started_in_the_background(tmp_path: Path) -> None:
    suite(tmp_path, "")
    write(tmp_path / "tests" / "integration" / "test_it.py", INTERRUPTED)
    command = f"trap '' INT; exec {PYTHON} -m pytest -q tests/integration"
    done = run("sh", "-c", command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
