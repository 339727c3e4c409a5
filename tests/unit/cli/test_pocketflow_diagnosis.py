"""`pocketflow-otel doctor` on PocketFlow: which one counts, and the copies it sees, without importing any."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pocketflow
import pytest
from tests.support.own_copies import COPY, HELLO, with_import
from tests.support.processes import write

from pocketflow_otel.cli.pocketflow_diagnosis import check_copies, check_pocketflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pocketflow_otel.cli.finding import Finding

NEVER = "raise SystemExit('this runs nowhere')\n"
MODULES = "POCKETFLOW_OTEL_MODULES"


@pytest.fixture(autouse=True)
def _in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def findings(check: Callable[[], Iterator[Finding]]) -> list[tuple[str, str, str]]:
    return [(finding.level, finding.what, finding.fix) for finding in check()]


# Which one counts


def test_the_installed_one_with_version_and_path() -> None:
    assert findings(check_pocketflow) == [
        ("ok", f"pocketflow {metadata.version('pocketflow')} at {pocketflow.__file__}", "")
    ]


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    assert findings(check_pocketflow) == [
        ("problem", "pocketflow is not installed here", f"{sys.executable} -m pip install pocketflow")
    ]


def test_none_that_is_installed_where_a_copy_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mypkg" / "flows.py", COPY)
    monkeypatch.setattr(sys, "path", [])

    assert [level for level, _, _ in findings(check_pocketflow)] == ["note"]


@pytest.mark.parametrize("text", ["", "class Flower: ...\n", "def Flow(): ...\n"])
def test_a_users_own_file_named_pocketflow(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "pocketflow.py", text + NEVER)

    assert findings(check_pocketflow) == [
        (
            "problem",
            f"{file} is not the framework: it has no Flow and no Node",
            "look for a file of your own named pocketflow.py, and rename it",
        )
    ]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("class Flow: ...\n", ""),
        ("from .core import *\n", ""),
        ("from .core import Node\n__version__ = '7.1'\n", " (version 7.1)"),
        ("this is no Python\n", ""),
    ],
)
def test_a_folders_own_pocketflow_is_named_and_not_run(tmp_path: Path, text: str, version: str) -> None:
    file = write(tmp_path / "pocketflow" / "__init__.py", text + NEVER)

    assert findings(check_pocketflow) == [
        ("note", f"programs in this folder have a pocketflow of their own: {file}{version}", "")
    ]


def test_one_on_the_path_that_no_distribution_has(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    file = write(tmp_path_factory.mktemp("elsewhere") / "pocketflow.py", COPY + NEVER)
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.setattr(metadata, "version", absent)

    assert findings(check_pocketflow) == [
        ("note", f"programs in this folder have a pocketflow of their own: {file}", "")
    ]


# Copies


def untraced(place: str, module: str) -> tuple[str, str, str]:
    return (
        "note",
        f"{place} has PocketFlow's classes under another name, and is not traced",
        f"export {MODULES}={module}",
    )


@pytest.mark.parametrize(
    ("place", "imports", "module"),
    [
        ("mypkg/pocketflow.py", "from mypkg.pocketflow import Node", "mypkg.pocketflow"),
        ("mypkg/core/__init__.py", "import mypkg.core as core", "mypkg.core"),
        ("src/mypkg/flows.py", "from mypkg.flows import (\n    Node,\n)", "mypkg.flows"),
        ("mypkg/flows.py", "from . import flows", "flows"),
        ("flows.py", "import flows", "flows"),
        ("flows.py", "from pocketflow import Node", "__main__"),
    ],
)
def test_a_copy_is_named_as_others_import_it(tmp_path: Path, place: str, imports: str, module: str) -> None:
    write(tmp_path / place, COPY + NEVER)
    write(tmp_path / "app.py", imports + "\n" + NEVER)

    assert findings(check_copies) == [untraced(place, module)]


def test_a_copy_in_a_package_that_imports_it_relatively(tmp_path: Path) -> None:
    write(tmp_path / "mypkg" / "flows.py", COPY)
    write(tmp_path / "mypkg" / "__init__.py", "from .flows import Flow, Node\n")

    assert findings(check_copies) == [untraced("mypkg/flows.py", "mypkg.flows")]


def test_several_copies_are_named_together_with_what_is_named_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "three", "two"):
        write(tmp_path / f"{name}.py", COPY)
    write(tmp_path / "app.py", "import one, two, three\n")
    monkeypatch.setenv(MODULES, "two")

    assert findings(check_copies) == [
        ("ok", f"two is traced as a PocketFlow: {tmp_path / 'two.py'}", ""),
        untraced("one.py", "two,one,three"),
        untraced("three.py", "two,one,three"),
    ]


def test_a_program_with_the_classes_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "app.py", COPY + HELLO + NEVER)
    before = findings(check_copies)
    monkeypatch.setenv(MODULES, "__main__")

    assert before == [untraced("app.py", "__main__")]
    assert findings(check_copies) == [("ok", "app.py has PocketFlow's classes, traced when it is run", "")]


def test_a_pocketflow_below_counts_for_the_programs_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "demo" / "pocketflow" / "__init__.py", COPY)
    write(tmp_path / "demo" / "app.py", with_import("pocketflow"))

    assert findings(check_copies) == [
        ("note", "demo/pocketflow/__init__.py is the pocketflow of programs beside it, and traced there", "")
    ]


@pytest.mark.parametrize(
    "place", [".hidden/flows.py", "venv/lib/flows.py", "node_modules/flows.py", "a/site-packages/flows.py"]
)
def test_what_is_not_the_programs_own_is_passed_over(tmp_path: Path, place: str) -> None:
    write(tmp_path / "venv" / "pyvenv.cfg", "")
    write(tmp_path / place, COPY)

    assert findings(check_copies) == []


@pytest.mark.parametrize(
    "text",
    ["from mypkg.flows import Node\n", "class Node:\n    def walk(self): ...\n", "_run = class\n", "\0_run"],
)
def test_what_is_no_copy_is_passed_over(tmp_path: Path, text: str) -> None:
    write(tmp_path / "mypkg.py", text)

    assert findings(check_copies) == []


@pytest.mark.parametrize(
    ("imports", "node"),
    [
        ("import pocketflow", "pocketflow.Node"),
        ("import pocketflow as pf", "pf.Node"),
        ("from pocketflow import Node as Theirs", "Theirs"),
        ("from pocketflow import *", "Node"),
    ],
)
def test_a_framework_upon_pocketflow_is_no_copy_of_it(tmp_path: Path, imports: str, node: str) -> None:
    write(tmp_path / "framework.py", f"{imports}\nclass Node({node}):\n    def _run(self, shared): ...\n")

    assert findings(check_copies) == []


@pytest.mark.parametrize("text", [COPY, "from .flows import Node\n", "from .flows import *\n"])
def test_a_module_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = write(tmp_path / "mypkg" / "__init__.py", text + NEVER)
    monkeypatch.setenv(MODULES, "mypkg")

    assert findings(check_copies) == [("ok", f"mypkg is traced as a PocketFlow: {file}", "")]


def test_a_module_that_is_named_and_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "mypkg" / "__init__.py", NEVER)
    monkeypatch.setenv(MODULES, "mypkg")

    assert findings(check_copies) == [
        (
            "problem",
            f"{MODULES} names mypkg, but {file} has no Flow and no Node",
            "name the module that defines them",
        )
    ]


@pytest.mark.parametrize("module", ["mypgk.flows", "mypkg.flow", "mypkg.flows.Node"])
def test_a_module_that_is_named_and_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    write(tmp_path / "mypkg" / "__init__.py", NEVER)
    write(tmp_path / "mypkg" / "flows.py", NEVER)
    monkeypatch.setenv(MODULES, module)

    assert findings(check_copies) == [
        ("note", f"{MODULES} names {module}, which is not found from this folder", "")
    ]
