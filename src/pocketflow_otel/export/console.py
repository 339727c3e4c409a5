"""The view on stderr: live lines while a flow runs, or a few when it has ended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pocketflow_otel import semconv
from pocketflow_otel.export.finished import FinishedRuns
from pocketflow_otel.export.stream import LineStream
from pocketflow_otel.guard import guard
from pocketflow_otel.run import ActionUnmatched, AttemptFailed, BatchBegun, ItemUntraced
from pocketflow_otel.traces.narrator import Narrator
from pocketflow_otel.traces.text import Part, escape, short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.config import ConsoleMode
    from pocketflow_otel.export.processor import OpenRun
    from pocketflow_otel.run import Event
    from pocketflow_otel.traces.model import EventRecord, SpanRecord
    from pocketflow_otel.traces.text import Line

_BETWEEN: Final = 1_000_000
"""More than the depth of any span: sorts events after starts and before ends."""

_EXPORTING: Final = guard("print finished spans")


class ConsoleView:
    """Tells runs on stderr.

    Args:
        mode: Every line (`live`), the summary, or where the trace file is (`saved`).
        stream: Where to write; stderr as it is now by default.
    """

    def __init__(self, mode: ConsoleMode, stream: TextIO | None = None) -> None:
        self.mode = mode
        self._stream = LineStream(stream)
        self._narrators: dict[OpenRun, Narrator] = {}

    def run_started(self, run: OpenRun) -> None:
        self._narrators[run] = Narrator(run.id, run.start)

    def span_started(self, run: OpenRun, span: SpanRecord) -> None:
        self._show(self._narrators[run].started(span))

    def happened(self, run: OpenRun, span_id: str, time: int, event: Event) -> None:
        narrator = self._narrators[run]
        match event:
            case AttemptFailed(attempt, most, error_type, message, wait):
                error = f"{error_type.rpartition('.')[2]}: {message}" if message else error_type
                self._show(
                    narrator.attempt_failed(span_id, time, attempt=attempt, most=most, error=error, wait=wait)
                )
            case BatchBegun(size):
                self._show(narrator.batch_begun(span_id, size))
            case ActionUnmatched(action, known):
                self._show(narrator.unmatched(span_id, time, action, known))
            case ItemUntraced():
                narrator.item_done(span_id)

    def span_ended(self, run: OpenRun, span: SpanRecord) -> None:
        self._show(self._narrators[run].ended(span))

    def run_ended(self, run: OpenRun, root: SpanRecord) -> None:
        narrator = self._narrators.pop(run)
        if self.mode == "saved":
            if run.path is not None:
                self._stream.write((Part(f"Trace saved: {escape(short_path(run.path))}"),))
        elif self.mode != "off":
            for line in narrator.summary(root, run.path, late=len(run.spans)):
                self._stream.write(line)

    def shutdown(self) -> None:
        """Leave runs that are still open as they are: their lines have been written."""

    def _show(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if self.mode == "live":
                self._stream.write(line)


class ConsoleSpanExporter(SpanExporter):
    """Prints a run when it has ended: the lines of the live view, and the summary.

    For those who wire span processors themselves, and for declarative configuration. Spans that
    belong to no run are not shown.

    Args:
        stream: Where to write; stderr as it is now by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = LineStream(stream)
        self._runs = FinishedRuns()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _EXPORTING:
            for _, run in self._runs.add(spans):
                for line in _tell(run):
                    self._stream.write(line)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._runs.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _tell(spans: Sequence[SpanRecord]) -> Iterator[Line]:
    """Tell a finished run, its root last, as it would have been told live: by the times."""
    root = spans[-1]
    narrator = Narrator(str(root.attributes[semconv.RUN_ID]), root.start)
    depths = _depths(spans)
    happenings: list[tuple[int, int, Callable[[], Iterable[Line]]]] = []
    for span in spans:
        # What starts or ends in one instant is told from outside in, and from inside out.
        depth = depths[span.span_id]
        happenings.append((span.start, depth, partial(narrator.started, span)))
        happenings += [
            (event.time, _BETWEEN, partial(_tell_event, narrator, span, event)) for event in span.events
        ]
        happenings.append((span.end, 2 * _BETWEEN - depth, partial(narrator.ended, span)))
    for _, _, lines in sorted(happenings, key=lambda happening: happening[:2]):
        yield from lines()
    yield from narrator.summary(root, None)


def _depths(spans: Iterable[SpanRecord]) -> dict[str, int]:
    """Return how deep each span lies in its run."""
    parents = {span.span_id: span.parent_id for span in spans}

    def depth(span_id: str) -> int:
        return 1 + depth(parents[span_id]) if span_id in parents else 0

    return {span_id: depth(span_id) for span_id in parents}


def _tell_event(narrator: Narrator, span: SpanRecord, event: EventRecord) -> Iterable[Line]:
    said = event.attributes
    if event.name == semconv.ATTEMPT_FAILED and said[semconv.ATTEMPT] < said[semconv.ATTEMPT_MAX]:
        kind = str(said[semconv.EXCEPTION_TYPE]).rpartition(".")[2]
        message = said.get(semconv.EXCEPTION_MESSAGE)
        return narrator.attempt_failed(
            span.span_id,
            event.time,
            attempt=said[semconv.ATTEMPT],
            most=said[semconv.ATTEMPT_MAX],
            error=f"{kind}: {message}" if message else kind,
            wait=said[semconv.ATTEMPT_WAIT],
        )
    if event.name == semconv.ACTION_UNMATCHED:
        known = said[semconv.UNMATCHED_KNOWN]
        return narrator.unmatched(span.span_id, event.time, said[semconv.UNMATCHED_ACTION], known)
    return ()
