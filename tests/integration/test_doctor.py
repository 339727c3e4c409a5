"""`pocketflow-otel doctor` in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.processes import environment, ours

if TYPE_CHECKING:
    from pathlib import Path


def test_the_command_itself_finds_a_broken_set_up(tmp_path: Path) -> None:
    env = environment(
        POCKETFLOW_OTEL_CONSOLE="loud", OTEL_PYTHON_DISTRO="pocketflow", OTEL_PYTHON_CONFIGURATOR="pocketflow"
    )
    result = ours("doctor", env=env, cwd=tmp_path)

    assert (result.returncode, result.stderr) == (1, "")
    assert (
        "PROBLEM POCKETFLOW_OTEL_CONSOLE='loud': choose one of live, summary, saved, off\n"
        "        unset POCKETFLOW_OTEL_CONSOLE\n"
    ) in result.stdout
    assert result.stdout.count("PROBLEM") == 1
