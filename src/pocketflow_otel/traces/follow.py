"""Follow the journal of a run that another process writes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.traces import lock
from pocketflow_otel.traces.reader import fold_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.fold import JournalFold

_PAUSE: Final = 0.1
"""Seconds between two looks at a journal."""


def follow(path: Path) -> JournalFold:
    """Return the fold of a journal, whose lines come as they are written, until its process is gone.

    Raises:
        FileNotFoundError: The run has ended.
        TraceError: It is no journal.
    """
    return fold_of(path, _written_lines(path))


def _written_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        rest = b""
        while True:
            # Asked before reading: what was written until then is read after it.
            running = _is_running(path)
            rest += file.read()
            *whole, rest = rest.split(b"\n")
            for line in whole:
                try:
                    content = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(content, dict):
                    yield content
            if not running:
                return
            time.sleep(_PAUSE)


def _is_running(path: Path) -> bool:
    try:
        return lock.is_running(path)
    except OSError:  # Finished, and gone
        return False
