"""Failed attempts in a batch that say nearly the same: one of them has a line, the others are counted."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from pocketflow_otel.guard import quiet
from pocketflow_otel.views.wording import MAX_KEYS, more_than_shown, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_INTERVAL: Final = 0.1
"""Seconds between two lines that say nearly the same."""

_VARYING: Final = re.compile(r"(?<!\d)(?!\b[45]\d\d\b)(?:\b(?=[\w-]*\d)[\w-]{8,}|\d+)")
"""Numbers, and long words with digits, such as ids of requests; but no status of HTTP."""

T = TypeVar("T")


def message_pattern(message: str) -> str:
    """Return what two messages have in common that differ in numbers and ids alone.

    >>> message_pattern("429: item 7 of req_7f3a91c2"), message_pattern("503: item 8 of req_8b12ff00")
    ('429: item # of #', '503: item # of #')
    """
    return _VARYING.sub("#", message)


def drain(queue: deque[T]) -> Iterator[T]:
    """Yield what is in a queue, each thing to one of the threads that empty it."""
    with quiet(IndexError):
        while True:
            yield queue.popleft()


class RepeatedFailures:
    """A failed attempt that has a line, and the items that failed like it shortly after.

    Another thread may show them, when no event comes: so they wait in a queue.

    Args:
        label: The item whose attempt has the line: `[3]`.
        attempt: Which attempt it was, and of how many: `2/3`; empty for a first one.
        until: When the moment is over, in nanoseconds since the epoch.
    """

    __slots__ = ("_attempt", "_label", "_more", "until")

    def __init__(self, label: str, attempt: str, until: int) -> None:
        self._label = label
        self._attempt = f", attempt {attempt}" if attempt else ""
        self._more: deque[str] = deque()
        self.until = until

    def add(self, label: str) -> None:
        """Count an item that failed in the same way."""
        self._more.append(label)

    @property
    def waiting(self) -> bool:
        """Whether there are items that no line has counted yet."""
        return bool(self._more)

    def describe(self) -> str:
        """Return which items have been added since the last time; empty if none has.

        >>> failures = RepeatedFailures("[3]", "2/3", 0)
        >>> failures.add("[5]")
        >>> failures.describe(), failures.describe()
        ('1 more item like [3], attempt 2/3: [5]', '')
        """
        labels = list(drain(self._more))
        if not labels:
            return ""
        count, shown = plural(len(labels), "more item"), " ".join(labels[:MAX_KEYS])
        return f"{count} like {self._label}{self._attempt}: {shown}{more_than_shown(len(labels))}"
