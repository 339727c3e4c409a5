"""A process traced from its first line: `sitecustomize`, which Python imports, begins it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel import startup_variables

if TYPE_CHECKING:
    from pocketflow_otel.startup_variables import Settings


def begin(settings: Settings) -> None:
    """Trace this process; `sitecustomize` calls it."""
    startup_variables.remember(settings)
    if settings["by"] == "opentelemetry-instrument":
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        initialize()
    else:
        from pocketflow_otel.sdk.launch import launch

        launch(console=settings["console"], directory=settings["directory"], endpoint=settings["endpoint"])
