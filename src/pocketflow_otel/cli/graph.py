"""`pocketflow-otel graph`: the path a run took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_option, json_option, load, run_argument

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@run_argument(default="last")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("mermaid", "dot")),
    default="mermaid",
    show_default=True,
    help="For Markdown, or for Graphviz.",
)
@directory_option
@json_option
def graph(*, run: str, kind: str, directory: Path | None, as_json: bool) -> None:
    """Draw the path a run took.

    With the visits, durations and costs of its nodes, and the actions between them.
    """
    from pocketflow_otel.analysis.graph import build_graph
    from pocketflow_otel.cli.output import print_json, print_text
    from pocketflow_otel.formats.dot import dot_lines
    from pocketflow_otel.formats.mermaid import mermaid_lines
    from pocketflow_otel.views.graph_labels import edge_label, node_label

    found = build_graph(load(directory, run))
    if as_json:
        print_json(
            {
                "nodes": [
                    {
                        "path": list(path),
                        "kind": node.kind,
                        "visits": node.visits,
                        "failed": node.failed,
                        "duration": round(node.duration, 6),
                    }
                    for path, node in found.nodes.items()
                ],
                "edges": [
                    {"from": list(start), "to": list(end), "action": action, "times": times}
                    for (start, end, action), times in found.edges.items()
                ],
            }
        )
        return
    lines = mermaid_lines if kind == "mermaid" else dot_lines
    for line in lines(found, node_label, edge_label):
        print_text(line + "\n")
