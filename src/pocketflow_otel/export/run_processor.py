"""Follow runs from their first span to their last, and show them to the views.

One processor of ours per provider, whoever asks for views and how often: the file's view first, so
that a line on stderr says nothing that is not on disk.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from opentelemetry.sdk.trace import SpanProcessor

from pocketflow_otel.api import user_attributes
from pocketflow_otel.export.span_records import record_of
from pocketflow_otel.guard import guard
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.semconv import SCOPE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from pocketflow_otel.runtime.run import Run
    from pocketflow_otel.runtime.run_events import Event
    from pocketflow_otel.runtime.scope import Scope
    from pocketflow_otel.traces.records import SpanRecord

_STARTING: Final = guard("show that a span started")
_SHOWING_EVENT: Final = guard("show what happened in a step")
_ENDING: Final = guard("show that a span ended")


@dataclass(eq=False, slots=True)
class OpenRun:
    """A run as the views see it.

    Attributes:
        id: The run's id.
        trace_id, root_id: Of its root span, in hex.
        start: Of the root span, in nanoseconds since the epoch.
        resource: The attributes of its process.
        views: The views it is shown to, from its first span to its last.
        spans: The ids of its spans that are open.
        path: Its trace file, once there is one to come.
        now: The clock of its spans, in nanoseconds since the epoch.
    """

    id: str
    trace_id: str
    root_id: str
    start: int
    resource: Resource
    views: tuple[View, ...] = ()
    spans: set[int] = field(default_factory=set)
    path: Path | None = None
    now: Callable[[], int] = time_ns


class View(Protocol):
    """What a run is shown to. Called in the thread where it happens, one call at a time a run."""

    def run_started(self, run: OpenRun) -> None: ...

    def span_started(self, run: OpenRun, span: SpanRecord) -> None: ...

    def event_occurred(self, run: OpenRun, span_id: str, time: int, event: Event) -> None: ...

    def span_ended(self, run: OpenRun, span: SpanRecord) -> None: ...

    def run_ended(self, run: OpenRun, root: SpanRecord) -> None: ...

    def flush(self, seconds: float) -> bool: ...

    def shutdown(self) -> None: ...


class _OpenSpan(NamedTuple):
    """A span that is open, its run, and the scope it is the span of: `None` for spans of others."""

    run: Run
    open_run: OpenRun
    own_scope: Scope | None


class _Root(NamedTuple):
    """The root of a run that is open, and the scope it is the span of."""

    span: Span
    open_run: OpenRun
    own_scope: Scope | None


class _Call(NamedTuple):
    """A call of a view that is due. One that is `repeated` is made again when it was interrupted."""

    place: guard
    call: Callable[..., None]
    arguments: tuple[Any, ...]
    repeated: bool = False


class RunProcessor(SpanProcessor):
    """Groups spans by run, and hands runs to views.

    What happens amid a call of a view, in the same thread, comes after it: a signal handler may run a
    flow, and the garbage collector end a step. What an interrupt leaves is made up for when a run
    starts, or at the end.
    """

    def __init__(self) -> None:
        self.views: tuple[View, ...] = ()
        self._reset()
        ref = weakref.WeakMethod(self._reset)
        os.register_at_fork(after_in_child=lambda: (reset := ref()) is not None and reset())

    def _reset(self) -> None:
        """Forget open runs: after a fork they are the parent's."""
        self._lock = threading.RLock()
        self._runs: dict[Run, _Root] = {}
        self._by_span: dict[int, _OpenSpan] = {}
        self._due: deque[_Call] = deque()
        self._calling = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with _STARTING:
            context = current_context() if parent_context is None else parent_context
            maker = span.instrumentation_scope
            is_ours = maker is not None and maker.name == SCOPE_NAME
            given = user_attributes(context)
            if given and not is_ours:
                span.set_attributes(given)  # Ours have them already.
            scope = scope_of(context)
            if scope is not None:
                if is_ours:
                    scope.span = span  # An interrupt may keep it from who starts it, and ends it.
                try:
                    self._started(span, scope.run, scope if is_ours else None)
                except BaseException:
                    span.end()  # Who starts it will not get it, and cannot end it.
                    raise

    def _started(self, span: Span, run: Run, own_scope: Scope | None) -> None:
        span_id = span.get_span_context().span_id
        with self._lock:
            root = self._runs.get(run)
            if root is not None:
                open_run = root.open_run
            elif run.id or not self.views:
                return  # It started before us, or has ended: its file could not be whole.
            else:
                self._finish_interrupted()
                open_run = _open_run(span, run, self.views)
                self._runs[run] = _Root(span, open_run, own_scope)
                run.observe(self._event_occurred)
                self._due.extend(_Call(_STARTING, view.run_started, (open_run,)) for view in open_run.views)
            open_run.spans.add(span_id)
            self._by_span[span_id] = _OpenSpan(run, open_run, own_scope)
            record = record_of(span, own_scope)
            self._due.extend(
                _Call(_STARTING, view.span_started, (open_run, record)) for view in open_run.views
            )
            self._call_views()

    def _event_occurred(self, scope: Scope, event: Event) -> None:
        with _SHOWING_EVENT, self._lock:
            root = self._runs.get(scope.run)
            if root is None:
                return
            when = scope.now()
            while scope.kind == "item" and scope.parent is not None and not scope.span.is_recording():
                scope = scope.parent  # An item without a span: its batch speaks for it.
            if scope.span.is_recording():  # Else a sampler has left out the step, and what happens in it.
                span_id = f"{scope.span.get_span_context().span_id:016x}"
                given = (root.open_run, span_id, when, event)
                self._due.extend(
                    _Call(_SHOWING_EVENT, view.event_occurred, given) for view in root.open_run.views
                )
                self._call_views()

    def on_end(self, span: ReadableSpan) -> None:
        with _ENDING, self._lock:
            context = span.get_span_context()
            found = self._by_span.get(context.span_id) if context is not None else None
            if found is not None:
                self._ended(record_of(span, found.own_scope), found.run, found.open_run)
                self._call_views()

    def _ended(self, record: SpanRecord, run: Run, open_run: OpenRun) -> None:
        span_id = int(record.span_id, 16)
        calls = [_Call(_ENDING, view.span_ended, (open_run, record)) for view in open_run.views]
        if record.span_id == open_run.root_id:
            calls += (_Call(_ENDING, view.run_ended, (open_run, record), True) for view in open_run.views)
            calls.append(_Call(_ENDING, self._forget, (run, open_run), True))
        self._due.extend(calls)  # All or none, if an interrupt comes.
        self._by_span.pop(span_id, None)
        open_run.spans.discard(span_id)  # Last: what is in there is forgotten with the run.

    def _forget(self, run: Run, open_run: OpenRun) -> None:
        self._runs.pop(run, None)
        for late in open_run.spans:
            self._by_span.pop(late, None)

    def _call_views(self) -> None:
        if self._calling:
            return  # Amid a call, which goes on to what is due.
        self._calling = True
        try:
            while self._due:
                due = self._due[0]
                if not due.repeated:
                    self._due.popleft()
                with due.place:
                    due.call(*due.arguments)
                if due.repeated:
                    self._due.popleft()
        finally:
            self._calling = False

    def _finish_interrupted(self) -> None:
        """End the runs whose root has ended without our seeing it to the end."""
        self._call_views()
        if self._calling:
            return
        for run, root in list(self._runs.items()):
            if root.span.end_time is not None:
                self._ended(record_of(root.span, root.own_scope), run, root.open_run)
        self._call_views()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for what views do in the background."""
        deadline = monotonic() + timeout_millis / 1000
        done = True
        for view in self.views:
            with _ENDING:
                done &= view.flush(max(deadline - monotonic(), 0.0))
        return done

    def shutdown(self) -> None:
        with _ENDING, self._lock:
            self._finish_interrupted()
        for view in self.views:
            with _ENDING:
                view.shutdown()


def _open_run(root: Span, run: Run, views: tuple[View, ...]) -> OpenRun:
    context = root.get_span_context()
    start = root.start_time or run.clock.now()
    return OpenRun(
        id=make_run_id(start, context.span_id),
        trace_id=f"{context.trace_id:032x}",
        root_id=f"{context.span_id:016x}",
        start=start,
        resource=root.resource,
        views=views,
        now=run.clock.now,
    )
