"""`pocketflow-otel run`: what it takes for a target, and what it says of one that is none."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.processes import APP, BIN, ECHO, PYTHON, script, with_commands, write

from pocketflow_otel.cli import flow_runner
from pocketflow_otel.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder to work in, with flows that print their store; undo what their import does."""
    write(tmp_path / "echo.py", ECHO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("echo", None)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return what the command would have replaced itself by."""
    commands: list[list[str]] = []

    def note(path: str, command: list[str], environ: dict[str, str]) -> None:
        assert path == command[0]
        commands.append(command)

    monkeypatch.setattr(os, "execve", note)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return commands


@pytest.mark.parametrize("target", ["echo:Own", "echo.py:Own", "echo:flows.echo", "./echo.py:flows.echo"])
def test_a_flow_is_named_by_its_module_or_file_and_may_be_a_class(
    echo: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flow_runner.main([target, "--shared", "a=1"])

    assert capsys.readouterr() == ('{"a": 1}\n', "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing.py:flow"], "there is no file missing.py"),
        (["missing:flow"], "there is no module missing"),
        (["echo.missing:flow"], "there is no module echo.missing"),
        (["echo:missing"], "echo has no missing"),
        (["echo:flows.missing"], "echo has no flows.missing"),
        (["echo:number"], "echo:number is no flow and no function that makes one"),
        (["echo:make_number"], "echo:make_number made a int, which is no flow"),
        (["echo:Own", "--shared", "a"], "--shared a: give KEY=VALUE"),
        (["echo:Own", "--shared", "=1"], "--shared =1: give KEY=VALUE"),
        (["echo:Own", "--shared-file", "no.json"], "--shared-file no.json: No such file or directory"),
        (["echo:Own", "--shared-file", "list.json"], "--shared-file list.json: give a JSON object"),
        (
            ["echo:Own", "--shared-file", "echo.py"],
            "--shared-file echo.py: no JSON (Expecting value: line 2 column 1",
        ),
    ],
)
def test_a_mistake_about_a_flow_is_one_sentence_and_exit_code_2(
    echo: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(echo / "list.json", "[]")
    with pytest.raises(SystemExit) as ended:
        flow_runner.main(arguments)
    out, err = capsys.readouterr()

    assert (ended.value.code, out) == (2, "")
    assert err.startswith(f"Error: {problem}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["echo:Own", "--surely-not"], "No such option"),
        (["echo:Own", "extra"], "Got unexpected extra argument (extra)"),
        (["echo:Own", "--shared"], "Option '--shared' requires an argument."),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_in_the_options_of_a_flow_has_exit_code_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        flow_runner.main(arguments)
    out, err = capsys.readouterr()

    assert (ended.value.code, out) == (2, "")
    assert f"Error: {problem}" in err


def test_the_options_of_a_flow_have_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flow_runner.main(["-h"])

    assert ended.value.code == 0
    assert "--shared KEY=VALUE" in capsys.readouterr().out


def test_an_import_error_inside_a_users_module_is_the_users(echo: Path) -> None:
    write(echo / "broken.py", "import surely_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="surely_not_there"):
        flow_runner.main(["broken:flow"])


@pytest.mark.parametrize(
    "first_lines",
    [
        "#!{python}",
        "#!{python} -E",
        "#! {python}",
        "#!/usr/bin/env python",
        "#!/usr/bin/env -S python -u",
        "#!/bin/sh\n'''exec' \"{spaced}/bin/{name}\" \"$0\" \"$@\"\n' '''",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''",
    ],
)
def test_pips_and_uvs_ways_to_name_this_environments_python_are_understood(
    tmp_path: Path, executed: list[list[str]], first_lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = tmp_path / "a folder"
    spaced.mkdir()
    (spaced / "bin").symlink_to(BIN)
    head = first_lines.format(python=PYTHON, spaced=spaced, name=Path(PYTHON).name)
    command = script(tmp_path / "bin" / "greet", head)
    monkeypatch.setenv("PATH", with_commands(command.parent)["PATH"])
    result = CliRunner().invoke(main, ["run", "greet", "-v", "--", "x"])

    assert result.output == ""
    assert executed == [[PYTHON, str(command), "-v", "--", "x"]]


@pytest.mark.parametrize("target", ["./bin/greet", "bin/plain"])
def test_a_script_can_be_named_by_its_path_with_or_without_a_first_line(
    tmp_path: Path, executed: list[list[str]], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "greet", f"#!{PYTHON}")
    write(tmp_path / "bin" / "plain", APP)
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(main, ["run", target])

    assert executed == [[PYTHON, target]]


@pytest.mark.parametrize("python", ["python", PYTHON])
def test_python_itself_is_a_target(
    executed: list[list[str]], python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(BIN))
    CliRunner().invoke(main, ["run", python, "-c", "1", "--x"])

    assert executed == [[str(BIN / python), "-c", "1", "--x"]]


SH = shutil.which("sh") or "/bin/sh"


ELSEWHERE = (
    "belongs to another environment ({folder}/elsewhere): "
    "say {folder}/elsewhere/bin/python -m pip install pocketflow-otel"
)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (["missing.py"], "there is no file missing.py"),
        (["folder/missing.py"], "there is no file folder/missing.py"),
        (["-m", "surely_not_there"], "there is no module surely_not_there"),
        (["-m", "surely.not.there"], "there is no module surely.not.there"),
        (["-m"], "-m needs the name of a module"),
        (["--loud", "app.py"], "no such option: --loud"),
        (["nothing"], "nothing is no file and no command on PATH; for a module say -m nothing"),
        (["."], ". is no file and no command on PATH; for a module say -m ."),
        (["sh"], f"{SH} is no Python program; only those can be traced"),
        ([SH], f"{SH} is no Python program; only those can be traced"),
        (["./tool.sh"], "tool.sh is no Python program; only those can be traced"),
        (["other"], "{folder}/elsewhere/bin/other " + ELSEWHERE),
        (["python"], "{folder}/elsewhere/bin/python " + ELSEWHERE),
    ],
)
def test_a_mistake_about_a_target_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    executed: list[list[str]],
    target: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere" / "bin"
    script(elsewhere / "other", f"#!{elsewhere}/python")
    (elsewhere / "python").symlink_to(PYTHON)
    script(tmp_path / "tool.sh", "#!/bin/sh", "echo no")
    monkeypatch.setenv("PATH", with_commands(elsewhere)["PATH"])
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["run", *target])

    assert (result.exit_code, executed) == (2, [])
    assert result.output == f"Error: {problem.format(folder=tmp_path)}\n"
