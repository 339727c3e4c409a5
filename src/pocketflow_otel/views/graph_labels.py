"""What stands in the nodes and at the edges of a run's graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel import semconv
from pocketflow_otel.views import wording
from pocketflow_otel.views.styled_text import escape

if TYPE_CHECKING:
    from pocketflow_otel.analysis.graph import GraphNode


def node_label(name: str, node: GraphNode) -> str:
    """Return the name of a node, and below it visits, duration, cost and failures."""
    visits = f"{node.visits}×" if node.visits > 1 else ""
    failed = f"{node.failed} failed" if node.failed else ""
    facts = [visits, wording.seconds(node.duration), wording.cost_of(node.sums), failed]
    return f"{escape(name)}\n{wording.joined(facts)}"


def edge_label(action: str, times: int) -> str:
    """Return the action that leads on, unless it is the default one, and how often it was taken."""
    shown = "" if action == semconv.DEFAULT_ACTION else escape(action)
    return f"{shown} {times}×".strip() if times > 1 else shown
