"""Find out who made which model calls in a run of pflow 0.8 to 0.10.

Their traces list the calls of the whole run, with the nodes' ids, and list them again and again with
each step. What an event says of its own call is less: of a batch nothing, and in a workflow without
namespaces the call of an earlier step once more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import mapping, members
from pocketflow_otel.formats.pflow import trace_values
from pocketflow_otel.usage.payloads import Usage, read_usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketflow_otel.formats.pflow.recorded_run import RecordedStep

_LIST: Final = "__llm_calls__"
_CUT: Final = 100
"""Calls after which pflow cuts the list off."""


def is_listed(events: Sequence[Any]) -> bool:
    """Return whether the events are of a format that lists the run's calls."""
    return any("shared_after" in mapping(event) for event in events)


def assign(steps: Sequence[RecordedStep], events: Sequence[Any]) -> list[Usage]:
    """Give each step its calls; return those of nobody, such as of a planner.

    Args:
        steps: The steps of the outermost workflow.
        events: What they were read from, in the same order.
    """
    lists = [
        found
        for event in events
        for when in ("shared_before", "shared_after")
        for found in [members(mapping(mapping(event).get(when)).get(_LIST))]
    ]
    listed = max(lists, key=len, default=[])
    calls_of: dict[str, list[Usage]] = defaultdict(list)
    for call in listed:
        calls_of[trace_values.name(mapping(call).get("node_id"))] += filter(None, read_usage(call, ask=False))
    whole = 0 < len(listed) < _CUT
    visits = Counter(step.node_id for step in steps)
    for step in steps:
        visits[step.node_id] -= 1
        calls = calls_of.get(step.node_id, [])
        if calls or whole:
            # One call a visit; the last one has the rest, which are the items of a batch.
            taken = calls[:1] if visits[step.node_id] else calls[:]
            step.usages = taken
            del calls[: len(taken)]
    return [usage for calls in calls_of.values() for usage in calls]
