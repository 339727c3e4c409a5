"""`pocketflow-otel list`: what ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from pocketflow_otel.cli.arguments import directory_of, directory_option, json_option, since_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pocketflow_otel.traces.trace import RunSummary
    from pocketflow_otel.views.styled_text import Line


_YEAR: Final = len("2026-")
_MINUTE: Final = len("2026-11-22 19:30")


@click.command("list")
@click.option("--flow", "-f", metavar="F", help="Only runs of flows with this in their name.")
@click.option("--failed", is_flag=True, help="Only runs that failed or were interrupted.")
@since_option
@click.option("--min-cost", type=float, metavar="USD", help="Only runs that cost at least this.")
@click.option(
    "-n", "limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most so many; 0: all."
)
@directory_option
@json_option
def list_runs(
    *,
    flow: str | None,
    failed: bool,
    since: float | None,
    min_cost: float | None,
    limit: int,
    directory: Path | None,
    as_json: bool,
) -> None:
    """List runs, the newest first.

    A file that cannot be read is named on stderr. A run whose process is gone is `interrupted`.
    """
    from pocketflow_otel.cli.output import note, print_json, print_lines, room

    place = directory_of(directory)
    found: list[RunSummary] = []
    more = False
    for summary in readable_summaries(place, since):
        if (flow and flow.lower() not in summary.title.lower()) or (
            failed and summary.status not in ("failed", "interrupted")
        ):
            continue
        if min_cost is not None and (summary.cost or 0) < min_cost:
            continue
        if limit and len(found) == limit:
            more = True
            break
        found.append(summary)
    if as_json:
        print_json([summary.as_json() for summary in found])
    elif found:
        print_lines(_lines(found, room()))
    if not found:
        note(f"no run in {place} fits" if place.is_dir() else f"there is no run in {place} yet")
    elif more and not as_json:
        note(f"the newest {limit} are shown; -n 0 shows all")


def readable_summaries(directory: Path, since: float | None) -> Iterator[RunSummary]:
    """Yield the summaries of runs since then, the newest first; name the files that cannot be read."""
    from pocketflow_otel.cli.output import note
    from pocketflow_otel.runtime.run_id import start_of
    from pocketflow_otel.traces import run_directory, run_files
    from pocketflow_otel.traces.records import TraceError

    paths = run_directory.run_paths(directory)
    if since is not None:
        paths = [path for path in paths if start_of(run_files.run_id_of(path)) >= int(since)]
    for summary in run_directory.summaries(paths):
        if isinstance(summary, TraceError):
            note(f"Warning: {summary}")
        elif since is None or summary.start >= since:
            yield summary


def _lines(summaries: Sequence[RunSummary], columns: int | None) -> Sequence[Line]:
    """Return the table in as much detail as there is room for."""
    from pocketflow_otel.views.styled_text import line_width

    for brief, gap in ((False, 2), (True, 2), (True, 1)):
        lines = list(_table(summaries, columns, brief=brief, gap=gap))
        if columns is None or line_width(lines[0]) <= columns:
            break
    return lines


def _table(summaries: Sequence[RunSummary], columns: int | None, *, brief: bool, gap: int) -> Iterator[Line]:
    """Return the table; in brief with the digits of run ids, times to the minute, signs for words."""
    from pocketflow_otel.runtime.run_id import digits_of
    from pocketflow_otel.views import wording
    from pocketflow_otel.views.status import style_of
    from pocketflow_otel.views.styled_text import Part, escape
    from pocketflow_otel.views.table import table
    from pocketflow_otel.views.trouble import in_signs, in_words

    def status(summary: RunSummary) -> Part:
        trouble = summary.trouble
        signs = in_signs(trouble) if brief else f"({in_words(trouble)})"
        return Part(
            f"{summary.status} {signs}" if trouble else summary.status,
            style_of(summary.status, troubled=bool(trouble)),
        )

    return table(
        (
            "run",
            "when (UTC)",
            "flow",
            "status",
            ">took" if brief else ">duration",
            ">steps",
            ">tokens",
            ">cost",
        ),
        [
            (
                digits_of(summary.run_id) or summary.run_id if brief else summary.run_id,
                wording.moment(summary.start)[_YEAR:_MINUTE] if brief else wording.moment(summary.start),
                escape(summary.title),
                status(summary),
                wording.seconds(summary.duration),
                f"{summary.steps:,}",
                f"{summary.tokens:,}" if summary.calls else "",
                wording.cost_of(summary.sums()) if summary.calls else "",
            )
            for summary in summaries
        ],
        columns=columns,
        names=2,
        gap=gap,
    )
