"""Tell the user's own code from what is installed, and where in it an exception was raised."""

from __future__ import annotations

import re
import sysconfig
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDERS: Final = tuple(
    {
        sysconfig.get_path(name) + slash
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        for slash in ("/", "\\")
    }
)
"""Of this Python."""
_INSTALLED: Final = re.compile(
    r"^<frozen |[/\\](site-packages|dist-packages|lib(64)?[/\\]python3(\.\d+)?t?)[/\\]"
    r"|[/\\]pocketflow[/\\]__init__\.py$"
)
"""Whatever the Python, and on the machine that a trace comes from."""
_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d+)')
_BEGINNING: Final = "Traceback (most recent call last):"


def is_installed(file: str) -> bool:
    """Return whether a file belongs to Python, an installed package or PocketFlow: not the user's own."""
    return _INSTALLED.search(file) is not None or file.startswith(_FOLDERS)


def own_place(frames: Iterable[tuple[str, int]]) -> str:
    """Return the innermost line of the user's own code: `nodes.py:42`; empty where none is.

    Args:
        frames: File and line of each, the innermost last.
    """
    for file, line in reversed(list(frames)):  # No generator: what interrupts one that is closed is lost.
        if not is_installed(file):
            return place_name(file, line)
    return ""


def place_name(file: str, line: int) -> str:
    """Return how people call a line of a file: `nodes.py:42`."""
    return f"{PureWindowsPath(file).name}:{line}"  # That of Windows knows both kinds of slashes.


def own_place_in(stacktrace: str) -> str:
    """Return the innermost line of the user's own code in the text of a traceback; of several the last."""
    last = stacktrace.rpartition(_BEGINNING)[2]
    return own_place((file, int(line)) for file, line in _FRAME.findall(last))
