"""`pocketflow-otel demo`: a built-in flow that shows everything, offline, in two seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from pocketflow_otel.cli.arguments import dir_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@dir_option("Where the trace file goes.")
def demo(*, directory: Path | None) -> None:
    """Run a built-in flow with a loop, a retry, a nested flow and a parallel batch.

    Its model is canned: no key, no network, and the tokens and the cost are those that a real one
    would tell. The view goes to stderr, the answer to stdout.
    """
    import pocketflow_otel
    from pocketflow_otel.cli.travel import create_travel_advice

    pocketflow_otel.configure(directory=directory, service_name="pocketflow-otel-demo")
    shared: dict[str, Any] = {"question": "Where should I go in autumn?"}
    asyncio.run(create_travel_advice().run_async(shared))
    click.echo(shared["answer"])
