"""A program with a PocketFlow of its own runs that one, however it is started, and is traced."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.support.own_copies import COPY
from tests.support.processes import BIN, PYTHON, environment, ours, run, write

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.integration

STEPS = """
import importlib, importlib.util, inspect, os, sys
import pocketflow
from pocketflow import Flow, Node

class Step(Node):
    def post(self, shared, prep_res, exec_res):
        shared["n"] = shared.get("n", 0) + 1

class Report(Node):
    def post(self, shared, prep_res, exec_res):
        print(shared["n"], os.path.relpath(pocketflow.__file__, os.path.dirname(__file__)), flush=True)

def create_counting_flow():
    step = Step()
    step >> Report()
    return Flow(start=step)
"""
"""A module with a flow of two steps, which says whose PocketFlow it is that runs it."""

MAIN = 'if __name__ == "__main__":\n    print(create_counting_flow().run({}))\n'

SEEN = """
spec, loader = pocketflow.__spec__, pocketflow.__loader__
print(type(spec), spec.name, spec.parent, os.path.basename(spec.origin), type(loader), spec.loader is loader)
print(vars(loader), sorted(vars(pocketflow)), type(sys.modules["pocketflow"]))
print(inspect.getsource(pocketflow), inspect.getsource(Flow.run), Flow.run.__module__, Flow.run.__qualname__)
found = importlib.util.find_spec("pocketflow")
print(found is spec, isinstance(found.loader, importlib.machinery.SourceFileLoader))
"""
"""Says what a program can see of how its PocketFlow was imported."""


def own(folder: Path, *, single: bool = False, text: str = COPY) -> Path:
    return write(folder / ("pocketflow.py" if single else "pocketflow/__init__.py"), text)


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "traces"
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a program and its own PocketFlow; another one lies where it is started from."""
    own(tmp_path / "program")
    write(tmp_path / "program" / "app.py", STEPS + MAIN)
    return tmp_path / "program"


