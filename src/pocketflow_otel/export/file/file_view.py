"""The file view: a journal while a run goes, a trace file when it has ended."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pocketflow_otel.config import Config
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.file.journal_writer import JournalWriter
from pocketflow_otel.export.run_assembler import RunAssembler
from pocketflow_otel.export.run_processor import OpenRun
from pocketflow_otel.guard import guard, let_through, quiet
from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.traces import finalize, journal, run_files
from pocketflow_otel.traces.chronology import in_order
from pocketflow_otel.traces.retention import Keep, prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.config import FileMode
    from pocketflow_otel.runtime.run_events import Event
    from pocketflow_otel.traces.records import SpanRecord

_EXPORTING: Final = guard("save finished spans")
_LONG: Final = 1_000_000
"""Bytes of a journal from which on a thread makes the trace file: the flow does not wait."""
_PAUSE: Final = 1.0
"""Seconds between two looks for runs that are too old."""


class FileView:
    """Keeps runs in a directory.

    A disk that is full or a directory that cannot be written costs one warning; the run then goes
    on without a file, or with what its journal has.

    Args:
        mode: Keep every run (`all`), or those that failed.
        directory: Where to; made when needed, for the user alone.
        stream: Where to say that it does not work; stderr as it is now by default.
        keep: What stays in the directory after a run.
    """

    def __init__(
        self,
        mode: FileMode,
        directory: Path,
        stream: LineStream | None = None,
        keep: Keep = Keep(),  # noqa: B008 - frozen
    ) -> None:
        self.mode = mode
        self._keep = keep
        self._pruned = -math.inf
        self._directory = directory
        with quiet(OSError, RuntimeError):  # No home, or no working directory: a run will say so.
            self._directory = directory.expanduser().absolute()
        self._stream = LineStream() if stream is None else stream
        self._journals: dict[OpenRun, JournalWriter] = {}
        self._finishing: set[threading.Thread] = set()
        self._warned = False

    def run_started(self, run: OpenRun) -> None:
        try:
            opened = self._journals[run] = JournalWriter(self._directory.expanduser(), run.id)
            opened.open(run)
            run.path = run_files.trace_path(opened.path)
        except (OSError, RuntimeError) as error:
            let_through(error)
            self._journals.pop(run, None)
            self._warn(f"no trace file in {self._directory}", error)

    def span_started(self, run: OpenRun, span: SpanRecord) -> None:
        self._write(run, journal.start_line(span))

    def event_occurred(self, run: OpenRun, span_id: str, time: int, event: Event) -> None:
        """Leave it to the span's end: events are part of the span."""

    def span_ended(self, run: OpenRun, span: SpanRecord) -> None:
        self._write(run, journal.end_line(span))

    def run_ended(self, run: OpenRun, root: SpanRecord) -> None:
        if run.spans:
            self._write(run, journal.late_line(len(run.spans)))
        opened = self._journals.get(run)
        if opened is None:
            run.path = None
            return
        if opened.broken:
            opened.close()
            run.path = None
        elif self.mode == "failed" and not root.failed:
            opened.path.unlink(missing_ok=True)
            opened.close()
            run.path = None
        elif opened.size <= _LONG or not self._finish_in_background(opened):
            run.path = self._finish(opened)
        self._journals.pop(run, None)  # Last: after an interrupt this is called again.

    def flush(self, seconds: float) -> bool:
        """Wait for trace files that are being made; tell whether all of them are there."""
        deadline = monotonic() + seconds
        finishing = list(self._finishing)
        for thread in finishing:
            thread.join(max(deadline - monotonic(), 0.0))
        return not any(thread.is_alive() for thread in finishing)

    def shutdown(self) -> None:
        for thread in list(self._finishing):
            thread.join()

    def _write(self, run: OpenRun, line: bytes) -> None:
        opened = self._journals.get(run)
        if opened is None or opened.broken:
            return
        try:
            opened.write(line)
        except OSError as error:
            let_through(error)
            # It stays open, and so locked: the run goes on, and readers shall see that it does.
            opened.broken = True
            self._warn(f"the trace of run {run.id} stops here", error)

    def _finish(self, opened: JournalWriter) -> Path | None:
        made: Path | None = run_files.trace_path(opened.path)
        try:
            if made is not None and run_files.exists(made):  # An interrupt came when it had been made.
                opened.path.unlink(missing_ok=True)
            else:
                made = finalize.write_trace_file(opened.path)
        except (OSError, ValueError) as error:
            let_through(error)
            self._warn(f"no trace file made of {opened.path.name}", error)
            made = None
        finally:
            opened.close()
        self._prune()
        return made

    def _finish_in_background(self, opened: JournalWriter) -> bool:
        def finish() -> None:
            try:
                self._finish(opened)
            finally:
                self._finishing.discard(threading.current_thread())

        thread = threading.Thread(target=finish, name="pocketflow-otel")
        self._finishing.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # There is no room for one, or the interpreter is ending.
            let_through(error)
            self._finishing.discard(thread)
            return False
        return True

    def _prune(self) -> None:
        """Remove old runs, once a second at most: a server may end hundreds in one."""
        with quiet(OSError):
            # The time of the last file: the program may have set its own clock to another year.
            now = self._directory.stat().st_mtime
            if abs(now - self._pruned) >= _PAUSE:
                self._pruned = now
                prune(self._directory, self._keep, now=now)

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._stream.warn(f"{what}: {reason}")


def keep_of(config: Config) -> Keep:
    """Return what stays in the directory, as a user chose it."""
    return Keep(config.keep_runs, config.keep_days, config.keep_bytes)


class FileSpanExporter(SpanExporter):
    """Saves a run when it has ended, for those who wire span processors themselves.

    Args:
        directory: Where to; by default that of `POCKETFLOW_OTEL_DIR`, or `~/.pflow/traces`.
        config: Settings; by default the environment's.

    Raises:
        ValueError: A variable of the environment has a value that is not allowed.
    """

    def __init__(self, directory: Path | str | None = None, *, config: Config | None = None) -> None:
        config = Config.from_env() if config is None else config
        target = Path(directory) if directory is not None else config.dir
        self._view = FileView("all", target, keep=keep_of(config))
        self._runs = RunAssembler()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _EXPORTING:
            for root, run in self._runs.add(spans):
                self._save(run, root.resource)
        return SpanExportResult.SUCCESS

    def _save(self, spans: Sequence[SpanRecord], resource: Resource) -> None:
        root = spans[-1]
        name = make_run_id(root.start, int(root.span_id, 16))
        run = OpenRun(name, root.trace_id, root.span_id, root.start, resource)
        self._view.run_started(run)
        for _, kind, span, _ in in_order(spans):
            if kind == "start":
                self._view.span_started(run, span)
            elif kind == "end":
                self._view.span_ended(run, span)
        self._view.run_ended(run, root)

    def shutdown(self) -> None:
        self._runs.clear()
        self._view.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True
