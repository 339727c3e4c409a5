"""`pocketflow-otel demo`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.processes import environment, ours

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_answers_on_stdout_shows_its_run_on_stderr_and_names_its_trace_file(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    result = ours("demo", "--dir", folder, cwd=tmp_path)
    (path,) = folder.iterdir()
    lines = [re.sub(r"^ +\d+\.\d\ds ", "", line) for line in result.stderr.splitlines()]

    assert (result.returncode, result.stdout) == (
        0,
        "Go to Lisbon: yellow trams climb seven hills above the Tagus.\n",
    )
    assert lines[0].startswith("→ Flow: travel_advice ")
    assert lines[-2].startswith("ok  ")
    assert lines[-1].endswith(f"trace {path}")
    assert json.loads(path.read_text(encoding="utf-8"))["status"] == "ok"
    for shown in (
        r"    → AskModel ×4 parallel",
        r"      \[2\] ↻ attempt 1/3 failed: ConnectionError: 429: the model is busy.*; waiting 0.1s",
        r"      \[2\] ✓ .*2 attempts.*\(4/4\)",
        r"  ✓ Flow: research .*→ default",
        r"  → Review \(visit 2\)",
        r"  ✓ Answer .*→ done  \+answer −facts",
    ):
        assert [line for line in lines if re.fullmatch(shown + ".*", line)], shown


def test_without_an_option_the_trace_file_goes_where_the_environment_says(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    result = ours("demo", env=environment(POCKETFLOW_OTEL_DIR=str(folder)), cwd=tmp_path)
    (path,) = folder.iterdir()

    assert result.stderr.endswith(f"trace {path}\n")
