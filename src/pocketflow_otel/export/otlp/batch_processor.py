"""Send finished spans in batches, in a way that cannot harm the program they come from.

The SDK's BatchSpanProcessor holds the exit for up to 30 s when nobody answers, logs each failure,
drops silently beyond 2,048 spans, and ignores the timeout of a flush. This one waits a bounded time,
says once that spans do not arrive and why, and at the end how many were lost.
"""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult

from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp.log_capture import captured_logs
from pocketflow_otel.guard import guard, let_through, logger
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.sdk.trace.export import SpanExporter

EXIT_SECONDS: Final = 1.8
"""How long the end of a process waits for spans to arrive: 2 s, less what it takes to stop."""

MIN_EXIT_SECONDS: Final = 0.1
"""What the last of several gets at the end."""

MAX_REASON_LENGTH: Final = 300

_QUEUEING: Final = guard("queue a span")
_SENDING: Final = guard("send spans")
_CLOSING: Final = guard("stop sending spans")


@dataclass(frozen=True)
class Limits:
    """How spans are gathered before they are sent; by default sized for flows, which come in bursts.

    Attributes:
        queue: Spans that wait at most; beyond it the oldest are lost, and counted.
        batch: Spans sent at once.
        delay: Seconds a span waits for others.
    """

    queue: int = 16_384
    batch: int = 512
    delay: float = 1.0

    @classmethod
    def from_env(cls) -> Limits:
        """Read the SDK's own variables, `OTEL_BSP_*`; their names and units are the specification's."""
        queue = max(1, _integer("OTEL_BSP_MAX_QUEUE_SIZE", cls.queue))
        batch = max(1, _integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls.batch))
        delay = max(1, _integer("OTEL_BSP_SCHEDULE_DELAY", int(cls.delay * 1000)))
        return cls(queue, min(batch, queue), delay / 1000)


_exit_deadline = 0.0


def exit_seconds_left() -> float:
    """Return how long one that is shut down may take: all that end together share the time."""
    global _exit_deadline
    now = monotonic()
    if now > _exit_deadline + EXIT_SECONDS:
        _exit_deadline = now + EXIT_SECONDS
    return max(_exit_deadline - now, MIN_EXIT_SECONDS)


_skips_unresponsive: Final[ContextVar[bool]] = ContextVar("pocketflow-otel-skips-unresponsive", default=False)


@contextmanager
def skipping_unresponsive() -> Iterator[None]:
    """Have flushes in the block pass over who did not answer, or refused, until a batch arrives again."""
    token = _skips_unresponsive.set(True)
    try:
        yield
    finally:
        _skips_unresponsive.reset(token)


