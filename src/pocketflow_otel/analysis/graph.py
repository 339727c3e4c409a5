"""The path a run actually took, as a graph of nodes and the actions between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import SpanNode, Trace

NodePath = tuple[str, ...]
"""The names of the flows that a node lies in, and its own."""
Turn = Literal["enter", "leave", "node"]
"""Whether a walk enters or leaves a flow, or comes by what has nothing in it."""
NodeLabel = Callable[[str, "GraphNode"], str]
"""Returns what stands in a node, by its name; lines are parted by line feeds."""
EdgeLabel = Callable[[str, int], str]
"""Returns what stands at an edge, by its action and how often it was taken."""


@dataclass(slots=True)
class GraphNode:
    """A node of a flow, or a nested flow, with the sums of its visits."""

    kind: str
    visits: int = 0
    failed: int = 0
    duration: float = 0.0
    sums: dict[str, Any] = field(default_factory=dict)

    def add(self, step: SpanNode) -> None:
        self.visits += 1
        self.failed += step.span.failed
        self.duration += step.span.duration
        for name in (semconv.COST, semconv.COST_UNPRICED_CALLS):
            if name in step.span.attributes:
                self.sums[name] = self.sums.get(name, 0) + step.span.attributes[name]


@dataclass(slots=True)
class Graph:
    """The nodes of a run in the order in which they were reached, and the edges between them.

    An edge is from where, to where and by which action; how often it was taken is its value.
    """

    nodes: dict[NodePath, GraphNode] = field(default_factory=dict)
    edges: dict[tuple[NodePath, NodePath, str], int] = field(default_factory=lambda: defaultdict(int))

    def inside(self, path: NodePath) -> list[NodePath]:
        """Return the nodes right in a flow, in the order in which they were reached."""
        return [inner for inner in self.nodes if len(inner) == len(path) + 1 and inner[:-1] == path]

    def walk(self) -> Iterator[tuple[NodePath, Turn]]:
        """Yield the nodes as they lie in one another: a flow, what is in it, and the flow again.

        Depth first without recursion: flows may nest deeper than Python's stack.
        """
        waiting: list[tuple[NodePath, bool]] = [(path, False) for path in reversed(self.inside(()))]
        while waiting:
            path, leaving = waiting.pop()
            if leaving:
                yield path, "leave"
                continue
            below = self.inside(path)
            yield path, "enter" if below else "node"
            if below:
                waiting.append((path, True))
                waiting += [(inner, False) for inner in reversed(below)]


def build_graph(trace: Trace) -> Graph:
    """Return the graph of a run; rounds of a batch flow lie on one another."""
    found = Graph()
    for root in trace.roots:
        waiting: list[tuple[SpanNode, NodePath]] = [(root, ())]
        while waiting:
            step, above = waiting.pop()
            path = above
            if step.span.role in ("flow", "node"):
                path = (*above, step.span.label)
                found.nodes.setdefault(path, GraphNode(step.span.role)).add(step)
            _connect(found, step, path)
            waiting += [(child, path) for child in reversed(step.children)]
    return found


def _connect(found: Graph, step: SpanNode, path: NodePath) -> None:
    """Add the edges between the steps that one flow, or one round of it, ran after each other."""
    before: SpanNode | None = None
    for child in step.children:
        if child.span.role not in ("flow", "node"):
            continue
        if before is not None and before.span.end and before.span.end <= child.span.start:
            attributes = before.span.attributes
            action = attributes.get(semconv.NODE_ACTION, attributes.get(semconv.FLOW_ACTION, ""))
            edge = (_of(path, before), _of(path, child), str(action))
            found.edges[edge] += 1
        before = child


def _of(path: NodePath, step: SpanNode) -> NodePath:
    return (*path, step.span.label)
