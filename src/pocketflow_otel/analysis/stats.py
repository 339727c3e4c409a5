"""Counts, durations, errors, tokens and cost over many runs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.traces.records import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pocketflow_otel.traces.trace import RunSummary


_TROUBLE: Final = ("fallback", "item_fallbacks", "failed_inside")
"""Fields of an event that are set where a step went on from a failure."""


@dataclass(slots=True)
class GroupStats:
    """Sums over the runs of a flow, the steps of a node or the calls of a model.

    Attributes:
        count, failed: How many, and how many of them failed or were interrupted.
        troubled: How many of the others went on from failures in them, or fell back.
        durations: Seconds each took; none for a model.
        calls, tokens, unpriced: Of their calls.
        cost: US dollars, of the calls that have a price.
        priced: Whether any has.
    """

    count: int = 0
    failed: int = 0
    troubled: int = 0
    durations: list[float] = field(default_factory=list)
    calls: int = 0
    tokens: int = 0
    unpriced: int = 0
    cost: float = 0.0
    priced: bool = False

    def add_calls(self, calls: int, tokens: int, cost: float | None, unpriced: int) -> None:
        self.calls += calls
        self.tokens += tokens
        self.unpriced += unpriced
        self.cost += cost or 0.0
        self.priced |= cost is not None

    def as_json(self, name: str) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "name": name,
            "count": self.count,
            "failed": self.failed,
            "troubled": self.troubled,
            "p50": percentile(self.durations, 50),
            "p95": percentile(self.durations, 95),
            "llm_calls": self.calls,
            "tokens": self.tokens,
            "cost": self.cost if self.priced or not self.calls else None,
            "unpriced_calls": self.unpriced,
        }


def by_flow(summaries: Iterable[RunSummary]) -> dict[str, GroupStats]:
    """Count runs by the name of their flow."""
    groups: dict[str, GroupStats] = defaultdict(GroupStats)
    for summary in summaries:
        group = groups[summary.title]
        group.count += 1
        failed = summary.status in ("failed", "interrupted")
        group.failed += failed
        group.troubled += not failed and bool(summary.trouble)
        if summary.status in ENDED:
            group.durations.append(summary.duration)
        cost = summary.cost if summary.calls else None
        group.add_calls(summary.calls, summary.tokens, cost, summary.unpriced)
    return groups


def by_model(summaries: Iterable[RunSummary]) -> dict[str, GroupStats]:
    """Count calls by model."""
    groups: dict[str, GroupStats] = defaultdict(GroupStats)
    for summary in summaries:
        for model, usage in summary.models.items():
            groups[model].count += usage["calls"]
            groups[model].add_calls(usage["calls"], usage["tokens"], usage["cost"], usage["unpriced_calls"])
    return groups


def by_node(runs: Iterable[tuple[RunSummary, Iterable[Mapping[str, Any]]]]) -> dict[str, GroupStats]:
    """Count steps by their node's name and flow, from the timelines; what is damaged is passed over."""
    groups: dict[str, GroupStats] = defaultdict(GroupStats)
    for summary, events in runs:
        for event in events:
            if event.get("type") != "node_complete":
                continue
            group = groups[f"{summary.title}.{event.get('name')}"]
            group.count += 1
            failed = event.get("status") == "failed"
            group.failed += failed
            group.troubled += not failed and any(map(event.get, _TROUBLE))
            duration = event.get("duration")
            if isinstance(duration, (int, float)):
                group.durations.append(float(duration))
            tokens, cost, unpriced = event.get("tokens"), event.get("cost"), event.get("unpriced_calls")
            if isinstance(tokens, int):
                group.add_calls(
                    1,
                    tokens,
                    float(cost) if isinstance(cost, (int, float)) else None,
                    unpriced if isinstance(unpriced, int) else 0,
                )
    return groups


def percentile(values: list[float], percent: float) -> float | None:
    """Return the value that so many percent do not exceed (nearest rank); `None` of none.

    >>> percentile([4.0, 1.0, 2.0, 3.0], 50), percentile([4.0, 1.0], 95), percentile([], 50)
    (2.0, 4.0, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]
