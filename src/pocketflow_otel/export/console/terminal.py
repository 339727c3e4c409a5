"""Write lines for people to stderr: whole, in colour where that is wanted, and never a failure."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final, TextIO
from weakref import WeakKeyDictionary

from pocketflow_otel.guard import let_through, quiet
from pocketflow_otel.views.styled_text import WARN, Part, escape, fitted, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SYMBOLS: Final = "→✓✗⚠↻−×·…Σ≥"

# Reentrant: a stream's `write` may be Python, where a signal handler, or a coroutine that is collected,
# ends a step and so writes a line of its own.
_writing = threading.RLock()


def _renew_lock() -> None:
    """In a forked child: a thread that held the lock is not there to let go of it."""
    global _writing
    _writing = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class LineStream:
    """The stderr of the moment it was made: what a flow redirects later, it finds unchanged.

    The stream may be absent, closed, full or unable to encode; then lines are dropped, in silence.
    Where somebody else left a line unfinished (a prompt, a progress bar), ours begins a new one.

    Args:
        stream: Where to write; `sys.stderr` by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = _is_terminal(self._stream)
        self._colour = wants_colour(terminal=self._terminal)
        self._ascii = not can_encode(self._stream)
        self._ends = ends_of(self._stream)

    @property
    def terminal(self) -> bool:
        """Whether somebody looks at it."""
        return self._terminal

    @property
    def columns(self) -> int | None:
        """The terminal's width in characters, as it is now; `None` for anything else."""
        if self._terminal and self._stream is not None:
            with quiet():
                return os.get_terminal_size(self._stream.fileno()).columns or None
        return None

    @property
    def unfinished(self) -> bool:
        """Whether somebody else has left a line open: perhaps to ask something, and wait."""
        return not self._ends.whole

    def write(self, line: Iterable[Part], *, whole: bool = False) -> None:
        """Write one line in one call, so that others do not come between.

        On a terminal it is cut to the width, unless it must stay `whole`.
        """
        if self._stream is None:
            return
        columns = None if whole else self.columns
        parts = line if columns is None else fitted(line, columns)
        text = render(parts, colour=self._colour, ascii_only=self._ascii) + "\n"
        with quiet(), _writing:
            self._stream.write(text if self._ends.whole else "\n" + text)
            self._stream.flush()

    def warn(self, message: str) -> None:
        """Write a line of our own: what does not work."""
        self.write((Part("pocketflow-otel: ", WARN), Part(escape(message))))


class Ends:
    """Whether what was last written to a stream ended its line.

    The stream's own `write` is wrapped: there is no other way to know.
    """

    def __init__(self, write: Callable[[str], int]) -> None:
        self.whole = True
        self._write = write

    def __call__(self, text: str, /) -> int:
        written = self._write(text)
        if type(text) is str and text:
            self.whole = text[-1] == "\n"
        return written


_ends: Final[WeakKeyDictionary[TextIO, Ends]] = WeakKeyDictionary()


def ends_of(stream: TextIO | None) -> Ends:
    """Begin to watch how what is written to a stream ends, once a stream."""
    ends = None
    with quiet():  # A stream that cannot be watched, or held weakly.
        assert stream is not None
        ends = _ends.get(stream)
        if ends is None:
            ends = Ends(stream.write)
            stream.write = ends  # type: ignore[method-assign]
            _ends[stream] = ends
    return Ends(len) if ends is None else ends


def end_lines() -> None:
    """Count every line as ended: a user has typed an answer, and the terminal shows the end of the line."""
    for ends in list(_ends.values()):
        ends.whole = True


def _is_terminal(stream: TextIO | None) -> bool:
    with quiet():
        return stream is not None and stream.isatty()
    return False


def wants_colour(*, terminal: bool) -> bool:
    """Return whether to use colour, by https://no-color.org, https://force-color.org, then the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def can_encode(stream: TextIO | None) -> bool:
    """Return whether a stream takes our symbols; one that names no encoding keeps text as text."""
    encoding = getattr(stream, "encoding", None)
    if not isinstance(encoding, str):
        return True
    try:
        _SYMBOLS.encode(encoding)
    except (LookupError, UnicodeEncodeError) as error:
        let_through(error)
        return False
    return True
