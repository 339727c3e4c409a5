"""Columns of text: aligned as they are on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel.views.styled_text import DIM, Line, Part, fitted, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Cell = str | Part

LEAST: Final = 6
"""Columns that a name keeps."""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    columns: int | None = None,
    names: int = 0,
    gap: int = 2,
) -> Iterator[Line]:
    """Yield the lines of a table.

    Args:
        head: The names of the columns; those that begin with `>` stand on the right.
        rows: The cells.
        columns: The width to keep to, if there is one: names are cut for it, to `LEAST` at most.
        names: The place of the cells that are names.
        gap: Blanks between two columns.
    """
    right = [name.startswith(">") for name in head]
    parts = [[cell if isinstance(cell, Part) else Part(cell) for cell in row] for row in rows]
    parts.insert(0, [Part(name.removeprefix(">"), DIM) for name in head])
    widths = [max(width(row[place].text) for row in parts) for place in range(len(head))]
    if columns is not None:
        others = sum(widths) - widths[names] + gap * (len(head) - 1)
        widths[names] = min(widths[names], max(columns - others, LEAST))
        for row in parts:
            row[names] = _cut(row[names], widths[names])
    for row in parts:
        line: list[Part] = []
        for place, cell in enumerate(row):
            space = " " * (widths[place] - width(cell.text))
            before = " " * gap if place else ""
            if right[place]:
                line += [Part(before + space), cell]
            else:
                line += [Part(before), cell, Part("" if place == len(row) - 1 else space)]
        yield tuple(line)


def _cut(cell: Part, columns: int) -> Part:
    return Part("".join(part.text for part in fitted([cell], columns)), cell.style)
