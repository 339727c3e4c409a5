"""`pocketflow-otel export`: a run for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketflow_otel.cli.arguments import directory_option, load, run_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import Trace


@click.command()
@run_argument()
@click.option(
    "--format",
    "kind",
    type=click.Choice(("otlp", "otlp-lines", "chrome", "csv")),
    default="otlp",
    show_default=True,
    help="Of what.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format otlp.")
@directory_option
def export(*, run: str, kind: str, output: Path | None, as_json: bool, directory: Path | None) -> None:
    """Export a run for other tools.

    As OTLP/JSON, in one request or in lines, as Chrome's trace events, or as CSV. What `chrome` gives
    opens in https://ui.perfetto.dev, with a track for each branch; `otlp-lines` is what the
    collector's otlpjsonfile receiver reads.
    """
    from pocketflow_otel.cli.output import write_to

    trace = load(directory, run)
    write_to(output, _lines(trace, "otlp" if as_json else kind))


def _lines(trace: Trace, kind: str) -> Iterator[str]:
    from pocketflow_otel.formats import chrome, csv_table, otlp_requests
    from pocketflow_otel.views.span_line import name_of

    match kind:
        case "csv":
            return csv_table.csv_lines(trace)
        case "chrome":
            return chrome.chrome_lines(trace, name_of)
        case "otlp-lines":
            return otlp_requests.otlp_lines(trace)
        case _:
            return otlp_requests.otlp_document(trace)
