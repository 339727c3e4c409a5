"""Imported runs in the commands that read runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from tests.support.command_line import run
from tests.support.pflow_traces import ALL, name_of, steps_of
from tests.support.receiver import Receiver

from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import run_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("imported")
    result = run("import-pflow", "--dir", place, *ALL)
    assert (result.exit_code, result.stderr) == (0, f"{len(ALL)} runs imported\n")
    return place


def test_list_has_them_with_how_they_ended(place: Path) -> None:
    content = json.loads(run("list", "--dir", place, "-n", 0, "--json").stdout)
    ended: dict[str, int] = {}
    for row in content:
        ended[row["status"]] = ended.get(row["status"], 0) + 1
    assert ended == {"ok": 13, "failed": 8, "degraded": 4, "interrupted": 2, "denied": 1, "paused": 1}
    assert len(run("list", "--dir", place, "-n", 0).stdout.splitlines()) == 1 + len(ALL)


def test_show_draws_the_tree(place: Path) -> None:
    text = run("show", "--dir", place, "6f576483").stdout
    shown = re.sub(r"  \d+\.\d\ds(?: \(\d+%\))?", "", text)
    assert shown.partition(" steps (1 failed)\n")[2] == (
        """\
⚠ Flow: batchbad
├─ ✓ words  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code (+1 more)
└─ ⚠ each ×2 parallel  1/2 failed  +results +count +success_count +error_count +errors (+1 more)
   │  ⚠ warning
   ├─ ✓ [0]
   │  └─ ✓ Flow: badchild
   │     └─ ✓ check  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code (+1 more)
   └─ ✗ [1]  shell_failure
      └─ ✗ Flow: badchild  shell_failure
         └─ ✗ check  shell_failure  → error  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code\
 (+2 more)
"""
    )


def test_stats_add_them_up(place: Path) -> None:
    rows = json.loads(run("stats", "--dir", place, "--by", "model", "--json").stdout)
    assert {row["name"]: (row["count"], row["tokens"]) for row in rows} == {
        "gpt-4o-mini": (6, 1080), "gpt-4o-mini-local": (3, 450), "openai/gpt-4o-mini": (3, 432),
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_send_takes_them(path: Path, place: Path) -> None:
    run_of = run_id(read(path))
    receiver = Receiver()
    with receiver.running():
        result = run("send", "--dir", place, run_of, "--otlp", f"http://127.0.0.1:{receiver.http_port}")
    assert result.exit_code == 0, result.output
    assert sorted(span["name"] for span in receiver.spans) == sorted(
        step.span.name for step in steps_of(path)
    )


@pytest.mark.parametrize(
    "command",
    ["replay --speed 0", "graph", "show --gantt", "show --events", "show --markdown", "export --format csv"],
)
def test_every_view_takes_them(command: str, place: Path) -> None:
    name, *options = command.split()
    for path in ALL:
        assert run(name, "--dir", place, run_id(read(path)), *options).exit_code == 0
