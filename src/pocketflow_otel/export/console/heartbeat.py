"""A thread that acts on a long silence of the live view."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from pocketflow_otel.guard import failed, guard

if TYPE_CHECKING:
    from collections.abc import Callable

_GUARD: Final = guard("say what is still running")
_LONGEST: Final = 8
"""How many times the first silence the later ones grow to."""


class Heartbeat:
    """Calls `on_silence` after a silence, and again after longer ones, until the next beat.

    The thread lives while there is something to watch: it is a daemon, and sleeps.

    Args:
        on_silence: What to do, in the heartbeat's thread.
        silence: Seconds.
    """

    def __init__(self, on_silence: Callable[[], None], silence: float) -> None:
        self._on_silence = on_silence
        self._silence = silence
        self._last = 0.0
        self._calls = 0
        self._wanted = False
        self._stopped: threading.Event | None = None

    def start(self) -> None:
        """Begin to watch, if that is not being done."""
        self._wanted = True
        self.beat()

    def beat(self) -> None:
        """Begin the silence anew: a line was written."""
        self._last = time.monotonic()
        self._calls = 0
        if self._wanted and self._stopped is None:
            self._start_thread()

    def stop(self) -> None:
        """Stop to watch."""
        self._wanted = False
        if self._stopped is not None:
            self._stopped.set()
            self._stopped = None

    def _start_thread(self) -> None:
        stopped = self._stopped = threading.Event()
        try:
            threading.Thread(
                target=self._watch, args=(stopped,), name="pocketflow-otel-heartbeat", daemon=True
            ).start()
        except BaseException as error:
            stopped.set()  # An interrupt may come when the thread has started.
            self._stopped = None
            if not isinstance(error, RuntimeError):
                raise
            failed(_GUARD.place, error)  # There is no room for a thread; the next line tries again.

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(max(self._due() - time.monotonic(), 0.01)):
            if time.monotonic() >= self._due():
                self._calls += 1
                with _GUARD:
                    self._on_silence()

    def _due(self) -> float:
        """Return when to call: after one silence, then after 2, 4, ... more."""
        longer = sum(min(1 << calls, _LONGEST) for calls in range(self._calls + 1))
        return self._last + self._silence * longer
