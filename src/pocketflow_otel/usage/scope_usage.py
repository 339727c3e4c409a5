"""Usage of the calls in one scope, each counted once, however often it was noticed."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pocketflow_otel.usage.totals import UsageTotals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pocketflow_otel.usage.payloads import Usage
    from pocketflow_otel.usage.pricing import PriceBook
    from pocketflow_otel.usage.totals import Call

MAX_CLIENT_SPANS: Final = 256
"""Spans of clients that a scope remembers, to know their duplicates."""

_DATE: Final = re.compile(r"[-@]20\d\d-?\d\d-?\d\d$")


@dataclass(frozen=True, slots=True)
class ClientSpanUsage:
    """Usage of a call, read from the span of an LLM client.

    Two instrumentations of one client make two spans of one call, side by side: they overlap in
    time and agree on the model and its input.

    Attributes:
        source: The instrumentation that made the span.
        start, end: Nanoseconds since the epoch.
        duplicated_by: The other instrumentations whose spans reported the same call.
    """

    source: str
    start: int
    end: int
    usage: Usage
    duplicated_by: set[str] = field(default_factory=set)

    def is_duplicate_of(self, earlier: ClientSpanUsage) -> bool:
        """Return whether an earlier span reports the same call; each instrumentation reports it once."""
        return (
            self.source != earlier.source
            and self.source not in earlier.duplicated_by
            and self.start < earlier.end
            and earlier.start < self.end
            and self.usage.input_tokens == earlier.usage.input_tokens
            and _undated(self.usage.model) == _undated(earlier.usage.model)
        )


def _undated(model: str | None) -> str:
    """Leave out the date: one instrumentation names the model asked for, another that which answered."""
    return _DATE.sub("", model or "")


def drop_duplicates(reported: Iterable[Usage], recorded: Iterable[Usage]) -> list[Usage]:
    """Return the `reported` usages without those of calls that are `recorded` too.

    Two usages are of one call when their counts are equal; a reported sum stands for all recorded.
    """
    reported, recorded = list(reported), list(recorded)
    if not recorded:
        return reported
    if _whole(reported) == _whole(recorded):
        return []
    duplicates = Counter(usage.tokens for usage in recorded)
    kept = []
    for usage in reported:
        if duplicates[usage.tokens] > 0:
            duplicates[usage.tokens] -= 1
        else:
            kept.append(usage)
    return kept


def _whole(usages: Sequence[Usage]) -> tuple[int, int]:
    """Return the counts of some usages together."""
    return sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages)


class ScopeUsage:
    """Usage of one scope's calls; the three ways in which calls are noticed are kept apart.

    Attributes:
        recorded: Calls given to `record_usage`.
        reported: Calls found in the store.
        clients: Usage on the spans of LLM clients.
        items: Usage of the items of the scope's batch.
        without_own_span: Usage reported by those of the items that have no span of their own.
        below: Usage of the flows and nodes in the scope.
        spent: Dollars of `items` and `below` that the run's budget has counted.
    """

    __slots__ = (
        "_client_spans", "below", "clients", "items", "recorded", "reported", "spent", "without_own_span",
    )  # fmt: skip

    def __init__(self) -> None:
        self.recorded: list[Call] = []
        self.reported: list[Call] = []
        self.clients = UsageTotals()
        self.items = UsageTotals()
        self.without_own_span = UsageTotals()
        self.below = UsageTotals()
        self.spent = Decimal(0)
        self._client_spans: deque[ClientSpanUsage] = deque(maxlen=MAX_CLIENT_SPANS)

    def is_new(self, client_span: ClientSpanUsage) -> bool:
        """Return whether a client's span reports a call that no other span has reported."""
        for earlier in self._client_spans:
            if client_span.is_duplicate_of(earlier):
                earlier.duplicated_by.add(client_span.source)
                return False
        self._client_spans.append(client_span)
        return True

    @property
    def explicit(self) -> list[Call]:
        """Calls that the user's code reported; they replace those on clients' spans.

        None where they only sum up the usage of the flows and nodes below.
        """
        recorded = [call.usage for call in self.recorded]
        kept = {id(usage) for usage in drop_duplicates([call.usage for call in self.reported], recorded)}
        calls = self.recorded + [call for call in self.reported if id(call.usage) in kept]
        below = self.below.total
        whole = _whole([call.usage for call in calls])
        return [] if below.calls and whole == (below.input_tokens, below.output_tokens) else calls

    @property
    def has_no_client_span(self) -> bool:
        """Whether the scope's own span is the only one with the usage of its calls."""
        return bool(self.explicit) and not self.clients.models and not self.items.models

    def own(self, prices: PriceBook) -> UsageTotals:
        """Return the usage of the scope's own calls."""
        own = UsageTotals()
        explicit = self.explicit
        for call in explicit:
            own.count(call, prices)
        if not explicit:
            own.add(self.clients)
            own.add(self.items)
        return own
