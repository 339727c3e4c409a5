"""Columns of text: aligned as they are on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel.traces.text import DIM, Line, Part
from pocketflow_otel.traces.text import width as width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Cell = str | Part


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[Line]:
    """Yield the lines of a table.

    Args:
        head: The names of the columns; those that begin with `>` stand on the right.
        rows: The cells.
    """
    right = [name.startswith(">") for name in head]
    parts = [[cell if isinstance(cell, Part) else Part(cell) for cell in row] for row in rows]
    parts.insert(0, [Part(name.removeprefix(">"), DIM) for name in head])
    widths = [max(width(row[place].text) for row in parts) for place in range(len(head))]
    for row in parts:
        line: list[Part] = []
        for place, cell in enumerate(row):
            space = " " * (widths[place] - width(cell.text))
            gap = "  " if place else ""
            if right[place]:
                line += [Part(gap + space), cell]
            else:
                line += [Part(gap), cell, Part("" if place == len(row) - 1 else space)]
        yield tuple(line)


def width(text: str) -> int:
    """Return how many columns a terminal needs.

    >>> width("qa"), width("質問")
    (2, 4)
    """
    return len(text) if text.isascii() else sum(map(width_of, text))
