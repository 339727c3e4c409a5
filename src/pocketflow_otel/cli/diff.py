"""`pocketflow-otel diff`: what changed since yesterday."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_option, json_option, load, run_argument

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@run_argument("run1")
@run_argument("run2", default="last")
@directory_option
@json_option
def diff(*, run1: str, run2: str, directory: Path | None, as_json: bool) -> None:
    """Compare two runs.

    Their paths, durations, tokens, costs, and what their steps changed. RUN2 is the last run unless
    it is given.
    """
    from pocketflow_otel.analysis.diff import pairs
    from pocketflow_otel.cli.output import print_json, print_lines
    from pocketflow_otel.views.comparison import comparison_lines

    left, right = load(directory, run1), load(directory, run2)
    if as_json:
        print_json(
            {
                "left": left.summary.as_json(),
                "right": right.summary.as_json(),
                "steps": [pair.as_json() for pair in pairs(left, right)],
            }
        )
    else:
        print_lines(comparison_lines(left, right))
