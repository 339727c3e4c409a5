"""Time several ways of doing one thing, in turns."""

from __future__ import annotations

import gc
import resource
import statistics
from time import process_time_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Round = dict[str, float]
"""CPU time in µs per step, by contestant."""


class Rounds(list[Round]):
    """The timings of every round, and medians over them.

    Both sides of a ratio or difference are from one round, where they met the same machine.
    """

    def median(self, of: Callable[[Round], float]) -> float:
        """Return the median of what `of` makes of each round."""
        return statistics.median(map(of, self))

    def time(self, name: str) -> float:
        """Return a contestant's µs per step."""
        return self.median(lambda timings: timings[name])

    def difference(self, name: str, other: str) -> float:
        """Return how much longer than another a contestant takes."""
        return self.median(lambda timings: timings[name] - timings[other])

    def ratio(self, name: str, other: str) -> float:
        """Return how many times as long as another a contestant takes."""
        return self.median(lambda timings: timings[name] / timings[other])


def of_children() -> int:
    """Return the CPU time, in ns, of the processes that were started and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((spent.ru_utime + spent.ru_stime) * 1e9)


def measure(
    rounds: int,
    *,
    steps: int,
    clock: Callable[[], int] = process_time_ns,
    **contestants: Callable[[], object],
) -> Rounds:
    """Call each contestant once a round, in an order that turns round each time.

    Before several rounds they are called once more, for the interpreter and the disk to know them.

    Args:
        rounds: How often.
        steps: How many steps a call takes; times are divided by it.
        clock: What tells the CPU time, in ns; by default that of this process.
        contestants: What to call.
    """
    if rounds > 1:
        for contestant in contestants.values():
            contestant()
    timed = Rounds()
    order = list(contestants.items())
    gc.collect()
    gc.freeze()  # What is there stays there: collections look at what the contestants make.
    try:
        for _ in range(rounds):
            timings: Round = {}
            for name, contestant in order:
                gc.collect()  # None pays for another's garbage, each for its own.
                started = clock()
                contestant()
                timings[name] = (clock() - started) / 1000 / steps
            timed.append(timings)
            order.reverse()
    finally:
        gc.unfreeze()
    return timed
