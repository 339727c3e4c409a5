"""`pocketflow-otel tail`: follow a run of another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_of, directory_option, json_option, run_argument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.views.styled_text import Line


@click.command()
@run_argument(required=False)
@directory_option
@json_option
def tail(*, run: str | None, directory: Path | None, as_json: bool) -> None:
    """Follow a run of another process.

    It is told from its beginning until it ends. RUN is by default the newest that is running.
    """
    from pocketflow_otel.cli.output import print_lines
    from pocketflow_otel.traces import reader, run_directory
    from pocketflow_otel.traces.records import TraceError

    place = directory_of(directory)
    if run is not None:
        path = run_directory.find(place, run)
    else:
        going = run_directory.running(place)
        if not going:
            raise TraceError(f"no run is going on in {place}")
        path = going[0]
    trace = reader.read(path)
    lines = _followed(trace.summary.path) if trace.summary.status == "running" else _saved(path)
    if as_json:
        _print_json_lines(lines)
    else:
        print_lines(lines, paged=False)


def _followed(path: Path) -> Iterator[Line]:
    from pocketflow_otel.traces import run_files
    from pocketflow_otel.views.tail import tail_lines

    try:
        yield from tail_lines(path)
    except FileNotFoundError:  # It ended between two looks.
        yield from _saved(run_files.trace_path(path))


def _saved(path: Path) -> Iterator[Line]:
    from pocketflow_otel.cli.replay import timed_lines
    from pocketflow_otel.traces import reader

    for _, line in timed_lines(reader.read(path)):
        yield line


def _print_json_lines(lines: Iterator[Line]) -> None:
    import json

    from pocketflow_otel.views.styled_text import render

    for line in lines:
        click.echo(json.dumps({"line": render(line)}))
