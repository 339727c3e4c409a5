"""Processes that share a directory of traces, and prune it."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.support.processes import PYTHON
from tests.support.retention import NOW, make

if TYPE_CHECKING:
    from pathlib import Path


def test_processes_that_prune_at_once_do_each_other_no_harm(tmp_path: Path) -> None:
    paths = make(tmp_path, 600, every=timedelta(minutes=1))
    program = (
        "import sys; from pathlib import Path; from pocketflow_otel.traces.retention import Keep, prune;"
        f"print(len(prune(Path(sys.argv[1]), Keep(runs=50), now={NOW.timestamp()})))"
    )
    started = [
        subprocess.Popen([PYTHON, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    removed = [int(process.communicate(timeout=180)[0]) for process in started]
    assert (sum(removed), {process.returncode for process in started}) == (550, {0})
    assert sorted(tmp_path.iterdir(), reverse=True) == paths[:50]
