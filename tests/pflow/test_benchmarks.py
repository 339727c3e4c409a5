"""The benchmarks run and print every row; how fast anything is, a test cannot tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmarks_print_every_comparison_with_its_aim() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "--rounds", "2"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Of two rounds, noise may make a difference less than nothing.
    rows = [
        re.sub(r"-?\d+\.\d+|(?<=\+ )-?\d+(?= ms)", "N", line, count=3) for line in done.stdout.splitlines()
    ]
    assert [re.split(r"  +", row.strip()) for row in rows] == [
        ["CPU time per step in µs", "ours", "other", "result", "at most"],
        ["traced step / SDK span", "N", "N", "× N"],
        ["(traced − bare step) / SDK span", "N", "N", "× N", "× 1.5"],
        ["traced step / step with a span by hand", "N", "N", "× N"],
        ["step without an SDK − bare step", "N", "N", "+ N µs", "+ 1 µs"],
        ["1,000 keys / 10 keys", "N", "N", "× N", "× 1.6"],
        ["10,000 keys / 10 keys", "N", "N", "× N"],
        ["a chat of 50 messages / 10 plain keys", "N", "N", "× N"],
        ["CPU time per process in ms", "ours", "other", "result", "at most"],
        ["pflow --version: launcher with / without ours", "N", "N", "+ N ms"],
        ["pflow --version: launcher with ours / bare", "N", "N", "+ N ms"],
        ["pflow run, 20 steps: launcher with ours / bare", "N", "N", "+ N ms"],
    ]
