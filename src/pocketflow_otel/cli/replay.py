"""`pocketflow-otel replay`: a run once more, as the live view printed it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_option, json_option, load, run_argument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.trace import Trace
    from pocketflow_otel.views.styled_text import Line


@click.command()
@run_argument(default="last")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="X",
    help="So many times as fast; 0: at once.",
)
@directory_option
@json_option
def replay(*, run: str, speed: float, directory: Path | None, as_json: bool) -> None:
    """Print a run again, in its own tempo."""
    from pocketflow_otel.cli.output import print_json, print_lines
    from pocketflow_otel.views.styled_text import render

    trace = load(directory, run)
    if as_json:
        print_json([{"elapsed": elapsed, "line": render(line)} for elapsed, line in timed_lines(trace)])
    else:
        print_lines(_in_time(trace, speed), paged=speed == 0)


def timed_lines(trace: Trace) -> Iterator[tuple[float, Line]]:
    """Yield the lines of a run, each with the seconds from the run's start after which it was printed."""
    from pocketflow_otel.views.live import LiveRenderer
    from pocketflow_otel.views.replay import ending, replay_lines

    start = trace.root.start if trace.root is not None else 0
    renderer = LiveRenderer(trace.summary.run_id, start)
    elapsed = 0.0
    for at, line in replay_lines(trace.spans, renderer):
        elapsed = max((at - start) / 1e9, 0.0)
        yield elapsed, line
    for line in ending(trace, renderer):
        yield elapsed, line


def _in_time(trace: Trace, speed: float) -> Iterator[Line]:
    begun = time.monotonic()
    for elapsed, line in timed_lines(trace):
        if speed:
            time.sleep(max(elapsed / speed - (time.monotonic() - begun), 0.0))
        yield line
