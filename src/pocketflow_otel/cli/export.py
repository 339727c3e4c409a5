"""`pocketflow-otel export`: a run for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from pocketflow_otel.cli.arguments import directory_option, load, run_argument

FORMATS = {"otlp": "otlp_document", "otlp-lines": "otlp_lines", "chrome": "chrome", "csv": "table"}


@click.command()
@run_argument()
@click.option(
    "--format", "kind", type=click.Choice(tuple(FORMATS)), default="otlp", show_default=True, help="Of what."
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
    from pocketflow_otel.formats import chrome

    trace = load(directory, run)
    write_to(output, getattr(chrome, FORMATS["otlp" if as_json else kind])(trace))
