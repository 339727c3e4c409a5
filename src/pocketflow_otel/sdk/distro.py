"""The distro and configurator that `opentelemetry-instrument` finds."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.otlp import exporters
from pocketflow_otel.export.otlp.endpoints import changed_environment, sdk_variables, set_variables, setting
from pocketflow_otel.sdk.ids import PrivateIdGenerator
from pocketflow_otel.sdk.named_exporters import processor_for
from pocketflow_otel.sdk.provider import prepare_provider
from pocketflow_otel.sdk.resource import default_attributes

if TYPE_CHECKING:
    from pocketflow_otel.config import ConsoleMode

_replaced: Final[dict[str, str | None]] = {}
"""The variables that our distro changed for the SDK's set-up, as they were."""


class PocketFlowDistro(BaseDistro):  # type: ignore[misc]  # ships without types
    """Local first: no exporter and no network unless the environment asks for them."""

    def _configure(self, **kwargs: Any) -> None:
        changes = {name: value for name, value in sdk_variables().items() if value is not None}
        _replaced.update((name, os.environ.get(name)) for name in changes)
        set_variables(changes)


class PocketFlowConfigurator(_OTelSDKConfigurator):
    """The SDK's own set-up, with private ids and exporters that do no harm.

    By default a run leaves a trace file and two summary lines.

    Attributes:
        default_console: What stderr shows where nothing is asked for.
    """

    default_console: ConsoleMode = "summary"

    def _configure(self, **kwargs: Any) -> None:
        if not setting("OTEL_PYTHON_ID_GENERATOR"):
            kwargs.setdefault("id_generator", PrivateIdGenerator())
        kwargs.setdefault("export_span_processor", processor_for)
        kwargs["resource_attributes"] = default_attributes() | kwargs.get("resource_attributes", {})
        with changed_environment(exporters.variables_for_setup()):
            super()._configure(**kwargs)  # type: ignore[no-untyped-call]
        set_variables(_replaced)  # The program, and what it starts, find what they would find without us.
        _replaced.clear()
        config = Config.from_env(report=no_report)  # The instrumentor reports bad ones.
        config = replace(config, console=config.console or self.default_console, file=config.file or "all")
        prepare_provider(trace.get_tracer_provider(), config)
