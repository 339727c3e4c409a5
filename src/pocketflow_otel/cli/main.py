"""`pocketflow-otel`: the group of commands."""

from __future__ import annotations

import click

from pocketflow_otel import __version__
from pocketflow_otel.cli.arguments import CommandGroup
from pocketflow_otel.cli.demo import demo
from pocketflow_otel.cli.diff import diff
from pocketflow_otel.cli.doctor import doctor
from pocketflow_otel.cli.export import export
from pocketflow_otel.cli.graph import graph
from pocketflow_otel.cli.import_pflow import import_pflow
from pocketflow_otel.cli.list import list_runs
from pocketflow_otel.cli.path import path
from pocketflow_otel.cli.prune import prune
from pocketflow_otel.cli.replay import replay
from pocketflow_otel.cli.run import run
from pocketflow_otel.cli.send import send
from pocketflow_otel.cli.show import show
from pocketflow_otel.cli.stats import stats
from pocketflow_otel.cli.tail import tail


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pocketflow-otel")
def main() -> None:
    """See what PocketFlow flows do."""


for command in (
    run, demo, list_runs, show, tail, graph, stats, diff, replay, export, send, import_pflow, prune, path,
    doctor,
):  # fmt: skip
    main.add_command(command)