def _integer(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    try:
        return int(text) if text else default
    except ValueError:
        logger.warning("%s=%r: a number; %d is used", variable, text, default)
        return default


class SafeBatchProcessor(SpanProcessor):
    """Hands finished spans to an exporter, in a thread of its own.

    Args:
        exporter: Where to.
        target: What to call that in messages: an endpoint.
        limits: How spans are gathered.
        kept_on_disk: Tells whether the spans are on disk as well, which the last message then says.
        stream: Where to say that something is wrong; stderr as it is now by default.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        target: str,
        limits: Limits,
        *,
        kept_on_disk: Callable[[], bool] = lambda: False,
        stream: LineStream | None = None,
    ) -> None:
        self._exporter = exporter
        self._target = target
        self._limits = limits
        self._kept_on_disk = kept_on_disk
        self._stream = LineStream() if stream is None else stream
        self._reset()
        processor = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset_in_child(processor()))

    def _reset(self) -> None:
        """Start empty: the spans of a process are sent, and counted, by that process."""
        # Reentrant: a generator that is collected while we hold it may end a span. And taken by itself:
        # the condition's own `__enter__` is Python, where a signal handler that raises would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._queue: deque[ReadableSpan] = deque(maxlen=self._limits.queue)
        self._worker: threading.Thread | None = None
        self._ended = self._delivered = self._in_flight = self._flushes = 0
        self._closed = self._abandoned = self._warned = self._refused = False
        self._sent_at = 0.0  # When the batch in flight was handed to the exporter.
        self._waited = 0.0  # Seconds that a flush has waited in vain for the batch in flight.
        self._messages: list[str] = []  # What the exporter logged about the batch in flight.
        self._reason = ""  # Why the last batch that failed did.

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: what has not ended is not sent."""

    def on_end(self, span: ReadableSpan) -> None:
        with _QUEUEING:
            context = span.get_span_context()
            if context is None or not context.trace_flags.sampled or self._closed:
                return
            with self._lock:
                self._ended += 1
                self._queue.append(span)  # A full deque lets go of its oldest.
                has_worker = self._has_worker()
                # Of any other length the worker would go on waiting: a flow is not to pay for waking it.
                if len(self._queue) in (1, self._limits.batch):
                    self._changed.notify_all()
            if not has_worker:
                self._warn_once()

    def _has_worker(self) -> bool:
        """Start the thread that sends, unless it lives; tell whether it does, for there may be no room."""
        worker = self._worker
        # One that is just being started has no `ident` yet: we are called amid that, by a signal handler.
        if worker is None or (worker.ident is not None and not worker.is_alive()):
            self._in_flight = 0
            self._worker = threading.Thread(target=self._work, name="pocketflow-otel-otlp", daemon=True)
            try:
                self._worker.start()
            except BaseException as error:
                self._worker = None  # After an interrupt it may run: it ends as soon as it sees this.
                if not isinstance(error, RuntimeError):
                    raise
                let_through(error)
                self._reason = str(error)
        return self._worker is not None

    def _warn_once(self) -> None:
        if not self._warned and not self._closed:
            self._warned = True
            self._stream.warn(f"spans do not reach {self._target}: {_short(self._reason)}; the flow goes on")

    def _work(self) -> None:
        while batch := self._next_batch():
            delivered = self._send(batch)
            with self._lock:
                self._in_flight, self._waited = 0, 0.0
                self._refused = not delivered
                self._delivered += len(batch) if delivered else 0
                self._changed.notify_all()
            if not delivered:
                self._reason = self._messages[0] if self._messages else "the exporter does not say why"
                self._warn_once()

    def _next_batch(self) -> list[ReadableSpan]:
        """Wait for the next batch; an empty one is the end."""
        with self._lock:
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(self._is_due, self._limits.delay)
            if self._abandoned or self._worker is not threading.current_thread():
                return []
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._limits.batch))]
            self._in_flight, self._sent_at = len(batch), monotonic()
            return batch

    def _is_due(self) -> bool:
        return self._closed or self._flushes > 0 or len(self._queue) >= self._limits.batch

    def _send(self, batch: list[ReadableSpan]) -> bool:
        result = SpanExportResult.FAILURE
        with suppress_instrumentation(), captured_logs() as self._messages, _SENDING:
            result = self._exporter.export(batch)
        return result is SpanExportResult.SUCCESS

    # Three wait for each other here. The worker waits for spans (`_next_batch`). A flush and the end
    # wait for the worker, which nobody can interrupt while it is inside the exporter: an endpoint that
    # does not answer holds it for the exporter's timeout, 10 s by default. A program whose runs end with a
    # flush would then wait at each of them, and once more at its end. So the time that a flush has
    # waited in vain is kept in `_waited` while that same batch is in flight: `skipping_unresponsive()`
    # passes over the endpoint until a batch arrives again, and `shutdown` waits for what is left of
    # `EXIT_SECONDS`. Once the batch has come back, `_work` sets `_waited` to 0, and the spans behind it
    # have the whole of that time.

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Send what waits, now.

        Returns:
            Whether nothing waits any more; what failed does not.
        """
        with self._lock:
            if _skips_unresponsive.get() and (self._refused or self._waited):
                return True  # After a `False` the SDK leaves out the processors behind this one.
            if self._queue and not self._has_worker():
                return False
            began = monotonic()
            self._flushes += 1
            self._changed.notify_all()
            seconds = 30.0 if timeout_millis is None else timeout_millis / 1000
            try:  # A span that ends meanwhile is waited for too, within the same time.
                return self._changed.wait_for(lambda: not self._queue and not self._in_flight, seconds)
            finally:
                self._flushes -= 1
                if self._in_flight:  # Not what it waited for batches that did come back.
                    self._waited = max(self._waited, monotonic() - max(began, self._sent_at))

    def shutdown(self) -> None:
        """Send what waits, for at most `EXIT_SECONDS`, then say how many spans were lost.

        Of that time goes what a flush has waited in vain for the batch in flight.
        """
        with _CLOSING:
            with self._lock:
                if self._closed:
                    return
                if self._queue:
                    self._has_worker()
                self._closed = True
                self._changed.notify_all()
            if self._worker is not None:
                self._wait_for(self._worker)
            with self._lock:
                self._abandoned = True
                self._report_losses()
            with captured_logs():
                # Else one of the exporters waits 30 s for the request in flight.
                takes_time = "timeout_millis" in inspect.signature(self._exporter.shutdown).parameters
                self._exporter.shutdown(**({"timeout_millis": 0} if takes_time else {}))

    def _wait_for(self, worker: threading.Thread) -> None:
        if self._waited:  # First for that one batch alone: if it does not come, nothing behind it will.
            with self._lock:
                seconds = max(exit_seconds_left() - self._waited, MIN_EXIT_SECONDS)
                if not self._changed.wait_for(lambda: not self._waited, seconds):
                    return
        worker.join(exit_seconds_left())

    def _report_losses(self) -> None:
        lost = self._ended - self._delivered
        if not lost:
            return
        pending = self._in_flight if not self._messages else 0
        unsure = f" ({pending:,} of them may have)" if pending else ""
        if pending:
            reason = f"no answer within {monotonic() - self._sent_at:.2g} s"
        else:
            reason = self._reason or (self._messages or ["more ended than could be sent"])[0]
        suffix = "; the trace files have them, for pocketflow-otel send" if self._kept_on_disk() else ""
        count = f"{lost:,} of {self._ended:,} spans"
        self._stream.warn(f"{count} did not reach {self._target}{unsure}: {_short(reason)}{suffix}")


def _short(reason: str) -> str:
    """Return the telling part of what an exporter logged.

    >>> _short("Transient error Service Unavailable encountered while exporting spans batch, retrying in 1s")
    'Transient error Service Unavailable'
    """
    text = " ".join(reason.split())
    for before in ("rror details: ", "Caused by "):
        text = text.rpartition(before)[2]
    return shorten(text.partition(" encountered while exporting ")[0].rstrip("()'\""), MAX_REASON_LENGTH)


def _reset_in_child(processor: SafeBatchProcessor | None) -> None:
    if processor is not None:
        processor._reset()
