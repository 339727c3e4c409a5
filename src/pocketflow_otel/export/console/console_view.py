"""The view on stderr: live lines while a flow runs, or a few when it has ended."""

from __future__ import annotations

import shlex
from threading import Timer
from typing import TYPE_CHECKING, ClassVar, Final, TextIO

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pocketflow_otel import semconv
from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.console.heartbeat import Heartbeat
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.run_assembler import RunAssembler
from pocketflow_otel.guard import failed, guard, quiet
from pocketflow_otel.runtime.run_events import (
    ActionUnmatched,
    AttemptFailed,
    BatchBegun,
    ItemUntraced,
    Progress,
)
from pocketflow_otel.runtime.run_id import digits_of
from pocketflow_otel.traces import run_directory, run_files
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.views.live import LiveRenderer
from pocketflow_otel.views.repeated_failures import MIN_INTERVAL
from pocketflow_otel.views.replay import replay_lines
from pocketflow_otel.views.styled_text import DIM, Part, escape, folded, line_width
from pocketflow_otel.views.summary import path_line
from pocketflow_otel.views.wording import raised, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.config import ConsoleMode
    from pocketflow_otel.export.run_processor import OpenRun
    from pocketflow_otel.runtime.run_events import Event
    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.views.styled_text import Line

_EXPORTING: Final = guard("print finished spans")
_PENDING: Final = guard("say how many more attempts failed")
SILENCE: Final = 10.0
"""Seconds without a line."""
_LABEL: Final = 4
"""Hex digits of a run's id that tell it from the others that are open."""