def steps(traces: Path) -> list[list[str]]:
    """Return the names of the steps in each trace file."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(traces.glob("*.json"))]
    return [[event["name"] for event in file["events"] if event["type"] == "node_complete"] for file in files]


LACKS = "it has no Flow and no Node that runs"
BOTH = ["Step", "Report"]


def assert_same(
    bare: subprocess.CompletedProcess[str], traced: subprocess.CompletedProcess[str], traces: Path
) -> None:
    assert (bare.returncode, bare.stderr) == (0, "")
    assert (traced.returncode, traced.stdout) == (0, bare.stdout), traced.stderr
    assert steps(traces) == [BOTH]
    assert [line for line in traced.stderr.splitlines() if "Trace saved" not in line] == []


@pytest.mark.parametrize("single", [False, True], ids=["package", "file"])
@pytest.mark.parametrize("target", [["app.py"], ["./app.py"], ["-m", "app"]], ids=" ".join)
def test_the_folder_of_a_program_wins(
    tmp_path: Path, traces: Path, target: list[str], *, single: bool
) -> None:
    own(tmp_path, single=single)
    write(tmp_path / "app.py", STEPS + MAIN)
    bare = run(PYTHON, *target, cwd=tmp_path)

    assert bare.stdout.splitlines()[-1] == "2"
    assert_same(bare, ours("run", *target, cwd=tmp_path), traces)


def test_a_program_may_be_started_from_another_folder(tmp_path: Path, folder: Path, traces: Path) -> None:
    bare = run(PYTHON, "program/app.py", cwd=tmp_path)

    assert bare.stdout == "1 pocketflow/__init__.py\n2\n"
    assert_same(bare, ours("run", "program/app.py", cwd=tmp_path), traces)


@pytest.mark.parametrize(
    ("where", "target"),
    [
        (".", "app.py:create_counting_flow"),
        ("..", "program/app.py:create_counting_flow"),
        (".", "app:create_counting_flow"),
        ("..", "program.app:create_counting_flow"),
    ],
)
def test_a_flow_that_is_named_runs_with_the_pocketflow_beside_it(
    folder: Path, traces: Path, where: str, target: str
) -> None:
    write(folder / "main.py", "import app\napp.create_counting_flow().run({})\n")
    cwd = (folder / where).resolve()
    package = target.startswith("program.")
    if package:  # Then the folder that is imported from is the one above.
        shutil.move(folder / "pocketflow", cwd / "pocketflow")
        write(cwd / "main.py", "from program import app\napp.create_counting_flow().run({})\n")
    bare = run(PYTHON, cwd / "main.py" if package else folder / "main.py", cwd=cwd)

    assert "pocketflow/__init__.py" in bare.stdout
    assert_same(bare, ours("run", target, cwd=cwd), traces)


def test_a_flow_in_a_file_does_not_take_the_pocketflow_of_where_it_is_started_from(
    tmp_path: Path, traces: Path
) -> None:
    own(tmp_path)
    write(tmp_path / "program" / "app.py", STEPS + MAIN.replace("print", ""))
    bare = run(PYTHON, "program/app.py", cwd=tmp_path)

    assert "site-packages" in bare.stdout
    assert_same(bare, ours("run", "program/app.py:create_counting_flow", cwd=tmp_path), traces)


def test_a_console_script_may_put_a_folder_on_the_path(tmp_path: Path, folder: Path, traces: Path) -> None:
    lines = f"#!{PYTHON}\nimport sys\nsys.path.insert(0, {str(folder)!r})\n"
    text = lines + "from app import create_counting_flow\nprint(create_counting_flow().run({}))\n"
    script = write(tmp_path / "bin" / "count", text)
    script.chmod(0o755)
    env = environment(PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    bare = run("count", env=env, cwd=tmp_path)

    assert bare.stdout == "1 pocketflow/__init__.py\n2\n"
    assert_same(bare, ours("run", "count", env=env, cwd=tmp_path), traces)


def test_a_program_may_change_the_path_before_it_imports(tmp_path: Path, folder: Path, traces: Path) -> None:
    text = f"import sys\nsys.path.insert(0, {str(folder)!r})\n{STEPS}{MAIN}"
    write(tmp_path / "elsewhere" / "app.py", text)
    bare = run(PYTHON, "elsewhere/app.py", cwd=tmp_path)

    assert "program/pocketflow" in bare.stdout
    assert_same(bare, ours("run", "elsewhere/app.py", cwd=tmp_path), traces)


def test_a_program_may_be_a_zip_file(tmp_path: Path, traces: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", STEPS + MAIN)
        archive.writestr("pocketflow/__init__.py", COPY)
    bare = run(PYTHON, "app.pyz", cwd=tmp_path)

    assert_same(bare, ours("run", PYTHON, "app.pyz", cwd=tmp_path), traces)


@pytest.mark.parametrize("where", [".", ".."])
def test_opentelemetrys_own_command_leaves_a_program_its_pocketflow(
    folder: Path, traces: Path, where: str
) -> None:
    variables = {"OTEL_PYTHON_DISTRO": "pocketflow", "OTEL_PYTHON_CONFIGURATOR": "pocketflow"}
    env = environment(**variables, POCKETFLOW_OTEL_CONSOLE="off", OTEL_PYTHON_LOG_LEVEL="error")
    cwd = (folder / where).resolve()
    app = (folder / "app.py").relative_to(cwd)
    bare = run(PYTHON, app, cwd=cwd)
    traced = run(BIN / "opentelemetry-instrument", PYTHON, app, cwd=cwd, env=env)

    assert (traced.returncode, traced.stdout) == (0, bare.stdout), traced.stderr
    assert "program" not in bare.stdout
    assert steps(traces) == [BOTH]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_may_configure_before_or_after_it_imports(folder: Path, traces: Path, when: str) -> None:
    configure = "import pocketflow_otel\npocketflow_otel.configure(console='off')\n"
    text = configure + STEPS if when == "before" else STEPS + configure
    write(folder / "app.py", STEPS + MAIN)
    bare = run(PYTHON, "app.py", cwd=folder)
    write(folder / "app.py", text + MAIN)

    assert_same(bare, run(PYTHON, "app.py", cwd=folder), traces)


def test_children_that_are_handed_the_trace_run_their_own_pocketflow(
    tmp_path: Path, folder: Path, traces: Path
) -> None:
    parent = """
