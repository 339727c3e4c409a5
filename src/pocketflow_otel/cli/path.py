"""`pocketflow-otel path`: where files are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_of, directory_option, json_option, run_argument

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@run_argument(required=False)
@directory_option
@json_option
def path(*, run: str | None, directory: Path | None, as_json: bool) -> None:
    """Print where trace files are, or RUN's."""
    from pocketflow_otel.cli.output import print_json
    from pocketflow_otel.traces import run_directory

    found = directory_of(directory).absolute()
    if run is not None:
        found = run_directory.find(found, run)
        if not found.exists():
            from pocketflow_otel.traces.records import TraceError

            raise TraceError(f"there is no file {found}")
    if as_json:
        print_json({"path": str(found)})
    else:
        click.echo(str(found))
