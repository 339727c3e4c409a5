"""What is run as a process, and that a fork in its place does what the process does."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.pflow.environments import NEWEST, VERSIONS, bin_of
from tests.pflow.features import PROCESSES, SCENARIOS
from tests.pflow.pairs import perform
from tests.support.processes import write

from pocketflow_otel import Config
from pocketflow_otel.instrument.import_hooks import ImportHooks
from pocketflow_otel.instrument.pflow import patcher
from pocketflow_otel.instrument.tracer import FlowTracer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pflow.commands import Commands
    from tests.pflow.features import Scenario
    from tests.pflow.servers import Server


# Which


def run_as_processes(version: str) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if scenario.name in PROCESSES[version]]


def test_thirty_scenarios_are_run_as_processes_and_some_with_each_version() -> None:
    run = {version: run_as_processes(version) for version in VERSIONS}

    assert {version: len(scenarios) for version, scenarios in run.items()} == {
        version: len(set(names)) for version, names in PROCESSES.items()
    }
    assert all(scenario.is_for(version) for version in VERSIONS for scenario in run[version])
    assert sum(map(len, run.values())) >= 30
    assert min(map(len, run.values())) >= 5


def test_each_exit_code_is_that_of_a_process() -> None:
    """So is each signal: see `test_processes`."""
    codes = {
        code
        for version in VERSIONS
        for scenario in run_as_processes(version)
        for code in scenario.codes_of(version)
    }

    assert codes == {0, 1, 2, 3, 4}
    assert codes == {code for each in SCENARIOS for version in VERSIONS for code in each.codes_of(version)}


ELSEWHERE: Final = {
    "pflow.execution.gate_prompt",  # A gate on a terminal: `test_terminal`.
    "pflow.ui.server",  # `pflow ui`: `test_children`.
}
"""Modules that other tests have processes import."""
TELLING: Final = """
import atexit, json, os, sys

@atexit.register
def tell():
    with open(os.environ["IMPORTED"], "a") as file:
        json.dump(sorted(name for name in sys.modules if name.startswith("pflow")), file)
        file.write("\\n")
"""
"""A `sitecustomize` that notes which modules of pflow a Python has imported."""


@pytest.mark.parametrize("version", VERSIONS)
def test_each_hook_on_an_import_is_reached_by_a_process(
    version: str, tmp_path: Path, server: Server, forks: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "telling" / "sitecustomize.py", TELLING)
    telling = {"PYTHONPATH": str(tmp_path / "telling"), "IMPORTED": str(tmp_path / "imported")}
    for scenario in run_as_processes(version):
        told = replace(scenario, variables=scenario.variables | telling)
        perform(told, version, tmp_path / "home", server, forks, traced=False)
    lines = (tmp_path / "imported").read_text().splitlines()

    assert (
        hooked(version, monkeypatch) - ELSEWHERE - {name for line in lines for name in json.loads(line)}
        == set()
    )


def hooked(version: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the modules whose imports we wait for."""
    hooks: dict[str, Any] = {}
    monkeypatch.setattr(ImportHooks, "add", lambda self, name, hook: hooks.update({name: hook}))
    patcher.PflowPatcher(FlowTracer(Config())).patch()
    package = ModuleType("pflow")
    package.__path__ = [str(path) for path in bin_of(version).parent.glob("lib/python*/site-packages/pflow")]
    hooks["pflow"](package)
    return set(hooks)


# How


PROGRAM: Final = """
import atexit, os, random, signal, sys, threading, time

print(sys.argv, os.getcwd(), sorted(os.environ.items()), sys.flags, __name__, __file__)
print([name for name in sys.modules if name.startswith(("pflow", "pocketflow"))], sys.path[:2])
print(repr(sys.stdin.read()), [os.isatty(number) for number in range(3)])
print([(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering)
       for stream in (sys.stdin, sys.stdout, sys.stderr)])
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGPIPE))
print(threading.enumerate() == [threading.main_thread()], file=sys.stderr)
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.05), print("a thread's end"))).start()
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(3)", "sys.exit('in words')", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(4)"]
)
@pytest.mark.parametrize("stdin", [None, b"piped in"])
def test_a_fork_begins_and_ends_as_a_process_does(
    end: str, stdin: bytes | None, tmp_path: Path, processes: Commands, forks: Commands
) -> None:
    program = write(tmp_path / "program.py", PROGRAM + end)
    env = {"HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "LC_CTYPE": "C.UTF-8"}
    process, fork = (
        commands.run([bin_of(NEWEST) / "python", str(program), "given"], cwd=tmp_path, env=env, stdin=stdin)
        for commands in (processes, forks)
    )

    assert fork.returncode == process.returncode
    assert fork.stdout.splitlines() == process.stdout.splitlines()
    assert fork.stderr.splitlines() == process.stderr.splitlines()
