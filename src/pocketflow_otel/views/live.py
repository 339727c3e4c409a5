"""Render a run as lines: the same ones while it goes and afterwards.

A `LiveRenderer` is given what happens, in order, as plain values; it knows no clock and no stream.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import quiet
from pocketflow_otel.views import span_line, wording
from pocketflow_otel.views.open_span import OpenSpan
from pocketflow_otel.views.repeated_failures import MIN_INTERVAL, RepeatedFailures, drain, message_pattern
from pocketflow_otel.views.span_line import name_of
from pocketflow_otel.views.status import RETRIED, TROUBLED
from pocketflow_otel.views.styled_text import DIM, Line, Part, cut, escape, line_width
from pocketflow_otel.views.summary import RunTotals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pocketflow_otel.traces.records import SpanRecord

_INDENT: Final = "  "
NARROW: Final = 60
"""Columns below which lines must be short."""
_RUN_COLUMN: Final = 64
"""Where the run's id stands in the first line, if the flow's name leaves room."""


class LiveRenderer:
    """The lines of one run.

    Args:
        run_id: The run's id.
        start: When it started, in nanoseconds since the epoch.
        columns: The terminal's width, if it is for one. Below 60 lines are kept short: no times,
            counts of keys, costs alone.
    """

    def __init__(self, run_id: str, start: int, *, columns: int | None = None) -> None:
        self._run_id = run_id
        self._start = start
        self._narrow = columns is not None and columns < NARROW
        self._run_column = _RUN_COLUMN if columns is None else min(_RUN_COLUMN, columns - len(run_id) - 4)
        self._open: dict[str, OpenSpan] = {}
        self._held: deque[tuple[OpenSpan, list[Line], bool]] = deque()
        self._repeated: dict[tuple[str, ...], tuple[OpenSpan, RepeatedFailures]] = {}
        self._totals = RunTotals()

    def started(self, span: SpanRecord) -> Iterator[Line]:
        """Yield the lines of a span's start; items, and spans that are not ours, have none."""
        yield from self._due_lines(span.start)
        parent = self._open.get(span.parent_id)
        depth, label = (parent.inner_depth, parent.label) if parent is not None else (0, "")
        inner_depth = depth + 1
        if span.role == "item":
            label += f"[{span.attributes.get(semconv.BATCH_INDEX, '?')}] "
            if parent is not None and parent.span.role == "flow":
                inner_depth = depth  # A round's nodes stand where the flow's would.
        elif not span.role:
            inner_depth = depth
        entry = self._open[span.span_id] = OpenSpan(span, depth, label, inner_depth)
        if parent is not None:
            entry.within = parent if span.role == "item" else parent.within
            entry.flow = parent.flow or parent
            parent.steps += bool(span.role)
            yield from self._start_line(parent)
        if span.role == "flow" and entry.within is None:
            entry.flow = entry
        if span.role in ("flow", "node"):
            entry.start_shown = False
            entry.items.size = span.attributes.get(semconv.BATCH_SIZE)
            if semconv.BATCH_MODE not in span.attributes or entry.items.size is not None:
                yield from self._start_line(entry)

    def batch_begun(self, span_id: str, size: int | None) -> Iterator[Line]:
        """Yield the line of a batch that begins, with its size if that is known."""
        entry = self._open.get(span_id)
        if entry is not None:
            entry.items.size = size
            yield from self._start_line(entry)

    def _start_line(self, entry: OpenSpan) -> Iterator[Line]:
        """Yield the line of an open span's start, unless it has been shown."""
        if entry.start_shown or entry.hidden:
            return
        entry.start_shown = True
        span = entry.span
        line = self._line(entry, span.start, Part("→ ", DIM), *span_line.started(span, entry.items.size))
        if entry.depth == 0 and not self._narrow:
            gap = max(2, self._run_column - line_width(line))
            line += (Part(" " * gap), Part(f"run {self._run_id}", DIM))
        yield line

    def attempt_failed(
        self,
        span_id: str,
        time: int,
        *,
        attempt: int,
        max_attempts: int,
        error: str,
        wait: float,
        place: str = "",
        item: int | None = None,
        phase: str = semconv.EXEC,
    ) -> Iterator[Line]:
        """Yield the line of an attempt that failed and will be repeated, after `wait` seconds.

        `item` is the index of a batch item, where that has no span of its own; `phase` is where in the
        step it failed.
        """
        yield from self._due_lines(time)
        entry = self._open.get(span_id)
        if entry is None:
            return
        if item is not None and entry.span.role == "node":
            entry = OpenSpan(entry.span, entry.depth + 1, f"{entry.label}[{item}] ", 0, within=entry)
        batch = entry.within
        which = wording.attempt_name(attempt, max_attempts)
        if batch is not None and self._is_repeated(entry, batch, time, which, error + place):
            return
        yield from self._start_line(entry)
        message = cut(escape(error), wording.MAX_MESSAGE) + wording.where(phase, place)
        waiting = f"waiting {wait:g}s" if wait else ""
        sentence = wording.attempt_failed(attempt, max_attempts, message, waiting)
        yield self._line(entry, time, RETRIED, Part(sentence))

    def _is_repeated(self, entry: OpenSpan, batch: OpenSpan, time: int, attempt: str, error: str) -> bool:
        """Return whether a failed attempt of an item goes without a line; those alike are counted.

        Rounds that have lines of their own show each attempt.
        """
        if batch.span.role == "flow" and not batch.items.collapsed:
            return not batch.items.shows_attempt()
        label = entry.label[len(batch.label) :].rstrip()
        key = (batch.span.span_id, entry.span.title, attempt, message_pattern(error))
        if key in self._repeated:
            self._repeated[key][1].add(label)
            batch.items.repeat_attempt()
            return True
        if not batch.items.shows_attempt():
            return True
        which = "" if attempt.startswith("1/") else attempt
        self._repeated[key] = batch, RepeatedFailures(label, which, time + round(MIN_INTERVAL * 1e9))
        return False

    @property
    def has_pending_lines(self) -> bool:
        """Whether failed attempts have been counted that no line shows yet."""
        return any(failures.waiting for _, failures in list(self._repeated.values()))

    def pending_lines(self) -> Iterator[Line]:
        """Yield the lines that wait for the next event, since none comes; any thread may ask."""
        for _, lines, _ in drain(self._held):
            yield from lines
        for batch, failures in list(self._repeated.values()):
            yield from self._repeated_lines(batch, failures)

    def _due_lines(self, time: int, ended: OpenSpan | None = None) -> Iterator[Line]:
        """Yield the lines that waited for the next event.

        Args:
            time: Of the event.
            ended: The span that ended, if that is the event: its counted failures are due.
        """
        for _, lines, _ in drain(self._held):
            yield from lines
        if self._repeated:
            for key, (batch, failures) in list(self._repeated.items()):
                if failures.until <= time or batch is ended or (ended is not None and not self._open):
                    del self._repeated[key]
                    yield from self._repeated_lines(batch, failures)

    def _repeated_lines(self, batch: OpenSpan, failures: RepeatedFailures) -> Iterator[Line]:
        text = failures.describe()
        if text:
            yield *self._margin(batch, batch.span.start), Part("… ", DIM), Part(text)

    def action_unmatched(self, span_id: str, time: int, action: str, known: Sequence[str]) -> Iterator[Line]:
        """Yield the line of an action that leads nowhere."""
        yield from self._due_lines(time)
        entry = self._open.get(span_id)
        if entry is not None and not entry.hidden:
            sentence = wording.action_unmatched(action, known, "flow ends here")
            yield self._line(entry, time, TROUBLED, Part(sentence))

    def progressed(self, span_id: str, done: float, total: float | None) -> None:
        """Keep a step's progress, which `still_running` shows."""
        entry = self._open.get(span_id)
        if entry is not None:
            entry.progress = f"{done:,g}" + ("" if total is None else f"/{total:,g}")

    def item_done(self, span_id: str, time: int) -> Iterator[Line]:
        """Count an item that went well and has no span of its own; yield the progress if it is due."""
        yield from self._due_lines(time)
        entry = self._open.get(span_id)
        if entry is not None:
            entry.items.end(None)
            yield from self._report(entry, time, entry.items.report(entry.seconds(time)))

    def _report(self, batch: OpenSpan, time: int, text: str | None) -> Iterator[Line]:
        """Yield the progress of a large batch."""
        if text is not None and not batch.hidden:
            yield self._line(batch, time, span_line.ITEM_DONE, Part(text), below=1)

    def ended(self, span: SpanRecord) -> Iterator[Line]:
        """Yield the lines of a span's end."""
        entry = self._open.pop(span.span_id, None)
        step = self._only_step(entry, span) if entry is not None and span.role == "item" else []
        yield from self._due_lines(span.end, entry)
        if entry is None:
            return
        parent = self._open.get(span.parent_id)
        if parent is not None:  # What is in a span of others is as if it were not.
            parent.failed_inside += span.failed if span.role else entry.failed_inside
        if not span.role:
            return
        self._totals.add(span, parent.span if parent is not None else None)
        if span.role == "item" and parent is not None:
            yield from self._item_ended(entry, span, parent, step)
            return
        untraced = span.attributes.get(semconv.BATCH_UNTRACED, 0)
        yield from self._report(entry, span.end, entry.items.last_report(entry.seconds(span.end), untraced))
        lines = list(self._step_ended(entry, span, parent))
        if lines and parent is not None and parent.ended_by(span):
            self._held.append((parent, lines, span.failed))
        else:
            yield from lines

    def _step_ended(self, entry: OpenSpan, span: SpanRecord, parent: OpenSpan | None) -> Iterator[Line]:
        if span.failed or not entry.hidden:
            yield from self._start_line(entry)
            yield self._end_line(entry, span, parent)
            yield from self._hint(entry, span)

    def _item_ended(
        self, entry: OpenSpan, span: SpanRecord, batch: OpenSpan, step: list[Line]
    ) -> Iterator[Line]:
        """Yield the lines of an item's end: of a round that was one step, the held lines of the step."""
        batch.items.end(span)
        if step:
            yield step[0] + tuple(part for piece in _progress(span, batch) for part in (Part("  "), piece))
            yield from step[1:]
        elif batch.items.shows(span) and not batch.hidden:
            yield self._end_line(entry, span, batch)
        yield from self._report(batch, span.end, batch.items.report(batch.seconds(span.end)))

    def _only_step(self, round_: OpenSpan, span: SpanRecord) -> list[Line]:
        """Return the lines of the step that a round was which ends now, and as the step did."""
        if self._held and self._held[0][0] is round_ and self._held[0][2] == span.failed:
            with quiet(IndexError):  # Another thread was here.
                return self._held.popleft()[1]
        return []

    def _end_line(self, entry: OpenSpan, span: SpanRecord, parent: OpenSpan | None) -> Line:
        remark = self._others_wrote(entry, span)
        outcome = span_line.outcome(span, entry.failed_inside, remark=remark, narrow=self._narrow)
        facts = (*_overlapped(entry, span), *outcome, *_progress(span, parent))
        return self._line(entry, span.end, *span_line.ended(span, facts, entry.failed_inside))

    def _hint(self, entry: OpenSpan, span: SpanRecord) -> Iterator[Line]:
        """Yield the keys of the store, where a step missed one."""
        attributes = span.attributes
        if attributes.get(semconv.ERROR_TYPE) != "KeyError" or semconv.ERROR_PLACE not in attributes:
            return
        names = json.loads(attributes.get(semconv.SHARED_SCHEMA, "{}"))
        if span.status_message.removeprefix("KeyError: ") not in map(repr, names):
            keys = ", ".join(map(escape, list(names)[: wording.MAX_KEYS])) or "no keys"
            keys += wording.more_than_shown(len(names))
            yield *self._margin(entry, span.end), Part(f"shared has: {keys}", DIM)

    def _margin(self, entry: OpenSpan, time: int) -> Line:
        """Return what stands before a line below an entry's that does not show its time."""
        margin = " " * len(self._elapsed(time)) + _INDENT * (entry.depth + 1)
        return Part(margin), Part(entry.label, DIM)

    def still_running(self, time: int) -> Iterator[Line]:
        """Yield the line for a long silence: which steps are open, and for how long; none if none is."""
        entries = list(self._open.values())  # At once: a thread of its own asks, while others go on.
        holders = {entry.span.parent_id for entry in entries}
        innermost = [entry for entry in entries if entry.span.role and entry.span.span_id not in holders]
        steps = [
            " ".join(
                filter(None, (self._title(entry), entry.progress, f"{(time - entry.span.start) / 1e9:.0f}s"))
            )
            for entry in innermost[: wording.MAX_KEYS]
        ]
        if steps:
            shown = ", ".join(steps) + wording.more_than_shown(len(innermost))
            yield Part("… still running: ", DIM), Part(shown)

    def _title(self, entry: OpenSpan) -> str:
        """Return what an open step is called: `Summarize [4]`."""
        node = self._open.get(entry.span.parent_id) if entry.span.role == "item" else entry
        name = name_of(node.span) if node is not None else ""
        return f"{name} {entry.label}".rstrip()

    def _others_wrote(self, entry: OpenSpan, span: SpanRecord) -> str:
        """Return the remark that the changes of a step may be those of others: once a flow."""
        flow, attributes = entry.flow or entry, span.attributes
        if flow.others_wrote or self._narrow or semconv.SHARED_CONCURRENT not in attributes:
            return ""
        if span.role != "node" or span.failed or not wording.diff(attributes):
            return ""
        flow.others_wrote = True
        return f" {wording.OTHERS_WROTE}"

    def _line(self, entry: OpenSpan, time: int, *parts: Part, below: int = 0) -> Line:
        """Return a line at an entry's place, or so many levels `below` it."""
        margin = Part(_INDENT * (entry.depth + below))
        return (Part(self._elapsed(time), DIM), margin, Part(entry.label, DIM), *parts)

    def _elapsed(self, time: int) -> str:
        return "" if self._narrow else f"{max(time - self._start, 0) / 1e9:6.2f}s "

    def summary(self, root: SpanRecord, *, late: int = 0) -> Iterator[Line]:
        """Yield the last lines of the run: see `RunTotals.lines`."""
        return self._totals.lines(root, late=late)


def _overlapped(entry: OpenSpan, span: SpanRecord) -> Iterator[Part]:
    """Yield `parallel` of a batch that was not known to be when it began."""
    mode = span.attributes.get(semconv.BATCH_MODE)
    if mode == semconv.PARALLEL and entry.span.attributes.get(semconv.BATCH_MODE) != mode:
        yield Part("parallel", DIM)


def _progress(span: SpanRecord, parent: OpenSpan | None) -> Iterator[Part]:
    """Yield how many items of a batch are done, at the end of one."""
    if span.role == "item" and parent is not None and parent.items.size is not None:
        yield Part(f"({parent.items.ended}/{parent.items.size})", DIM)
