"""Choose what runs are shown to: stderr, and trace files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView, keep_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pocketflow_otel.config import Config
    from pocketflow_otel.export.run_processor import View


def chosen_views(present: Iterable[View], config: Config, *, change: bool) -> tuple[View, ...]:
    """Return the views that a user chose, in place of those there are.

    Args:
        present: The views there are.
        config: The modes; `None` leaves a view as it is, and so `off` takes it away.
        change: Whether a view that is there changes to the mode; else it stays.
    """
    files: list[View] = []
    consoles: list[View] = []
    others: list[View] = []
    for view in present:
        kind = files if isinstance(view, FileView) else consoles if isinstance(view, ConsoleView) else others
        kind.append(view)
    if config.file is not None and (change or not files):
        files = [FileView(config.file, config.dir, keep=keep_of(config))] if config.file != "off" else []
    if config.console is not None and (change or not consoles):
        consoles = [ConsoleView(config.console)] if config.console != "off" else []
    return (*files, *others, *consoles)  # On disk first, then on the screen.


def is_live(views: Iterable[View]) -> bool:
    """Return whether one of the views writes lines while a run goes."""
    return any(isinstance(view, ConsoleView) and view.mode == "live" for view in views)


def keeps_every_run(views: Iterable[View]) -> bool:
    """Return whether one of the views leaves a trace file of each run."""
    return any(isinstance(view, FileView) and view.mode == "all" for view in views)
