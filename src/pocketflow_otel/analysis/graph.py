"""The path a run actually took, as a graph: Mermaid, or Graphviz's dot."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pocketflow_otel import semconv
from pocketflow_otel.views import wording
from pocketflow_otel.views.styled_text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import SpanNode, Trace

NodePath = tuple[str, ...]
"""The names of the flows that a node lies in, and its own."""


@dataclass(slots=True)
class GraphNode:
    """A node of a flow, or a nested flow, with what its visits came to."""

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

    def label(self, name: str) -> list[str]:
        """Return the lines that stand in it."""
        took = wording.seconds(self.duration)
        seen = f"{self.visits}×" if self.visits > 1 else ""
        failed = f"{self.failed} failed" if self.failed else ""
        return [escape(name), wording.joined([seen, took, wording.cost_of(self.sums), failed])]


@dataclass(slots=True)
class Graph:
    """The nodes of a run in the order in which they were reached, and the edges between them."""

    nodes: dict[NodePath, GraphNode] = field(default_factory=dict)
    edges: dict[tuple[NodePath, NodePath, str], int] = field(default_factory=lambda: defaultdict(int))


def graph(trace: Trace) -> Graph:
    """Return the graph of a run; rounds of a batch flow lie on one another."""
    found = Graph()
    for root in trace.roots:
        waiting: list[tuple[SpanNode, NodePath]] = [(root, ())]
        while waiting:
            step, above = waiting.pop()
            place = above
            if step.span.role in ("flow", "node"):
                place = (*above, step.span.label)
                found.nodes.setdefault(place, GraphNode(step.span.role)).add(step)
            _connect(found, step, place)
            waiting += [(child, place) for child in reversed(step.children)]
    return found


def _connect(found: Graph, step: SpanNode, place: NodePath) -> None:
    """Add the edges between the steps that one flow, or one round of it, ran after each other."""
    before: SpanNode | None = None
    for child in step.children:
        if child.span.role not in ("flow", "node"):
            continue
        if before is not None and before.span.end and before.span.end <= child.span.start:
            said = before.span.attributes
            action = said.get(semconv.NODE_ACTION, said.get(semconv.FLOW_ACTION, ""))
            edge = (_of(place, before), _of(place, child), str(action))
            found.edges[edge] += 1
        before = child


def _of(place: NodePath, step: SpanNode) -> NodePath:
    return (*place, step.span.label)


def mermaid(found: Graph) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart.

    https://mermaid.js.org/syntax/flowchart.html
    """
    ids = {place: f"n{number}" for number, place in enumerate(found.nodes)}
    yield "flowchart TD"
    yield from _mermaid_below(found, (), ids)
    for (start, end, action), times in found.edges.items():
        label = _quoted_mermaid(_edge_label(action, times))
        yield f"  {ids[start]} -->{f'|{label}|' if label else ''} {ids[end]}"
    failed = [ids[place] for place, node in found.nodes.items() if node.failed]
    if failed:
        yield "  classDef failed stroke:#c00,stroke-width:2px"
        yield f"  class {','.join(failed)} failed"


def _mermaid_below(found: Graph, above: NodePath, ids: dict[NodePath, str]) -> Iterator[str]:
    # Depth first without recursion: flows may nest deeper than Python's stack.
    waiting: list[tuple[NodePath, bool]] = [(place, False) for place in reversed(_inside(found, above))]
    while waiting:
        place, leaving = waiting.pop()
        indent = "  " * len(place)
        if leaving:
            yield f"{indent}end"
            continue
        node = found.nodes[place]
        label = _quoted_mermaid("\n".join(node.label(place[-1])))
        below = _inside(found, place)
        if below:
            yield f"{indent}subgraph {ids[place]}[{label}]"
            waiting.append((place, True))
            waiting += [(inner, False) for inner in reversed(below)]
        else:
            yield f"{indent}{ids[place]}[{label}]"


def _quoted_mermaid(label: str) -> str:
    if not label:
        return ""
    for char, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        label = label.replace(char, entity)
    return '"' + label.replace("\n", "<br>") + '"'


def dot(found: Graph) -> Iterator[str]:
    """Yield the lines of a Graphviz digraph.

    https://graphviz.org/doc/info/lang.html
    """
    ids = {place: f"n{number}" for number, place in enumerate(found.nodes)}
    yield "digraph run {"
    yield "  compound=true; node [shape=box, fontname=sans-serif]; edge [fontname=sans-serif];"
    waiting: list[tuple[NodePath, bool]] = [(place, False) for place in reversed(_inside(found, ()))]
    while waiting:
        place, leaving = waiting.pop()
        indent = "  " * len(place)
        if leaving:
            yield f"{indent}}}"
            continue
        node = found.nodes[place]
        label = _quoted_dot("\n".join(node.label(place[-1])))
        red = ", color=red" if node.failed else ""
        below = _inside(found, place)
        if below:
            # Edges need a node: the cluster's label is one of its own.
            yield f"{indent}subgraph cluster_{ids[place]} {{"
            yield f"{indent}  {ids[place]} [label={label}, shape=plaintext{red}];"
            waiting.append((place, True))
            waiting += [(inner, False) for inner in reversed(below)]
        else:
            yield f"{indent}{ids[place]} [label={label}{red}];"
    for (start, end, action), times in found.edges.items():
        yield f"  {ids[start]} -> {ids[end]} [label={_quoted_dot(_edge_label(action, times))}];"
    yield "}"


def _quoted_dot(label: str) -> str:
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _inside(found: Graph, above: NodePath) -> list[NodePath]:
    return [place for place in found.nodes if len(place) == len(above) + 1 and place[:-1] == above]


def _edge_label(action: str, times: int) -> str:
    shown = "" if action == semconv.DEFAULT_ACTION else escape(action)
    return f"{shown} {times}×".strip() if times > 1 else shown
