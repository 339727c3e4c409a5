"""Send the spans of a run before the program can end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import TracerProvider

from pocketflow_otel.export.otlp.batch_processor import skipping_unresponsive
from pocketflow_otel.guard import failed, guard
from pocketflow_otel.sdk.provider import state_of

if TYPE_CHECKING:
    from opentelemetry import trace

FLUSH_SECONDS: Final = 1.0
"""What the sending of a run's spans may hold up the program that ran it."""

_FLUSHING: Final = guard("send the spans of a run")


def flush(provider: trace.TracerProvider | None) -> None:
    """Have what waits sent, and trace files finished, for a program that may end without saying so.

    In a thread of its own: the SDK's own processor takes its time, whatever it is given. While that
    goes on, and as long as an endpoint does not answer or refuses, nothing is waited for.
    """
    if not isinstance(provider, TracerProvider):
        return
    state = state_of(provider)
    if state.late_flush is not None and state.late_flush.is_alive():
        return
    thread = threading.Thread(target=_flush, args=(provider,), name="pocketflow-otel-flush", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # There is no room for a thread, or the interpreter is ending.
        failed(_FLUSHING.place, error)
        return
    thread.join(FLUSH_SECONDS)
    state.late_flush = thread if thread.is_alive() else None


def _flush(provider: TracerProvider) -> None:
    """Flush in a little less than the time there is, so that those who wait in vain get to know it."""
    with _FLUSHING, skipping_unresponsive():
        provider.force_flush(int(FLUSH_SECONDS * 950))
