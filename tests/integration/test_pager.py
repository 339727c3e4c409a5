"""What is longer than the terminal goes through a pager that can show it: real ones, on a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pocketflow
import pytest
from tests.support.needs import needs_program
from tests.support.processes import BIN, environment, write
from tests.support.saved import create_flow, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 6
BOLD = "\x1b[1m"
ESCAPED = "ESC"
"""How `less` shows an escape that it does not pass on: in reverse video, so `[1m` is not next to it."""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (path,) = save(tmp_path, create_flow())
    return path


def on_terminal(
    *arguments: str | Path,
    keys: str = "q",
    rows: int = ROWS,
    until: Callable[[str], bool] = lambda shown: False,
    **variables: str | None,
) -> tuple[int, str]:
    """Run a command of ours on a terminal; return its exit code and what it showed.

    Args:
        keys: What is typed when the command has been silent for a moment, or `until` holds.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
    unset = dict.fromkeys(("PAGER", "LESS", "LV", "MORE", "NO_COLOR", "FORCE_COLOR", "LINES", "COLUMNS"))
    env = environment(**{**unset, "TERM": "xterm", "LESSHISTFILE": "-", **variables})
    with subprocess.Popen(
        [BIN / "pocketflow-otel", *map(str, arguments)],
        stdin=end, stdout=end, stderr=end, env=env, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(end)
        shown, typed, deadline = b"", False, time.monotonic() + 30
        while time.monotonic() < deadline:
            ready, _, _ = select.select([terminal], [], [], 0.7)
            if ready:
                try:
                    read = os.read(terminal, 65536)
                except OSError:  # What Linux says when the other end is closed.
                    break
                shown += read
            if shown and not typed and (not ready or until(shown.decode(errors="replace"))):
                typed = True
                os.write(terminal, keys.encode())
        else:
            process.kill()
        code = process.wait()
    os.close(terminal)
    return code, shown.decode(errors="replace")


def waits(shown: str) -> bool:
    """Tell whether `less` shows its prompt."""
    return shown.endswith((":\x1b[K", "\x1b[m\x1b[K")) or "(END)" in shown


@pytest.mark.parametrize("command", ["show", "list", "stats", "diff"])
def test_less_shows_colours_and_no_raw_escape(command: str, trace: Path, tmp_path: Path) -> None:
    needs_program("less")
    save(tmp_path, create_flow("one"), create_flow("two"), create_flow("three"), create_flow("four"))
    runs = {"show": [trace], "diff": [trace, "last"]}.get(command, [])
    code, shown = on_terminal(command, *runs, "--dir", tmp_path, rows=4, until=waits)
    assert (code, ESCAPED in shown, "Traceback" in shown) == (0, False, False)
    assert "\x1b[" in shown
    assert BOLD in shown or command in ("list", "stats", "diff")


@pytest.mark.parametrize(("less", "coloured"), [("-r", True), ("-i", False)])
def test_what_less_is_told_is_what_we_go_by(less: str, coloured: bool, trace: Path) -> None:
    """Where its user leaves `-R` away there is no colour, and nothing raw either."""
    needs_program("less")
    code, shown = on_terminal("show", trace, LESS=less, until=waits)
    assert (code, ESCAPED in shown, BOLD in shown, "flow" in shown) == (0, False, coloured, True)


@pytest.mark.parametrize(
    ("pager", "coloured"),
    [
        ("cat", True), ("less -R", True), ("more", True),
        ("pager-that-is-missing", True), ("less 'unbalanced", True), ("tee /dev/null", False),
    ],
)  # fmt: skip
def test_a_pager_of_ones_own_gets_what_it_can_show(pager: str, coloured: bool, trace: Path) -> None:
    needs_program("less")
    needs_program("more")
    code, shown = on_terminal("show", trace, PAGER=pager, keys="   q")
    assert (code, ESCAPED in shown, BOLD in shown) == (0, False, coloured)
    assert ("flow" in shown, "Traceback" in shown, "not found" in shown) == (True, False, False)


def test_without_any_pager_the_text_is_printed(trace: Path, tmp_path: Path) -> None:
    code, shown = on_terminal("show", trace, PATH=str(tmp_path))
    assert (code, BOLD in shown, "flow" in shown) == (0, True, True)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_nobody_gets_colours_that_are_not_wanted(variables: dict[str, str], trace: Path) -> None:
    needs_program("less")
    code, shown = on_terminal("show", trace, until=waits, **variables)
    assert (code, BOLD in shown, ESCAPED in shown) == (0, False, False)


def test_what_fits_the_screen_needs_no_pager(trace: Path, tmp_path: Path) -> None:
    pager = write(tmp_path / "pager", "#!/bin/sh\necho paged\n")
    pager.chmod(0o755)
    assert "paged" in on_terminal("show", trace, PAGER=str(pager))[1]
    code, shown = on_terminal("show", trace, PAGER=str(pager), rows=60)
    assert (code, "paged" in shown, BOLD in shown) == (0, False, True)


def test_a_pager_that_is_left_early_is_no_trouble(tmp_path: Path) -> None:
    """It is left while there is far more to come than a pipe holds."""
    needs_program("less")
    first = last = pocketflow.Node()
    for _ in range(1500):
        last = last >> pocketflow.Node()
    save(tmp_path, pocketflow.Flow(start=first))
    pager = write(tmp_path / "pager", "#!/bin/sh\nread line\n")
    pager.chmod(0o755)
    for variables in ({}, {"PAGER": str(pager)}):
        code, shown = on_terminal("show", "last", "--all", "--dir", tmp_path, until=waits, **variables)
        assert (code, "Traceback" in shown, "Aborted" in shown) == (0, False, False)


def test_a_reader_of_a_pipe_that_goes_early_is_no_trouble(trace: Path) -> None:
    command = f"'{BIN / 'pocketflow-otel'}' show '{trace}' | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
