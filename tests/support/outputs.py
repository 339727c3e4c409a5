"""What the runs of a provider are shown to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow_otel import Config
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.sdk.provider import prepare_provider, views_of

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import TracerProvider

    from pocketflow_otel.config import ConsoleMode, FileMode


def show(
    provider: TracerProvider,
    *,
    console: ConsoleMode | None,
    file: FileMode | None,
    directory: Path,
    **limits: Any,
) -> None:
    """Put the views on a provider; where there is one already, it changes to the new mode."""
    config = Config(console=console, file=file, dir=directory, **limits)
    prepare_provider(provider, config, change_views=True)


def shown(provider: TracerProvider) -> tuple[bool, bool]:
    """Tell whether a provider has a console view and a file view."""
    views = views_of(provider)
    return (
        any(isinstance(view, ConsoleView) for view in views),
        any(isinstance(view, FileView) for view in views),
    )
