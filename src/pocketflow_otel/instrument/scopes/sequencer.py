"""Scopes that run nodes one after the other, and the visits of each node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow_otel.runtime.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sequencer(Scope):
    """A scope that runs nodes by their actions: a flow, or a round of a batch flow.

    Attributes:
        framework_loop_only: Whether nothing but PocketFlow's own code runs between two nodes.
        framework_routing: Whether nothing but PocketFlow's own code finds the next node.
        visits: How often each node ran, for `count_visit`.
    """

    __slots__ = ()

    framework_loop_only: bool
    framework_routing: bool
    visits: dict[int, int]


def count_visit(node: Any, own: Mapping[str, Any], within: Scope | None) -> int:
    """Count a visit of a node or nested flow, from 1, in the flow or round it runs in.

    Flows run copies; `copy.copy` shares the successors of the original, which tell it apart.

    Args:
        node: The node or flow.
        own: Its attributes.
        within: What it runs in.
    """
    if not isinstance(within, Sequencer):
        return 1
    key = id(own.get("successors", node))
    visit = within.visits[key] = within.visits.get(key, 0) + 1
    return visit
