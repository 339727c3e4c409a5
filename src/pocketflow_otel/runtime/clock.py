"""The clock of one run: the time of day when it began, and from there one that only goes forward."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RunClock:
    """Nanoseconds since the epoch, whatever happens to the machine's clock while the run goes on.

    Args:
        wall: The time of day, in nanoseconds since the epoch; asked once.
        monotonic: A clock that only goes forward, in nanoseconds.
    """

    __slots__ = ("_ahead", "_monotonic")

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()

    def now(self) -> int:
        """Return the time, in nanoseconds since the epoch."""
        return self._ahead + self._monotonic()
