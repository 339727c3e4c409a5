"""What the resource says: program, process and machine."""

from __future__ import annotations

import os
import sys

import pytest

from pocketflow_otel.sdk.resource import default_attributes, program_name, resource


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "app.py"], "app"),
        (["python", "-u", "-X", "dev", "/flows/qa.py", "--fast"], "qa"),
        (["python", "/venv/bin/pflow", "run", "x.pflow.md"], "pflow"),
        (["python", "-m", "package.app", "-v"], "package.app"),
        (["python", "-m", "package.__main__"], "package"),
        (["python", "package/__main__.py"], "package"),
        (["python", "-m", "pocketflow_otel.cli.flow_runner", "flows/app.py:create"], "app"),
        (["python", "-c", "pass", "app.py"], "python"),
        (["python", "-"], "python"),
        (["python"], "python"),
    ],
    ids=str,
)
def test_a_service_is_called_like_its_program(command: list[str], name: str) -> None:
    assert program_name(command) == name


def test_the_resource_names_program_process_and_machine_and_no_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "app.py", "--key", "secret"])
    monkeypatch.setattr(sys, "argv", ["app.py", "--key", "secret"])
    attributes = default_attributes()
    assert attributes["service.name"] == "app"
    assert attributes["process.pid"] == os.getpid()
    assert {"host.name", "process.runtime.version", "telemetry.distro.version"} <= set(attributes)
    assert "secret" not in str(attributes)


def test_the_variables_win_over_what_is_found_and_an_argument_over_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = "service.name=mine,host.name=here,deployment.environment.name=test"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", variables)
    attributes = resource().attributes
    assert (attributes["service.name"], attributes["host.name"]) == ("mine", "here")
    assert attributes["deployment.environment.name"] == "test"
    assert resource("other").attributes["service.name"] == "other"
