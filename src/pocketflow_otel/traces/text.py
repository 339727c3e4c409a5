"""The wording of everything people read: durations, diffs, errors, the parts of a line.

A line is a sequence of styled parts; text from a flow is only ever a part's text, so it can
neither be markup nor drive the terminal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pocketflow_otel.traces.model import Attributes

MAX_KEYS: Final = 5
MAX_MESSAGE: Final = 160
_MINUTE: Final = 60
_HOUR: Final = 3600

PLAIN, DIM, GOOD, BAD, WARN, NAME = "plain", "dim", "good", "bad", "warn", "name"


class Part(NamedTuple):
    """A piece of a line, and what it is."""

    text: str
    style: str = PLAIN


Line = tuple[Part, ...]

_ANSI: Final = {DIM: "2", GOOD: "34", BAD: "31;1", WARN: "33", NAME: "1"}
_ASCII: Final = str.maketrans(
    {"→": "->", "✓": "ok", "✗": "x", "⚠": "!", "↻": "retry", "−": "-", "×": "x", "·": "|", "…": "..."}
)


def render(line: Iterable[Part], *, colour: bool = False, ascii_only: bool = False) -> str:
    """Return a line as text, in colour with ANSI escapes, or without a character beyond ASCII."""
    parts = []
    for text, style in line:
        shown = text.translate(_ASCII).encode("ascii", "backslashreplace").decode() if ascii_only else text
        code = _ANSI.get(style) if colour else None
        parts.append(f"\x1b[{code}m{shown}\x1b[0m" if code else shown)
    return "".join(parts)


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


def seconds(duration: float) -> str:
    """Return a duration for people.

    >>> seconds(0.034), seconds(75), seconds(3700)
    ('0.03s', '1m 15s', '1h 01m')
    """
    if duration < _MINUTE:
        return f"{duration:.2f}s"
    if duration < _HOUR:
        return f"{int(duration) // _MINUTE}m {int(duration) % _MINUTE:02}s"
    return f"{int(duration) // _HOUR}h {int(duration) % _HOUR // _MINUTE:02}m"


def plural(number: int, noun: str) -> str:
    """Return `1 step`, `2,000 steps`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def diff(attributes: Attributes) -> str:
    """Return the changes of a step: `+html ~history −draft (+3 more)`; empty without any."""
    names = [
        mark + escape(str(key))
        for mark, attribute in (
            ("+", semconv.SHARED_ADDED_KEYS),
            ("~", semconv.SHARED_MODIFIED_KEYS),
            ("−", semconv.SHARED_REMOVED_KEYS),
        )
        for key in attributes.get(attribute, ())
    ]
    if not names:
        return ""
    more = [f"(+{len(names) - MAX_KEYS} more)"] if len(names) > MAX_KEYS else []
    shared = ["(others wrote too)"] if attributes.get(semconv.SHARED_CONCURRENT) else []
    return " ".join([*names[:MAX_KEYS], *more, *shared])


def error(message: str, fallback: str) -> str:
    """Return an error for one line: its text, or its type where the text was not recorded."""
    return cut(escape(message or fallback), MAX_MESSAGE)


def short_path(path: Path) -> str:
    """Return a path with the home directory as `~`."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def joined(pieces: Sequence[str]) -> str:
    """Join the facts of a summary line."""
    return " · ".join(piece for piece in pieces if piece)
