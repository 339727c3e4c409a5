"""Trace this process from within, as `opentelemetry-instrument` does from outside."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import trace

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.otlp.endpoints import changed_environment, variables_for
from pocketflow_otel.sdk.distro import PocketFlowConfigurator, PocketFlowDistro
from pocketflow_otel.sdk.exit_notice import notice_at_exit
from pocketflow_otel.sdk.provider import prepare_provider

if TYPE_CHECKING:
    from pocketflow_otel.config import ConsoleMode


def launch(
    *,
    console: ConsoleMode | None,
    directory: str | None,
    endpoint: str | None = None,
) -> None:
    """Trace this process as `opentelemetry-instrument` with our distro does, from within.

    Args:
        console: What stderr shows; by default one line that names the trace file.
        directory: Where trace files go; by default as the environment says.
        endpoint: Where spans are sent as well: see `endpoints.variables_for`.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _auto_instrument(endpoint)
    config = Config.from_env(report=no_report)  # The instrumentor reports bad ones.
    shown = console or config.console
    if shown != "off":
        notice_at_exit(asked=shown in ("live", "summary"))
    if console or directory:
        config = replace(
            config,
            console=console,
            file=config.file or "all",
            dir=Path(directory) if directory else config.dir,
        )
        prepare_provider(trace.get_tracer_provider(), config, change_views=True)


def _auto_instrument(endpoint: str | None) -> None:
    """Set up the SDK, and every instrumentation that is installed: LLM clients have spans too."""
    from opentelemetry.instrumentation.auto_instrumentation._load import _load_instrumentors

    distro = PocketFlowDistro()
    with changed_environment(variables_for(endpoint, os.environ) if endpoint else {}):
        distro.configure()
        configurator = PocketFlowConfigurator()  # type: ignore[no-untyped-call]
        configurator.default_console = "saved"
        configurator.configure()  # type: ignore[no-untyped-call]
    _load_instrumentors(distro)
