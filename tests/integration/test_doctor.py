"""`pocketflow-otel doctor` in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.processes import environment, ours
from tests.support.receiver import closed_port

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


def test_a_limit_by_which_the_sdk_fails_is_found_and_the_endpoint_still_tried(tmp_path: Path) -> None:
    with closed_port() as port:
        env = environment(
            OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="many", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}"
        )
        result = ours("doctor", env=env, cwd=tmp_path)

    assert (result.returncode, result.stderr) == (1, "")
    assert "PROBLEM OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=many is no number" in result.stdout
    assert f"PROBLEM the OTLP endpoint http://127.0.0.1:{port} takes no spans" in result.stdout
