"""Keep large batches readable: beyond twenty items, progress instead of a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.views import wording
from pocketflow_otel.views.repeated_failures import MIN_INTERVAL

if TYPE_CHECKING:
    from pocketflow_otel.traces.records import SpanRecord

MAX_SHOWN: Final = 20
"""Items, and then failures, and then failed attempts, that have a line of their own."""
_REPORTS: Final = 10
"""Progress lines of a batch of known size."""


class BatchProgress:
    """The items of one batch, as its lines show them.

    Attributes:
        size: How many there are, once known; a generator has no size.
        ended: How many have ended.
    """

    __slots__ = (
        "_attempts", "_cost", "_failed", "_next", "_reported", "_reported_at", "_shown_attempts", "_untraced",
        "ended", "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.size: int | None = None
        self.ended = 0
        self._attempts = 0
        self._shown_attempts = 0
        self._failed = 0
        self._untraced = 0
        self._cost = 0.0
        self._next = 0
        self._reported = 0
        self._reported_at = 0.0

    @property
    def collapsed(self) -> bool:
        """Whether items go well without a line."""
        return (self.ended if self.size is None else self.size) > MAX_SHOWN

    def end(self, item: SpanRecord | None) -> None:
        """Count an item that ended; one without a span went well."""
        self.ended += 1
        if item is None:
            self._untraced += 1
        else:
            self._failed += item.failed
            self._cost += item.attributes.get(semconv.COST, 0.0)

    def shows(self, item: SpanRecord) -> bool:
        """Return whether an item that has just ended gets a line: failures do, up to a number."""
        return self._failed <= MAX_SHOWN if item.failed else not self.collapsed

    def repeat_attempt(self) -> None:
        """Count a failed attempt that says nearly the same as one that has a line."""
        self._attempts += 1

    def shows_attempt(self) -> bool:
        """Count a failed attempt, and return whether it gets a line."""
        self._attempts += 1
        self._shown_attempts += 1
        return not self.collapsed or self._shown_attempts <= MAX_SHOWN

    def report(self, seconds: float) -> str | None:
        """Return `40/200 items 12.10s $0.014`, when it is time for a progress line.

        That is at each tenth of a known number, else whenever the number has doubled; but not
        within a moment of the last one, unless all are done.

        Args:
            seconds: How long the batch has been going.
        """
        if not self.collapsed:
            return None
        due = self._next or self._following()
        if self.ended < due or (self.ended != self.size and seconds - self._reported_at < MIN_INTERVAL):
            self._next = due
            return None
        self._next = self._following()
        return self._describe(seconds)

    def last_report(self, seconds: float, untraced: int) -> str | None:
        """Return the progress at the end of the batch, unless the last progress line showed it.

        Args:
            seconds: How long it took.
            untraced: Items that had no span.
        """
        self.ended += max(untraced - self._untraced, 0)  # Where no event counted each of them.
        return self._describe(seconds) if self.collapsed and self.ended > self._reported else None

    def _describe(self, seconds: float) -> str:
        self._reported, self._reported_at = self.ended, seconds
        of = "" if self.size is None else f"/{self.size:,}"
        cost = wording.money(self._cost) if self._cost else ""
        failed = f"{self._failed:,} failed" if self._failed else ""
        retried = f"{wording.plural(self._attempts, 'failed attempt')}" if self._attempts else ""
        done = " ".join(filter(None, (f"{self.ended:,}{of} items", wording.seconds(seconds), cost)))
        return wording.joined([done, failed, retried])

    def _following(self) -> int:
        """Return the number of ended items at which the next progress line is due."""
        if self.size is None:
            due = MAX_SHOWN
            while due <= self.ended:
                due *= 2
            return due
        tenth = -(-self.size // _REPORTS)
        return min((self.ended // tenth + 1) * tenth, self.size)
