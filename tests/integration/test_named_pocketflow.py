"""Copies of PocketFlow under other names, which the program imports, or has in its own file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.own_copies import COPY, HELLO, with_import
from tests.support.processes import BIN, PYTHON, environment, ours, run, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NAMED = {"POCKETFLOW_OTEL_MODULES": "mypkg.pocketflow"}
IN_MAIN = {"POCKETFLOW_OTEL_MODULES": "__main__"}


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "traces"
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a program that has a copy in a package, and one that has it in its file."""
    write(tmp_path / "mypkg" / "__init__.py", "")
    write(tmp_path / "mypkg" / "pocketflow.py", COPY)
    write(tmp_path / "app.py", with_import("mypkg.pocketflow"))
    write(tmp_path / "single.py", COPY + HELLO)
    return tmp_path


def flows(traces: Path) -> list[tuple[str, list[str]]]:
    """Return flow and steps of each trace file."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(traces.glob("*.json"))]
    return [
        (file["flow"], [event["name"] for event in file["events"] if event["type"] == "node_complete"])
        for file in files
    ]


@pytest.mark.parametrize(
    "command",
    [
        [BIN / "pocketflow-otel", "run", "app.py"],
        [BIN / "pocketflow-otel", "run", "-m", "app"],
        [BIN / "pocketflow-otel", "run", "app.py:greeting"],
        [BIN / "opentelemetry-instrument", PYTHON, "app.py"],
    ],
    ids=["run", "run -m", "run app.py:flow", "opentelemetry-instrument"],
)
def test_the_variable_has_a_copy_traced_however_the_program_is_started(
    folder: Path, traces: Path, command: list[str]
) -> None:
    result = run(*command, cwd=folder, env=environment(**NAMED, OTEL_PYTHON_DISTRO="pocketflow"))

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert flows(traces) == [("greeting", ["Greet"])]


@pytest.mark.parametrize(
    "command",
    [
        [BIN / "pocketflow-otel", "run", "single.py"],
        [BIN / "pocketflow-otel", "run", "-m", "single"],
        [BIN / "pocketflow-otel", "run", PYTHON, "-m", "runpy", "single"],
        [BIN / "opentelemetry-instrument", PYTHON, "single.py"],
    ],
    ids=["run", "run -m", "run python -m runpy", "opentelemetry-instrument"],
)
def test_a_program_may_have_pocketflow_in_its_own_file(
    folder: Path, traces: Path, command: list[str]
) -> None:
    result = run(*command, cwd=folder, env=environment(**IN_MAIN, OTEL_PYTHON_DISTRO="pocketflow"))

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert flows(traces) == [("greeting", ["Greet"])]


def test_a_file_whose_flow_is_named_is_a_module(folder: Path, traces: Path) -> None:
    result = ours("run", "single.py:greeting", cwd=folder, env=environment(POCKETFLOW_OTEL_MODULES="single"))

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert flows(traces) == [("greeting", ["Greet"])]


CONFIGURE = "import pocketflow_otel\npocketflow_otel.configure(console='off', modules=['__main__'])\n"


@pytest.mark.parametrize("when", ["before the classes", "after them", "amid them", "at the end"])
def test_a_program_may_name_its_own_file_at_any_time(folder: Path, traces: Path, when: str) -> None:
    definitions, runs = HELLO.split("if __name__")
    texts = {
        "before the classes": CONFIGURE + COPY + HELLO,
        "after them": COPY + CONFIGURE + HELLO,
        "amid them": COPY.replace("class Flow(", CONFIGURE + "class Flow(") + HELLO,
        "at the end": COPY + definitions + CONFIGURE + "if __name__" + runs,
    }
    write(folder / "single.py", texts[when])
    result = run(PYTHON, "single.py", cwd=folder)

    assert (result.returncode, result.stdout, result.stderr) == (0, "hello\n", "")
    assert flows(traces) == [("greeting", ["Greet"])]


BEFORE = """
import warnings
class Warned:
    def __init_subclass__(cls): warnings.warn("a subclass", stacklevel=2)
class Subclass(Warned):
    pass
"""
AFTER = """
import builtins, inspect
print(builtins.__build_class__, sorted(vars(BaseNode)), inspect.signature(Flow), inspect.getsource(Flow))
"""


def test_a_program_with_pocketflow_in_its_own_file_cannot_tell(folder: Path, traces: Path) -> None:
    """What listens to class statements is gone once the program has a class of its own."""
    definitions, runs = HELLO.split("if __name__")
    write(folder / "single.py", f"{BEFORE}{COPY}{definitions}{AFTER}if __name__{runs}")
    bare = run(PYTHON, "single.py", cwd=folder)
    traced = ours("run", "single.py", cwd=folder, env=environment(**IN_MAIN))
    hidden = traced.stdout.replace("'__init_subclass__', ", "")

    assert (traced.returncode, hidden) == (0, bare.stdout)
    assert "single.py:5: UserWarning: a subclass" in bare.stderr
    assert traced.stderr.startswith(bare.stderr)
    assert flows(traces) == [("greeting", ["Greet"])]


PARENT = """
import os, subprocess, sys
import pocketflow_otel
from pocketflow_otel import startup_variables
settings = {"by": "pocketflow-otel", "console": None, "directory": None, "endpoint": None, "pythonpath": None}
given = {**os.environ, **startup_variables.variables(settings), "POCKETFLOW_OTEL_CONSOLE": "off"}
child = subprocess.run([sys.executable, "app.py"], env=pocketflow_otel.child_environment(given))
sys.exit(child.returncode)
"""


def test_children_that_are_traced_have_their_copy_traced(folder: Path, traces: Path) -> None:
    write(folder / "parent.py", PARENT)
    result = run(PYTHON, "parent.py", cwd=folder, env=environment(**NAMED))

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert flows(traces) == [("greeting", ["Greet"])]
