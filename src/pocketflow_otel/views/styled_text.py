"""A line of styled parts: how it is rendered, measured, cut and folded for a terminal.

Text from a flow is only ever a part's text, so it can neither be markup nor drive the terminal.
"""

from __future__ import annotations

import unicodedata
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
    left = columns
    for text, style in line:
        wide = width(text)
        if wide <= left:
            left -= wide
            yield Part(text, style)
            continue
        kept = ""
        for char in text:
            left -= _char_width(char)
            if left < 1:
                break
            kept += char
        yield Part(f"{kept}…", style)
        return


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
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(char: str) -> int:
    """Return how many columns a character takes: two for East Asian wide ones and most emoji."""
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


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
