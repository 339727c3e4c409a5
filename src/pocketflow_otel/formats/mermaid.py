"""The graph of a run as a Mermaid flowchart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.analysis.graph import EdgeLabel, Graph, NodeLabel, NodePath


def mermaid_lines(graph: Graph, node_label: NodeLabel, edge_label: EdgeLabel) -> Iterator[str]:
    """Yield the lines of a Mermaid flowchart.

    https://mermaid.js.org/syntax/flowchart.html
    """
    ids = {path: f"n{number}" for number, path in enumerate(graph.nodes)}
    yield "flowchart TD"
    yield from _node_lines(graph, ids, node_label)
    for (start, end, action), times in graph.edges.items():
        label = _quoted(edge_label(action, times))
        yield f"  {ids[start]} -->{f'|{label}|' if label else ''} {ids[end]}"
    failed = [ids[path] for path, node in graph.nodes.items() if node.failed]
    if failed:
        yield "  classDef failed stroke:#c00,stroke-width:2px"
        yield f"  class {','.join(failed)} failed"


def _node_lines(graph: Graph, ids: dict[NodePath, str], node_label: NodeLabel) -> Iterator[str]:
    for path, turn in graph.walk():
        indent = "  " * len(path)
        if turn == "leave":
            yield f"{indent}end"
            continue
        label = _quoted(node_label(path[-1], graph.nodes[path]))
        yield f"{indent}{'subgraph ' if turn == 'enter' else ''}{ids[path]}[{label}]"


def _quoted(label: str) -> str:
    if not label:
        return ""
    for char, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        label = label.replace(char, entity)
    return '"' + label.replace("\n", "<br>") + '"'