import os, subprocess, sys
import pocketflow_otel
from pocketflow_otel import startup_variables
pocketflow_otel.configure(console="off")
settings = {"by": "pocketflow-otel", "console": None, "directory": None, "endpoint": None, "pythonpath": None}
given = {**os.environ, **startup_variables.variables(settings), "POCKETFLOW_OTEL_CONSOLE": "off"}
child = subprocess.run([sys.executable, "program/app.py"], env=pocketflow_otel.child_environment(given))
sys.exit(child.returncode)
"""
    write(tmp_path / "parent.py", parent)
    bare = run(PYTHON, "program/app.py", cwd=tmp_path)

    assert_same(bare, run(PYTHON, "parent.py", cwd=tmp_path), traces)


def test_a_program_sees_its_pocketflow_as_python_imports_it(folder: Path, traces: Path) -> None:
    write(folder / "app.py", STEPS + SEEN + MAIN)
    run(PYTHON, "app.py", cwd=folder)  # Leaves compiled files, as a first run does.
    bare = run(PYTHON, "app.py", cwd=folder)

    assert_same(bare, ours("run", "app.py", cwd=folder), traces)


@pytest.mark.parametrize(
    "again",
    [
        "importlib.reload(pocketflow)",
        "del sys.modules['pocketflow']\nimport pocketflow",
        "del sys.modules['pocketflow']\nsys.path.insert(0, 'other')\nimport pocketflow",
    ],
)
def test_a_pocketflow_that_is_imported_again_is_traced_again(folder: Path, traces: Path, again: str) -> None:
    own(folder / "other")
    first, rest = STEPS.split("from pocketflow import Flow, Node\n")
    write(folder / "app.py", f"{first}{again}\nfrom pocketflow import Flow, Node\n{rest}{MAIN}")
    bare = run(PYTHON, "app.py", cwd=folder)

    assert_same(bare, ours("run", "app.py", cwd=folder), traces)


@pytest.mark.parametrize(
    "body",
    ["raise ValueError('no')", "import nothing_of_the_kind", "def broken(:", "raise SystemExit(3)"],
)
def test_a_pocketflow_that_cannot_be_imported_fails_as_it_does_without_us(folder: Path, body: str) -> None:
    own(folder, text=COPY + body + "\n")
    bare, traced = run(PYTHON, "app.py", cwd=folder), ours("run", "app.py", cwd=folder)

    assert bare.returncode != 0
    assert (traced.returncode, traced.stdout, traced.stderr) == (bare.returncode, bare.stdout, bare.stderr)


def test_a_warning_of_a_pocketflow_names_the_line_that_imports_it(folder: Path) -> None:
    own(folder, text=COPY + "import warnings\nwarnings.warn('an old copy', stacklevel=2)\n")
    bare, traced = run(PYTHON, "app.py", cwd=folder), ours("run", "app.py", cwd=folder)

    assert "app.py:3: UserWarning: an old copy" in bare.stderr
    assert traced.stderr.startswith(bare.stderr)


@pytest.mark.parametrize("text", ["VERSION = 1\n", "class Node:\n    pass\n", ""])
def test_another_module_of_that_name_is_left_alone_and_told_in_one_line(tmp_path: Path, text: str) -> None:
    file = own(tmp_path, single=True, text=text)
    write(tmp_path / "app.py", "import pocketflow\nprint(sorted(vars(pocketflow)))\n")
    bare, traced = run(PYTHON, "app.py", cwd=tmp_path), ours("run", "app.py", cwd=tmp_path)

    assert (traced.returncode, traced.stdout) == (0, bare.stdout)
    assert traced.stderr == f"pocketflow at {file} is not PocketFlow, and not traced: {LACKS}\n"


@pytest.mark.parametrize(
    "start", ["import pocketflow_otel", "import pocketflow_otel as o; o.configure(console='off')"]
)
def test_nothing_of_pocketflow_is_imported_before_the_program_does(tmp_path: Path, start: str) -> None:
    program = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'pocketflow'])"
    write(tmp_path / "app.py", program)

    assert run(PYTHON, "-c", f"{start}; {program}").stdout == "[]\n"
    assert ours("run", "app.py", cwd=tmp_path).stdout == "[]\n"
    assert run(BIN / "opentelemetry-instrument", PYTHON, "app.py", cwd=tmp_path).stdout == "[]\n"
