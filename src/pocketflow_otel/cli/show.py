"""`pocketflow-otel show`: the tree of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pocketflow_otel.cli.arguments import directory_option, json_option, load, run_argument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.trace import Trace
    from pocketflow_otel.views.styled_text import Line


@click.command()
@run_argument(default="last")
@click.option("--values", is_flag=True, help="Show the values that were recorded of the store's keys.")
@click.option("--gantt", "view", flag_value="gantt", help="Draw a bar for each step.")
@click.option("--events", "view", flag_value="events", help="Show the timeline instead of the tree.")
@click.option("--markdown", "view", flag_value="markdown", help="Print Markdown, for an issue or a chat.")
@click.option("--all", "everything", is_flag=True, help="Leave nothing out of a long run.")
@directory_option
@json_option
def show(
    *, run: str, values: bool, view: str | None, everything: bool, directory: Path | None, as_json: bool
) -> None:
    """Show the tree of a run.

    Each step has its duration, its share of its parent's, its action, attempts, diff, errors, cost.

    RUN is `last`, the default, a run id, any part of one that no other has, or a file.
    """
    from pocketflow_otel.cli.output import note, print_json, print_lines
    from pocketflow_otel.views.tree import LIMIT

    trace = load(directory, run)
    if values and not any(row["values"] for row in _rows(trace)):
        note("no values were recorded; POCKETFLOW_OTEL_CAPTURE_VALUES chooses which are")
    if as_json:
        print_json(trace.summary.as_json() | _more(trace, view))
    else:
        print_lines(_lines(trace, view, values=values, limit=None if everything else LIMIT))


def _rows(trace: Trace) -> Iterator[dict[str, Any]]:
    from pocketflow_otel.analysis.rows import rows

    return rows(trace)


def _more(trace: Trace, view: str | None) -> dict[str, Any]:
    if view == "events":
        return {"events": list(trace.events)}
    filled = ({name: value for name, value in row.items() if value not in (None, [])} for row in _rows(trace))
    return {"models": dict(trace.summary.models), "tree": list(filled)}


def _lines(trace: Trace, view: str | None, *, values: bool, limit: int | None) -> Iterator[Line]:
    from pocketflow_otel.cli.output import columns
    from pocketflow_otel.views.gantt import gantt_lines
    from pocketflow_otel.views.markdown import markdown_lines
    from pocketflow_otel.views.styled_text import Part
    from pocketflow_otel.views.timeline import timeline_lines
    from pocketflow_otel.views.tree import tree_lines

    if view == "gantt":
        return gantt_lines(trace, width=columns(), limit=limit)
    if view == "events":
        return timeline_lines(trace, None if limit is None else 1_000)
    if view == "markdown":
        return ((Part(line),) for line in markdown_lines(trace, values=values, limit=limit))
    return tree_lines(trace, values=values, limit=limit)
