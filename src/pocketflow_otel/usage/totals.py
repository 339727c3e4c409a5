"""Add up usages and what they cost."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from pocketflow_otel.usage.payloads import Usage
    from pocketflow_otel.usage.pricing import PriceBook

MAX_WITNESSES: Final = 256
"""Spans of clients that are remembered, to know their twins."""

_DATE: Final = re.compile(r"[-@]20\d\d-?\d\d-?\d\d$")

UNNAMED: Final = "unknown"
"""What calls without a model's name are listed under."""


@dataclass(frozen=True, slots=True)
class Call:
    """One model call: its usage, when it was made, and where it was sent, if known."""

    usage: Usage
    at: datetime
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """The span of an LLM client that told of a call.

    Two instrumentations of one client make two spans of one call, side by side: they overlap in
    time and agree on the model and its input.

    Attributes:
        source: The instrumentation that made it.
        start, end: Nanoseconds since the epoch.
        seconded: The other instrumentations whose spans told of the same call.
    """

    source: str
    start: int
    end: int
    usage: Usage
    seconded: set[str] = field(default_factory=set)

    def is_seconded_by(self, other: Witness) -> bool:
        """Tell whether another span tells of the same call; each instrumentation does so once."""
        if (
            other.source != self.source
            and other.source not in self.seconded
            and other.start < self.end
            and self.start < other.end
            and other.usage.input_tokens == self.usage.input_tokens
            and _undated(other.usage.model) == _undated(self.usage.model)
        ):
            self.seconded.add(other.source)
            return True
        return False


def _undated(model: str | None) -> str:
    """Leave out the date: one instrumentation names the model asked for, another that which answered."""
    return _DATE.sub("", model or "")


@dataclass(slots=True)
class Sum:
    """Tokens and dollars of some calls; `cost` leaves out the `unpriced` ones."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0

    def add(self, other: Sum) -> None:
        """Add another sum."""
        self.calls += other.calls
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.cost += other.cost
        self.unpriced += other.unpriced


@dataclass(slots=True)
class Tally:
    """Calls added up by model; those whose price is not known yet wait.

    Attributes:
        models: Sums by the model's name.
        waiting: Calls counted in `models`, but not yet in its costs: the price table is loading.
    """

    models: dict[str, Sum] = field(default_factory=dict)
    waiting: list[Call] = field(default_factory=list)

    def count(self, call: Call, prices: PriceBook) -> None:
        """Add a call, with its price if that can be told at once."""
        usage = call.usage
        self._of(usage).add(Sum(1, usage.input_tokens, usage.output_tokens, usage.cache_read_tokens))
        if prices.knows_without_table(usage):
            self._price(call, prices)
        else:
            self.waiting.append(call)

    def settle(self, prices: PriceBook) -> None:
        """Price what waits. May take as long as the table takes to load."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            self._price(call, prices)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        for model, found in other.models.items():
            self.models.setdefault(model, Sum()).add(found)
        self.waiting += other.waiting

    @property
    def total(self) -> Sum:
        """The sum over all models."""
        total = Sum()
        for found in self.models.values():
            total.add(found)
        return total

    def _of(self, usage: Usage) -> Sum:
        return self.models.setdefault(usage.model or UNNAMED, Sum())

    def _price(self, call: Call, prices: PriceBook) -> None:
        price = prices.price(call.usage, call.at, base_url=call.base_url)
        found = self._of(call.usage)
        if price is None:
            found.unpriced += 1
        else:
            found.cost += price


def without_twins(reported: Iterable[Usage], recorded: Iterable[Usage]) -> list[Usage]:
    """Leave out of `reported` what `recorded` tells of too: the same call, seen in two ways.

    Two usages are of one call when their counts are equal; a reported sum stands for all recorded.
    """
    reported, recorded = list(reported), list(recorded)
    if not recorded:
        return reported
    if _whole(reported) == _whole(recorded):
        return []
    twins = Counter(usage.tokens for usage in recorded)
    left = []
    for usage in reported:
        if twins[usage.tokens] > 0:
            twins[usage.tokens] -= 1
        else:
            left.append(usage)
    return left


def _whole(usages: Sequence[Usage]) -> tuple[int, int]:
    """Return the counts of some usages together."""
    return sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages)


class Account:
    """What one scope knows of its calls; the three ways they are seen are kept apart.

    Attributes:
        recorded: Calls given to `record_usage`.
        reported: Calls found in the store.
        clients: Calls seen on the spans of LLM clients.
        items: What the items of the scope's batch came to.
        unseen: What those items came to that told of their calls themselves, and have no span.
        below: What the flows and nodes in it came to.
        spent: Dollars of `items` and `below` that the run's budget has counted.
    """

    __slots__ = ("_witnesses", "below", "clients", "items", "recorded", "reported", "spent", "unseen")

    def __init__(self) -> None:
        self.recorded: list[Call] = []
        self.reported: list[Call] = []
        self.clients = Tally()
        self.items = Tally()
        self.unseen = Tally()
        self.below = Tally()
        self.spent = Decimal(0)
        self._witnesses: deque[Witness] = deque(maxlen=MAX_WITNESSES)

    def is_new(self, witness: Witness) -> bool:
        """Tell whether a client's span tells of a call that no other has told of."""
        if any(known.is_seconded_by(witness) for known in self._witnesses):
            return False
        self._witnesses.append(witness)
        return True

    @property
    def explicit(self) -> list[Call]:
        """The calls a user's code told of; they replace what clients' spans say.

        None where they only sum up what the flows and nodes below came to.
        """
        recorded = [call.usage for call in self.recorded]
        kept = {id(usage) for usage in without_twins([call.usage for call in self.reported], recorded)}
        told = self.recorded + [call for call in self.reported if id(call.usage) in kept]
        below = self.below.total
        whole = _whole([call.usage for call in told])
        return [] if below.calls and whole == (below.input_tokens, below.output_tokens) else told

    @property
    def only_witness(self) -> bool:
        """Whether no other span than the scope's own tells of its calls."""
        return bool(self.explicit) and not self.clients.models and not self.items.models

    def own(self, prices: PriceBook) -> Tally:
        """Return what the scope's own calls come to."""
        own = Tally()
        explicit = self.explicit
        for call in explicit:
            own.count(call, prices)
        if not explicit:
            own.add(self.clients)
            own.add(self.items)
        return own
