"""`pocketflow-otel demo`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.support.pages import DEMO_SLOWEST, with_slowest
from tests.support.processes import environment, ours

if TYPE_CHECKING:
    from pathlib import Path


def test_the_demo_answers_on_stdout_shows_its_run_on_stderr_and_names_its_trace_file(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    result = ours("demo", "--dir", folder, cwd=tmp_path)
    (path,) = folder.iterdir()
    stderr = with_slowest(result.stderr, DEMO_SLOWEST)
    lines = [re.sub(r"^ +\d+\.\d\ds ", "", line) for line in stderr.splitlines()]

    assert (result.returncode, result.stdout) == (
        0,
        "Go to Lisbon: yellow trams climb seven hills above the Tagus.\n",
    )
    assert lines[0].startswith("→ Flow: travel_advice ")
    assert re.fullmatch(r"ok  \d+\.\d\ds · 8 steps · 10 LLM calls · 5,646 tokens · cost \$0\.0061", lines[-3])
    assert lines[-2].startswith("slowest AskModel ")
    assert lines[-1] == f"trace {path}"
    assert json.loads(path.read_text(encoding="utf-8"))["status"] == "ok"
    for shown in (
        r"    → AskModel ×4 parallel",
        r"      \[2\] ↻ attempt 1/3 failed: ConnectionError: 429: the model is busy.*; waiting 0.1s",
        r"      \[2\] ✓ .*2 attempts  \$0\.00020 · 213→10 tok · openai/gpt-5\.4-mini  \(4/4\)",
        r"    ✓ AskModel .*Σ \$0\.00081 · 4 calls",
        r"  ✓ Flow: research .*→ default  Σ \$0\.00061 · 3 calls",
        r"  → Review \(visit 2\)",
        r"  ✓ Answer .*→ done  \+answer −facts  \$0\.00086 · 1,402→16 tok \(91% cached\) · openai/gpt-5\.4",
    ):
        assert [line for line in lines if re.fullmatch(shown + ".*", line)], shown


def test_without_an_option_the_trace_file_goes_where_the_environment_says(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    result = ours("demo", env=environment(POCKETFLOW_OTEL_DIR=str(folder)), cwd=tmp_path)
    (path,) = folder.iterdir()

    assert result.stderr.endswith(f"trace {path}\n")
