"""`pocketflow-otel run` says at the end that no flow was traced, to those who want to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.own_copies import COPY, HELLO, with_import
from tests.support.processes import APP, environment, ours, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

NONE = "pocketflow-otel: no flow was traced: "
NOT_IMPORTED = (
    "the program imported no pocketflow; pocketflow-otel doctor looks for copies under other names\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mypkg" / "flows.py", COPY)
    write(tmp_path / "app.py", with_import("mypkg.flows"))
    write(tmp_path / "single.py", COPY + HELLO)
    write(tmp_path / "plain.py", "print('plain')\n")
    write(tmp_path / "traced.py", APP)
    write(tmp_path / "idle.py", "import pocketflow\n")
    return tmp_path


@pytest.mark.parametrize("options", [[], ["-v"], ["--summary"]])
@pytest.mark.parametrize(("program", "module"), [("app.py", "mypkg.flows"), ("single.py", "__main__")])
def test_a_copy_under_another_name_is_named_with_what_has_it_traced(
    folder: Path, options: list[str], program: str, module: str
) -> None:
    result = ours("run", *options, program, cwd=folder)

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert result.stderr == (
        f"{NONE}{module} has PocketFlow's classes; POCKETFLOW_OTEL_MODULES={module} has them traced\n"
    )


def test_what_is_named_already_stays_named(folder: Path) -> None:
    result = ours("run", "app.py", cwd=folder, env=environment(POCKETFLOW_OTEL_MODULES="mypgk.flows"))

    assert "POCKETFLOW_OTEL_MODULES=mypgk.flows,mypkg.flows has" in result.stderr


@pytest.mark.parametrize("option", ["-v", "--summary"])
def test_who_asks_to_see_runs_hears_that_there_is_none(folder: Path, option: str) -> None:
    assert ours("run", option, "plain.py", cwd=folder).stderr == NONE + NOT_IMPORTED


def test_a_module_that_is_named_and_was_not_imported_is_told(folder: Path) -> None:
    env = environment(POCKETFLOW_OTEL_MODULES="mypgk.flows")

    assert (
        "imported no pocketflow or mypgk.flows;" in ours("run", "-v", "plain.py", cwd=folder, env=env).stderr
    )


def test_a_program_that_has_pocketflow_and_runs_none_of_it(folder: Path) -> None:
    assert ours("run", "-v", "idle.py", cwd=folder).stderr.startswith(f"{NONE}none ran")


@pytest.mark.parametrize(
    "arguments",
    [
        ["plain.py"],
        ["-v", "traced.py"],
        ["--no-trace", "-v", "app.py"],
        ["-v", "fails.py"],
        ["-v", "idle_child.py"],
    ],
    ids=" ".join,
)
def test_nothing_is_said_to_those_who_need_not_know(folder: Path, arguments: list[str]) -> None:
    write(folder / "fails.py", "raise ValueError('no')\n")
    fork = "import os, sys\nchild = os.fork()\nif not child: sys.exit()\nos.waitpid(child, 0)\n"
    write(folder / "idle_child.py", fork + APP)

    assert NONE not in ours("run", *arguments, cwd=folder).stderr


def test_an_output_that_is_off_stays_off(folder: Path) -> None:
    env = environment(POCKETFLOW_OTEL_CONSOLE="off")

    assert ours("run", "app.py", cwd=folder, env=env).stderr == ""
