"""Write lines for people to stderr: whole, in colour where that is wanted, and never a failure."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from pocketflow_otel.traces.text import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pocketflow_otel.traces.text import Part

_SYMBOLS: Final = "→✓✗⚠↻−×·…"


class LineStream:
    """The stderr of the moment it was made: what a flow redirects later, it finds unchanged.

    The stream may be absent, closed, full or unable to encode; then lines are dropped, in silence.

    Args:
        stream: Where to write; `sys.stderr` by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._colour = _wants_colour(self._stream)
        self._ascii = not _can_encode(self._stream)
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def write(self, line: Iterable[Part]) -> None:
        """Write one line in one call, so that it is not cut by others."""
        if self._stream is None:
            return
        text = render(line, colour=self._colour, ascii_only=self._ascii) + "\n"
        with suppress(Exception), self._lock:
            self._stream.write(text)
            self._stream.flush()


def _wants_colour(stream: TextIO | None) -> bool:
    """Follow https://no-color.org and https://force-color.org, then the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("TERM") == "dumb" or stream is None:
        return False
    with suppress(Exception):
        return stream.isatty()
    return False


def _can_encode(stream: TextIO | None) -> bool:
    try:
        _SYMBOLS.encode(getattr(stream, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
