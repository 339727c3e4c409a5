"""Ctrl-C at any moment leaves nothing of a run behind: a part of what `tests/soak/interrupts.py` tries."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.processes import PYTHON, run

ROOT = Path(__file__).parents[2]
COUNT = 60


def test_interrupted_runs_leave_nothing_behind() -> None:
    done = run(PYTHON, "-m", "tests.soak.interrupts", "--kind", "sync", "--interrupts", str(COUNT), cwd=ROOT)

    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["left"] == {}
    assert sum(found["interrupts"].values()) == COUNT, done.stderr
