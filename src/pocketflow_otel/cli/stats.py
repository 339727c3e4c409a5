"""`pocketflow-otel stats`: numbers over many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_of, directory_option, json_option, since_option
from pocketflow_otel.cli.list import readable_summaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from pocketflow_otel.analysis.stats import GroupStats
    from pocketflow_otel.traces.trace import RunSummary
    from pocketflow_otel.views.styled_text import Line


@click.command()
@click.option(
    "--by", type=click.Choice(("flow", "node", "model")), default="flow", show_default=True, help="Group by."
)
@since_option
@directory_option
@json_option
def stats(*, by: str, since: float | None, directory: Path | None, as_json: bool) -> None:
    """Add up runs, steps or models.

    Counts, errors, median and 95th percentile of durations, tokens, cost. Interrupted runs count as
    failed, and not for the durations; running ones not at all. What went on from a failure in it, or
    fell back, is troubled.
    """
    from pocketflow_otel.analysis.stats import by_flow, by_model, by_node
    from pocketflow_otel.cli.output import note, print_json, print_lines, room

    place = directory_of(directory)
    summaries = (summary for summary in readable_summaries(place, since) if summary.status != "running")
    if by == "node":
        groups = by_node(_timelines(summaries))
    elif by == "model":
        groups = by_model(summaries)
    else:
        groups = by_flow(summaries)
    ordered = sorted(groups.items(), key=lambda item: (-item[1].count, item[0]))
    if as_json:
        print_json([group.as_json(name) for name, group in ordered])
    elif ordered:
        print_lines(_lines(by, ordered, room()))
    else:
        note(f"there is nothing to count in {place}")


def _timelines(summaries: Iterator[RunSummary]) -> Iterator[tuple[RunSummary, Sequence[Mapping[str, Any]]]]:
    from pocketflow_otel.cli.output import note
    from pocketflow_otel.traces import reader
    from pocketflow_otel.traces.records import TraceError

    for summary in summaries:
        try:
            yield summary, reader.events(summary.path)
        except TraceError as error:
            note(f"Warning: {error}")


def _lines(by: str, groups: Sequence[tuple[str, GroupStats]], columns: int | None) -> Iterator[Line]:
    from pocketflow_otel.views import wording
    from pocketflow_otel.views.styled_text import BAD, WARN, Part, escape
    from pocketflow_otel.views.table import table

    def took(seconds: float | None) -> str:
        return "" if seconds is None else wording.seconds(seconds)

    counted = {"flow": "runs", "node": "steps", "model": "calls"}[by]
    rows = []
    for name, group in groups:
        row = group.as_json(name)
        rows.append(
            (
                escape(name),
                f"{group.count:,}",
                Part(f"{group.failed:,}" if group.failed else "", BAD),
                Part(f"{group.troubled:,}" if group.troubled else "", WARN),
                took(row["p50"]),
                took(row["p95"]),
                f"{group.tokens:,}" if group.calls else "",
                wording.price(row["cost"], group.unpriced) if group.calls else "",
            )
        )
    head = (by, f">{counted}", ">failed", ">troubled", ">p50", ">p95", ">tokens", ">cost")
    return table(head, rows, columns=columns)
