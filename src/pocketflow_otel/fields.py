"""Read a field of a document that somebody else wrote: what has a wrong type is as if it were absent."""

from __future__ import annotations

from datetime import UTC, datetime
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKENS: Final = 10**12
"""What is beyond that is no count of tokens; sums of counts must fit 64 bits."""
MAX_DOLLARS: Final = 10**9
"""What is beyond that is no cost."""
_LARGEST: Final = 1 << 62
"""What is beyond that does not fit 64 bits, in nanoseconds or otherwise."""


def mapping(value: object) -> Mapping[str, Any]:
    """Return an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def members(value: object) -> list[Any]:
    """Return a list, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a text, or an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """Return how many of something there are.

    >>> count(3), count(-1), count(True), count(3.0)
    (3, None, None, None)
    """
    return value if type(value) is int and 0 <= value < _LARGEST else None


def number(value: object) -> float | None:
    """Return a number that is finite and not negative.

    >>> number(3), number(0.5), number(-0.5), number(True), number(float("inf"))
    (3.0, 0.5, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LARGEST else None


def instant(value: object) -> datetime | None:
    """Return a time in UTC; one that does not say of which zone it is, is taken for this machine's.

    >>> instant("2026-11-22T19:30:12.481+01:00"), instant("yesterday")
    (datetime.datetime(2026, 11, 22, 18, 30, 12, 481000, tzinfo=datetime.timezone.utc), None)
    """
    try:
        return datetime.fromisoformat(text(value)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def tokens(value: object) -> int | None:
    """Return a count of tokens, which some providers report as a float or as a number of NumPy.

    >>> tokens(3), tokens(3.0), tokens(3.5), tokens("3")
    (3, 3, None, None)
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        found = int(value)
        return found if 0 <= found <= MAX_TOKENS else None
    return None


def dollars(value: object) -> float | None:
    """Return a cost in US dollars."""
    found = number(value)
    return found if found is not None and found <= MAX_DOLLARS else None
