"""Page long text as git does: through `$PAGER`, else `less`, which gets colours where it can show them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DEFAULTS: Final = {"LESS": "FRX", "LV": "-c"}
"""Options of pagers whose user has set none; as git has it."""
_PASSING_ON: Final = frozenset({"more", "bat", "batcat", "moar", "moor", "ov", "lv"})
"""Pagers that show colours without being asked to."""
_RAW: Final = re.compile(
    r"--(raw-control-chars|RAW-CONTROL-CHARS)$|(?!--)-?([aABcdeEfFgGiIJKLmMnNqQsSuUvVwWX~]|[hjxyz]\d+)*[rR]"
)
"""An option of `less` that lets escapes pass, alone or after others that take no text."""


@dataclass(frozen=True, slots=True)
class Pager:
    """A program that shows text page by page.

    Attributes:
        coloured: Whether it shows colours; another one shows the escapes themselves.
    """

    coloured: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Pager | None:
        """Return the pager to use; `None` where none is wanted, or the one that is wanted is missing."""
        given = environ.get("PAGER")
        if given is None and environ.get("TERM", "dumb") == "dumb":
            return None
        try:
            name, *options = shlex.split("less" if given is None else given)
        except ValueError:  # Empty, or a quote without its end.
            return None
        if shutil.which(name) is None or PurePath(name).name == "cat":
            return None
        return cls(_shows_colours(PurePath(name).name, options, environ.get("LESS", "")))

    def show(self, text: Iterable[str]) -> None:
        """Show pieces of text, as many as somebody wants to see."""
        for name, value in _DEFAULTS.items():
            os.environ[name] = os.environ.get(name) or value
        click.echo_via_pager(text, color=self.coloured)


def _shows_colours(name: str, options: list[str], less: str) -> bool:
    if name != "less":
        return name in _PASSING_ON
    return not less or any(map(_RAW.match, (*less.split(), *options)))
