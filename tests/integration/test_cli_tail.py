"""`tail`: a run of another process, while it goes."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.support.command_line import run
from tests.support.processes import PYTHON

from pocketflow_otel.traces import follow
from pocketflow_otel.views.styled_text import render
from pocketflow_otel.views.tail import tail_lines

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


PROGRAM = """
import sys, pocketflow, pocketflow_otel

class Wait(pocketflow.Node):
    def exec(self, prepared):
        print("waiting", flush=True)
        sys.stdin.readline()

first = pocketflow.Node()
first >> Wait() >> pocketflow.Node()
pocketflow_otel.configure()
pocketflow.Flow(start=first).run({})
"""


def start(place: Path) -> subprocess.Popen[str]:
    """Start a run that waits in its second step."""
    process = subprocess.Popen(
        [PYTHON, "-c", PROGRAM],
        env={**os.environ, "POCKETFLOW_OTEL_DIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


def without_times(text: str) -> list[str]:
    return re.sub(r"\d+\.\d\ds", "0.00s", text).splitlines()


def test_a_run_is_told_as_it_goes_and_as_its_own_process_tells_it(tmp_path: Path) -> None:
    process = start(tmp_path)
    (path,) = tmp_path.iterdir()
    told: list[str] = []
    first = threading.Event()

    def follow() -> None:
        for line in tail_lines(path):
            told.append(render(line))
            first.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert first.wait(60)
    assert thread.is_alive()
    assert "1 step" in run("show", path).stdout
    assert "it still goes · running Wait" in run("show", "last", "--dir", tmp_path).stdout
    assert "  running " in run("list", "--dir", tmp_path).stdout
    _, stderr = process.communicate("go\n", timeout=60)
    thread.join(60)
    assert without_times("\n".join(told)) == without_times(stderr)


def test_a_run_whose_process_is_killed_ends_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(tmp_path)

    def kill(_: float) -> None:
        process.kill()
        process.communicate()

    monkeypatch.setattr(follow, "time", SimpleNamespace(sleep=kill))  # when it has been looked at once
    result = run("tail", "--dir", tmp_path)
    assert result.exit_code == 0
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"INTERRUPTED · \d\.\d\ds · its process is gone; it was in Wait", last)
