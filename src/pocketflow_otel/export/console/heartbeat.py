"""A thread that acts on a long silence of the live view."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Final

from pocketflow_otel.guard import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable

_GUARD: Final = guard("say what is still running")
_LONGEST: Final = 8
"""How many times the first silence the later ones grow to."""


class Heartbeat:
    """Calls `on_silence` after a silence, and again after longer ones, until the next beat.

    The thread is a daemon, and sleeps. It outlives what it watches by a silence, for the next run.

    Args:
        on_silence: What to do, in the heartbeat's thread.
        silence: Seconds.
        now: The clock, in seconds. Not what a program that is being tested has put in its place: that
            may count how often it is asked.
    """

    def __init__(
        self, on_silence: Callable[[], None], silence: float, now: Callable[[], float] = monotonic
    ) -> None:
        self._on_silence = on_silence
        self._silence = silence
        self._now = now
        self._last = 0.0
        self._calls = 0
        self._watching = False
        self._thread: threading.Thread | None = None
        # Not an event: this one is of C, and so lets through whatever a signal handler raises meanwhile.
        self._bell: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Begin to watch, if that is not being done."""
        self._watching = True
        self.beat()
        self._bell.put(None)

    def beat(self) -> None:
        """Begin the silence anew: a line was written."""
        self._last = self._now()
        self._calls = 0
        thread = self._thread
        # One that is just being started has no `ident` yet: we are called amid that.
        if self._watching and (thread is None or (thread.ident is not None and not thread.is_alive())):
            self._start_thread()

    def stop(self) -> None:
        """Stop to watch."""
        self._watching = False

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="pocketflow-otel-heartbeat", daemon=True)
        try:
            self._thread.start()
        except BaseException as error:
            self._thread = None  # After an interrupt it may run: it ends as soon as it sees this.
            if not isinstance(error, RuntimeError):
                raise
            failed(_GUARD.place, error)  # There is no room for a thread; the next line tries again.

    def _watch(self) -> None:
        while self._thread is threading.current_thread():
            watching = self._watching
            seconds = self._due() - self._now() if watching else self._silence
            try:
                self._bell.get(timeout=max(seconds, 0.01))
            except Empty:
                if not watching and not self._watching:
                    self._thread = None
            if self._watching and self._now() >= self._due():
                self._calls += 1
                with _GUARD:
                    self._on_silence()

    def _due(self) -> float:
        """Return when to call: after one silence, then after 2, 4, ... more."""
        longer = sum(min(1 << calls, _LONGEST) for calls in range(self._calls + 1))
        return self._last + self._silence * longer
