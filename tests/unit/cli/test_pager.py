"""Which pager there is, and whether it can show colours."""

from __future__ import annotations

import shutil
from pathlib import PurePath

import pytest

from pocketflow_otel.cli.pager import Pager

INSTALLED = ("less", "more", "cat", "bat", "tee")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if PurePath(name).name in INSTALLED else None)


@pytest.mark.parametrize(
    ("less", "coloured"),
    [
        (None, True), ("", True), ("FRX", True), ("-FRX", True), ("-i -R", True), ("-r", True),
        ("--RAW-CONTROL-CHARS", True), ("-j5 -R", True), ("-j5R", True), ("-iMR", True),
        ("-i", False), ("-M --mouse", False), ("-PMore", False), ("-PR", False), ("+R", False),
        ("--tabs=4r", False), ("-Dr", False),
    ],
)  # fmt: skip
def test_less_shows_colours_unless_its_user_left_the_option_away(less: str | None, coloured: bool) -> None:
    environ = {"TERM": "xterm"} | ({} if less is None else {"LESS": less})
    assert Pager.from_env(environ) == Pager(coloured)


@pytest.mark.parametrize(
    ("pager", "expected"),
    [
        ("less", Pager(True)), ("/usr/bin/less -X", Pager(True)), ("more", Pager(True)),
        ("bat --plain", Pager(True)), ("tee /dev/null", Pager(False)),
        ("cat", None), ("/bin/cat", None), ("", None), ("nowhere", None), ("less 'open", None),
    ],
)  # fmt: skip
def test_another_pager_is_used_where_it_is_installed(pager: str, expected: Pager | None) -> None:
    assert Pager.from_env({"PAGER": pager, "TERM": "xterm"}) == expected


def test_the_options_of_the_pager_count_as_those_of_its_variable() -> None:
    assert Pager.from_env({"PAGER": "less -R", "LESS": "-i"}) == Pager(True)
    assert Pager.from_env({"PAGER": "less -S", "LESS": "-i"}) == Pager(False)


@pytest.mark.parametrize("environ", [{}, {"TERM": "dumb"}])
def test_a_terminal_that_can_do_nothing_has_no_pager(environ: dict[str, str]) -> None:
    assert Pager.from_env(environ) is None
