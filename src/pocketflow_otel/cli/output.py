"""Print: data to stdout, through a pager when it is long and somebody looks; notes to stderr."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from pocketflow_otel.cli.pager import Pager
from pocketflow_otel.export.console.terminal import can_encode, wants_colour
from pocketflow_otel.views.styled_text import escape, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pocketflow_otel.views.styled_text import Line


def print_lines(lines: Iterable[Line], *, paged: bool = True) -> None:
    """Print lines, in colour on a terminal; beyond its height through the pager.

    Args:
        lines: What to print.
        paged: Whether the pager may be used; not for what comes slowly.
    """
    terminal = sys.stdout.isatty()
    colour = wants_colour(terminal=terminal)
    pager = Pager.from_env() if paged and terminal else None
    if pager is not None:
        lines = iter(lines)
        screen = list(islice(lines, shutil.get_terminal_size().lines - 1))
        beyond = list(islice(lines, 1))
        lines = chain(screen, beyond, lines)
        if beyond:
            pager.show(_rendered(lines, colour=colour and pager.coloured))
            return
    for text in _rendered(lines, colour=colour):
        click.echo(text, nl=False, color=colour)


def _rendered(lines: Iterable[Line], *, colour: bool) -> Iterator[str]:
    ascii_only = not can_encode(sys.stdout)
    return (render(line, colour=colour, ascii_only=ascii_only) + "\n" for line in lines)


def print_json(content: Any) -> None:
    """Print JSON; what is not ASCII stays readable where stdout can say it."""
    print_text(json.dumps(content, indent=1, ensure_ascii=not can_encode(sys.stdout)) + "\n")


def print_text(text: str) -> None:
    """Write text to stdout; what that cannot encode, a lone surrogate above all, as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False)


def note(sentence: str) -> None:
    """Print a sentence on stderr."""
    click.echo(escape(sentence), err=True)


def columns() -> int:
    """Return the width of the terminal, or 100 where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def room() -> int | None:
    """Return the width that stdout has, if that is a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write_to(path: Path | None, pieces: Iterable[str]) -> None:
    """Write text to a file, or to stdout without one.

    Raises:
        UserError: The file cannot be written.
    """
    from pocketflow_otel.cli.arguments import UserError

    if path is None or str(path) == "-":
        for piece in pieces:
            print_text(piece)
        return
    try:
        with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(pieces)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
