"""Keep what OpenTelemetry logs about each failed export of ours out of people's terminals.

The exporters and their HTTP libraries log a line, sometimes a traceback, for each batch and each
retry. Where we send, those lines are caught and the first of a batch becomes the reason we give, once.
Whatever the same loggers say in other threads, for processors of others, passes.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS: Final = ("opentelemetry.", "urllib3.", "requests.")


class _ThreadMessages(threading.local):
    """What this thread catches; `None` while it lets everything pass."""

    messages: list[str] | None = None


_thread = _ThreadMessages()


class _CaptureFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _thread.messages is None:
            return True
        _thread.messages.append(record.getMessage())
        return False


_filter: Final = _CaptureFilter()


@contextmanager
def captured_logs() -> Iterator[list[str]]:
    """Catch what exporters log in this thread during the block; yield the messages, as they come."""
    # A filter acts on the very logger a record is given to, not on those below it.
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_LOGGERS) and isinstance(logger, logging.Logger):
            logger.addFilter(_filter)  # Once: adding it again does nothing.
    messages: list[str] = []
    before, _thread.messages = _thread.messages, messages
    try:
        yield messages
    finally:
        _thread.messages = before
