"""Put views on a provider: each once, whoever asks."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.export.run_processor import RunProcessor
from pocketflow_otel.traces.retention import Keep

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import TracerProvider

    from pocketflow_otel.config import Config, ConsoleMode, FileMode

_processors: Final[weakref.WeakKeyDictionary[TracerProvider, RunProcessor]] = weakref.WeakKeyDictionary()


def processor_of(provider: TracerProvider) -> RunProcessor:
    """Return the one processor of ours on a provider, added when it is asked for first."""
    processor = _processors.get(provider)
    if processor is None:
        processor = _processors[provider] = RunProcessor()
        provider.add_span_processor(processor)
    return processor


def show(
    provider: TracerProvider,
    *,
    console: ConsoleMode | None,
    file: FileMode | None,
    directory: Path,
    keep: Keep = Keep(),  # noqa: B008 - frozen
) -> None:
    """Put the views on a provider; where there is one already, it changes to the new mode.

    Args:
        provider: Where spans come from.
        console: The mode of the view on stderr; `None` leaves it as it is.
        file: The mode of the view on disk; `None` leaves it as it is.
        directory: Where trace files go.
        keep: What stays there after a run.
    """
    if console is None and file is None:
        return
    processor = processor_of(provider)
    views = list(processor.views)
    if file is not None:
        views = [view for view in views if not isinstance(view, FileView)]
        if file != "off":
            views.insert(0, FileView(file, directory, keep=keep))  # On disk first, then on the screen.
    if console is not None:
        views = [view for view in views if not isinstance(view, ConsoleView)]
        if console != "off":
            views.append(ConsoleView(console))
    processor.views = tuple(views)


def keep_of(config: Config) -> Keep:
    """Return what stays in the directory, as a user chose it."""
    return Keep(config.keep_runs, config.keep_days, config.keep_bytes)


def shown(provider: TracerProvider) -> tuple[bool, bool]:
    """Tell whether a provider has a console view and a file view."""
    processor = _processors.get(provider)
    views = processor.views if processor is not None else ()
    return (
        any(isinstance(view, ConsoleView) for view in views),
        any(isinstance(view, FileView) for view in views),
    )


def live(provider: TracerProvider) -> bool:
    """Tell whether a provider's runs are told live."""
    processor = _processors.get(provider)
    views = processor.views if processor is not None else ()
    return any(isinstance(view, ConsoleView) and view.mode == "live" for view in views)


def keeps_files() -> bool:
    """Tell whether each run of this process leaves a trace file."""
    views = [view for processor in list(_processors.values()) for view in processor.views]
    return any(isinstance(view, FileView) and view.mode == "all" for view in views)