class ConsoleView:
    """Shows runs on stderr.

    Args:
        mode: Every line (`live`), the summary, or where the trace file is (`saved`).
        stream: Where to write; stderr as it is now by default.
        silence: Seconds without a line after which the live view says what is still running.
    """

    hinted: ClassVar[bool] = False
    """Whether this process has shown how to see more: once is enough."""

    def __init__(self, mode: ConsoleMode, stream: TextIO | None = None, *, silence: float = SILENCE) -> None:
        self.mode = mode
        self._stream = LineStream(stream)
        self._renderers: dict[OpenRun, LiveRenderer] = {}
        self._marked: set[OpenRun] = set()
        self._timer: Timer | None = None
        self._heartbeat = Heartbeat(self._still_running, silence)

    def run_started(self, run: OpenRun) -> None:
        self._renderers[run] = LiveRenderer(run.id, run.start, columns=self._stream.columns)
        if len(self._renderers) > 1:
            self._marked.update(self._renderers)
        if self.mode == "live":
            self._heartbeat.start()

    def span_started(self, run: OpenRun, span: SpanRecord) -> None:
        renderer = self._renderers.get(run)
        if renderer is not None:  # Else its start was interrupted.
            self._show(run, renderer.started(span))

    def event_occurred(self, run: OpenRun, span_id: str, time: int, event: Event) -> None:
        renderer = self._renderers.get(run)
        if renderer is None:
            return
        match event:
            case AttemptFailed():
                lines = renderer.attempt_failed(
                    span_id,
                    time,
                    attempt=event.attempt,
                    max_attempts=event.max,
                    error=raised(event.error_type, event.message),
                    wait=event.wait,
                    place=event.place,
                    item=event.item,
                    phase=event.phase,
                )
                self._show(run, lines)
                if self.mode == "live" and renderer.has_pending_lines:
                    self._schedule_pending()
            case BatchBegun(size):
                self._show(run, renderer.batch_begun(span_id, size))
            case ActionUnmatched(action, known):
                self._show(run, renderer.action_unmatched(span_id, time, action, known))
            case ItemUntraced():
                self._show(run, renderer.item_done(span_id, time))
            case Progress(done, total):
                renderer.progressed(span_id, done, total)

    def span_ended(self, run: OpenRun, span: SpanRecord) -> None:
        renderer = self._renderers.get(run)
        if renderer is not None:
            self._show(run, renderer.ended(span))

    def run_ended(self, run: OpenRun, root: SpanRecord) -> None:
        try:
            self._sum_up(run, root)
        finally:
            self._renderers.pop(run, None)
            self._marked.discard(run)
            if not self._renderers:
                self._heartbeat.stop()

    def _sum_up(self, run: OpenRun, root: SpanRecord) -> None:
        path, renderer = run.path, self._renderers.get(run)
        if renderer is None:
            return
        if self.mode in ("live", "summary"):
            late = len(run.spans) if path is not None else 0
            self._write(run, renderer.summary(root, late=late), foldable=True)
        if path is not None:
            saved = (Part(f"Trace saved: {escape(short_path(path))}"),)
            lines = [saved if self.mode == "saved" else path_line(path)]
            if self._stream.terminal and not ConsoleView.hinted:
                ConsoleView.hinted = True
                lines.append((Part("show it: ", DIM), Part(_command_to_show(path))))
            self._write(run, lines, whole=True)  # Nobody can type a path that was cut.

    def flush(self, seconds: float) -> bool:
        """Do nothing: lines are written at once."""
        return True

    def shutdown(self) -> None:
        """Leave runs that are still open as they are: their lines have been written."""
        self._heartbeat.stop()

    def _show(self, run: OpenRun, lines: Iterable[Line]) -> None:
        lines = tuple(lines)
        if lines and self.mode == "live":
            self._write(run, lines)
            self._heartbeat.beat()

    def _write(
        self, run: OpenRun, lines: Iterable[Line], *, whole: bool = False, foldable: bool = False
    ) -> None:
        """Write lines; of a run that was not alone, each says of which it is, until its end."""
        label = (Part(f"{run.id[-_LABEL:]} ", DIM),) if run in self._marked else ()
        columns = self._stream.columns if foldable else None
        if columns is not None:
            room = columns - line_width(label)
            lines = [fold for line in lines for fold in folded(line, room)]
        for line in lines:
            self._stream.write((*label, *line), whole=whole)

    def _schedule_pending(self) -> None:
        """Show the failures that were only counted, in a moment, unless an event shows them before."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = Timer(MIN_INTERVAL, self._show_pending)
            self._timer.daemon = True
            try:
                self._timer.start()
            except RuntimeError as error:  # There is no room for a thread: the next event shows them.
                failed(_PENDING.place, error)

    def _show_pending(self) -> None:
        with _PENDING:
            for run, renderer in list(self._renderers.items()):
                self._write(run, renderer.pending_lines())

    def _still_running(self) -> None:
        if self._stream.unfinished:
            return  # A question, perhaps, to which the answer is being typed.
        self._show_pending()
        for run, renderer in list(self._renderers.items()):
            self._write(run, renderer.still_running(run.now()))


def _command_to_show(path: Path) -> str:
    """Return what to type to see a run: `last` may be another, in another directory."""
    directory, run = path.parent, run_directory.LAST
    with quiet(TraceError):
        newest = next(iter(run_directory.run_paths(directory)), path)
        if run_files.run_id_of(newest) != run_files.run_id_of(path):
            run = digits_of(run_files.run_id_of(path))  # Which no other run has.
    command = f"pocketflow-otel show {run}"
    with quiet(OSError, RuntimeError):  # No home, or no working directory.
        if directory == Config.from_env(report=no_report).dir.expanduser().absolute():
            return command
    quoted = shlex.quote(str(directory))
    return escape(f"{command} --dir {short_path(directory) if quoted == str(directory) else quoted}")


class ConsoleSpanExporter(SpanExporter):
    """Prints a run when it has ended: the lines of the live view, and the summary.

    For those who wire span processors themselves, and for declarative configuration. Spans that
    belong to no run are not shown.

    Args:
        stream: Where to write; stderr as it is now by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = LineStream(stream)
        self._runs = RunAssembler()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _EXPORTING:
            for _, run in self._runs.add(spans):
                for line in _run_lines(run):
                    self._stream.write(line)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._runs.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _run_lines(spans: Sequence[SpanRecord]) -> Iterator[Line]:
    """Yield the lines of a finished run, its root last, as the live view would have printed them."""
    root = spans[-1]
    renderer = LiveRenderer(str(root.attributes[semconv.RUN_ID]), root.start)
    for _, line in replay_lines(spans, renderer):
        yield line
    yield from renderer.summary(root)
