"""The graph of a run as a digraph in Graphviz's dot language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.analysis.graph import EdgeLabel, Graph, NodeLabel, NodePath


def dot_lines(graph: Graph, node_label: NodeLabel, edge_label: EdgeLabel) -> Iterator[str]:
    """Yield the lines of a Graphviz digraph.

    https://graphviz.org/doc/info/lang.html
    """
    ids = {path: f"n{number}" for number, path in enumerate(graph.nodes)}
    yield "digraph run {"
    yield "  compound=true; node [shape=box, fontname=sans-serif]; edge [fontname=sans-serif];"
    yield from _node_lines(graph, ids, node_label)
    for (start, end, action), times in graph.edges.items():
        yield f"  {ids[start]} -> {ids[end]} [label={_quoted(edge_label(action, times))}];"
    yield "}"


def _node_lines(graph: Graph, ids: dict[NodePath, str], node_label: NodeLabel) -> Iterator[str]:
    for path, turn in graph.walk():
        indent = "  " * len(path)
        if turn == "leave":
            yield f"{indent}}}"
            continue
        node = graph.nodes[path]
        label = _quoted(node_label(path[-1], node))
        red = ", color=red" if node.failed else ""
        if turn == "enter":
            # Edges need a node: the cluster's label is one of its own.
            yield f"{indent}subgraph cluster_{ids[path]} {{"
            yield f"{indent}  {ids[path]} [label={label}, shape=plaintext{red}];"
        else:
            yield f"{indent}{ids[path]} [label={label}{red}];"


def _quoted(label: str) -> str:
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
