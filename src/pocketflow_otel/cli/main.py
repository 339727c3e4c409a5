"""`pocketflow-otel`: the group of commands."""

from __future__ import annotations

import click

from pocketflow_otel import __version__
from pocketflow_otel.cli.demo import demo
from pocketflow_otel.cli.doctor import doctor
from pocketflow_otel.cli.run import run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pocketflow-otel")
def main() -> None:
    """See what PocketFlow flows and pflow workflows do."""


for command in (run, demo, doctor):
    main.add_command(command)
