"""A line of styled parts: how it is rendered, measured, cut and folded for a terminal.

Text from a flow is only ever a part's text, so it can neither be markup nor drive the terminal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEPARATOR: Final = " · "
"""Between the facts of a summary."""
_INDENT: Final = "    "
"""Before the facts that had no room on the line."""

PLAIN, DIM, GOOD, BAD, WARN, NAME = "plain", "dim", "good", "bad", "warn", "name"


class Part(NamedTuple):
    """A piece of a line, and what it is."""

    text: str
    style: str = PLAIN


Line = tuple[Part, ...]

_ANSI: Final = {DIM: "2", GOOD: "32", BAD: "31;1", WARN: "33", NAME: "1"}
_ASCII: Final = str.maketrans(
    {
        "→": "->",
        "✓": "ok",
        "✗": "x",
        "⚠": "!",
        "↻": "retry",
        "−": "-",
        "×": "x",
        "·": "|",
        "…": "...",
        "Σ": "sum",
        "≥": ">=",
        "├": "|",
        "└": "`",
        "│": "|",
        "─": "-",
        "█": "#",
    }
)
_NARROW: Final = re.compile(
    # ASCII, Latin without the soft hyphen, Greek and Cyrillic without combining marks, dashes and quotes,
    # currencies, and our own symbols.
    r"[ -~\xa1-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u20a0-\u20bf"
    rf"{''.join(map(chr, _ASCII))}]*"
)
"""Text in which each character takes one column."""


def render(line: Iterable[Part], *, colour: bool = False, ascii_only: bool = False) -> str:
    """Return a line as text, in colour with ANSI escapes, or without a character beyond ASCII."""
    parts = []
    for text, style in line:
        shown = text.translate(_ASCII).encode("ascii", "backslashreplace").decode() if ascii_only else text
        code = _ANSI.get(style) if colour and text else None
        parts.append(f"\x1b[{code}m{shown}\x1b[0m" if code else shown)
    return "".join(parts)


def fitted(line: Iterable[Part], columns: int) -> Iterator[Part]:
    """Yield a line cut to a terminal's width, so that it does not wrap."""
    parts = tuple(line)
    if line_width(parts) <= columns:
        yield from parts
        return
    room = columns - 1  # The last column is for the ellipsis.
    for text, style in parts:
        needed = width(text)
        if needed > room:
            yield Part(f"{_beginning(text, room)}…", style)
            return
        yield Part(text, style)
        room -= needed


def _beginning(text: str, columns: int) -> str:
    """Return as much of a text's beginning as a number of columns takes."""
    if _NARROW.fullmatch(text):
        return text[: max(columns, 0)]
    end = 0
    for length in range(1, len(text) + 1):
        if width(text[:length]) > columns:
            break
        end = length
    return text[:end]


def folded(line: Iterable[Part], columns: int) -> Iterator[Line]:
    """Yield a line of facts in as many as a terminal's width asks for: each begins with a whole fact."""
    facts: list[list[Part]] = [[]]
    for text, style in line:
        first, *rest = text.split(SEPARATOR)
        facts[-1].append(Part(first, style))
        facts += [[Part(fact, style)] for fact in rest]
    parts = facts[0]
    left = columns - line_width(parts)
    for fact in facts[1:]:
        left -= len(SEPARATOR) + line_width(fact)
        if left >= 0:
            parts = [*parts, Part(SEPARATOR), *fact]
            continue
        yield tuple(parts)
        parts = [Part(_INDENT), *fact]
        left = columns - line_width(parts)
    yield tuple(parts)


def line_width(line: Iterable[Part]) -> int:
    """Return how many columns of a terminal a line takes."""
    return sum(width(text) for text, _ in line)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    >>> width("qa"), width("質問")
    (2, 4)
    """
    if _NARROW.fullmatch(text):
        return len(text)
    from wcwidth import wcswidth, wcwidth  # Late: its tables take a tenth of a second, in the user's step.

    columns: int = wcswidth(text)
    if columns < 0:  # A control character, which nobody has escaped.
        columns = sum(max(wcwidth(char), 0) for char in text)
    return columns


def escape(text: str) -> str:
    r"""Return text with control and formatting characters made visible: it cannot drive a terminal.

    >>> escape("clear\x1b[2J\nscreen")
    'clear\\x1b[2J\\nscreen'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def cut(text: str, limit: int) -> str:
    """Return text in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
