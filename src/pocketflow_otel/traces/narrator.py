"""Tell a run as lines: the same ones while it goes and afterwards.

A `Narrator` is given what happens, in order, as plain values; it knows no clock and no stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.traces import text
from pocketflow_otel.traces.text import BAD, DIM, GOOD, NAME, WARN, Line, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pocketflow_otel.traces.model import SpanRecord

_INDENT: Final = "  "
_RUN_COLUMN: Final = 64
"""Where the run's id stands in the first line, if the flow's name leaves room."""


@dataclass(slots=True)
class _Open:
    """A span that has not ended: where its lines stand.

    Attributes:
        depth, label: Of its own lines; `label` is `[2] ` inside the third item of a batch.
        inner_depth: Of the lines below it.
        told: Whether its start has been told. A batch waits until its size is known.
        size: Of its batch.
        items: How many items of its batch have ended.
    """

    span: SpanRecord
    depth: int
    label: str
    inner_depth: int
    told: bool = True
    size: int | None = None
    items: int = 0


class Narrator:
    """The lines of one run.

    Args:
        run_id: The run's id.
        start: When it started, in nanoseconds since the epoch.
    """

    def __init__(self, run_id: str, start: int) -> None:
        self._run_id = run_id
        self._start = start
        self._open: dict[str, _Open] = {}
        self._steps = 0
        self._failed_steps = 0
        self._failed_at = ""
        self._slowest: tuple[float, str] = (0.0, "")

    def started(self, span: SpanRecord) -> Iterator[Line]:
        """Tell that a span started; items, and spans that are not ours, have no line for that."""
        parent = self._open.get(span.parent_id)
        depth, label = (parent.inner_depth, parent.label) if parent is not None else (0, "")
        inner_depth = depth + 1
        if span.role == "item":
            label += f"[{span.attributes.get(semconv.BATCH_INDEX, '?')}] "
            if parent is not None and parent.span.role == "flow":
                inner_depth = depth  # A round's nodes stand where the flow's would.
        elif not span.role:
            inner_depth = depth
        entry = self._open[span.span_id] = _Open(span, depth, label, inner_depth)
        if parent is not None:
            yield from self._tell(parent)
        if span.role in ("flow", "node"):
            entry.told = False
            entry.size = span.attributes.get(semconv.BATCH_SIZE)
            if semconv.BATCH_MODE not in span.attributes or entry.size is not None:
                yield from self._tell(entry)

    def batch_begun(self, span_id: str, size: int | None) -> Iterator[Line]:
        """Tell that a batch begins, with its size if that is known."""
        entry = self._open.get(span_id)
        if entry is not None:
            entry.size = size
            yield from self._tell(entry)

    def _tell(self, entry: _Open) -> Iterator[Line]:
        """Tell an entry's start, unless that has been done."""
        if entry.told:
            return
        entry.told = True
        span = entry.span
        name = [Part(_name(span), NAME)]
        mode = span.attributes.get(semconv.BATCH_MODE)
        if mode is not None and entry.size is not None:
            name.append(Part(f" ×{entry.size}"))
        if mode == semconv.PARALLEL:
            name.append(Part(" parallel", DIM))
        visit = span.attributes.get(semconv.NODE_VISIT, 1)
        if visit != 1:
            name.append(Part(f" (visit {visit})", DIM))
        if span.role == "flow" and not span.title:
            name.append(Part(f" (starts at {text.escape(_starts_at(span))})", DIM))
        line = self._line(entry, span.start, Part("→ ", DIM), *name)
        if entry.depth == 0:
            gap = max(2, _RUN_COLUMN - sum(len(part.text) for part in line))
            line += (Part(" " * gap), Part(f"run {self._run_id}", DIM))
        yield line

    def attempt_failed(
        self, span_id: str, time: int, *, attempt: int, most: int, error: str, wait: float
    ) -> Iterator[Line]:
        """Tell that an attempt failed and will be repeated, after `wait` seconds."""
        entry = self._open.get(span_id)
        if entry is None:
            return
        yield from self._tell(entry)
        waiting = f"; waiting {wait:g}s" if wait else ""
        message = text.cut(text.escape(error), text.MAX_MESSAGE)
        said = Part(f"attempt {attempt}/{most} failed: {message}{waiting}")
        yield self._line(entry, time, Part("↻ ", WARN), said)

    def unmatched(self, span_id: str, time: int, action: str, known: Sequence[str]) -> Iterator[Line]:
        """Tell that a step's action leads nowhere."""
        entry = self._open.get(span_id)
        if entry is not None:
            ways = ", ".join(text.escape(way) for way in known)
            said = f"action '{text.escape(action)}' leads nowhere (known: {ways}): flow ends here"
            yield self._line(entry, time, Part("⚠ ", WARN), Part(said))

    def item_done(self, span_id: str) -> None:
        """Count an item of a batch that has no span of its own."""
        entry = self._open.get(span_id)
        if entry is not None:
            entry.items += 1

    def ended(self, span: SpanRecord) -> Iterator[Line]:
        """Tell how a span ended."""
        entry = self._open.pop(span.span_id, None)
        if entry is None or not span.role:
            return
        if span.role != "item":
            yield from self._tell(entry)
        self._count(span)
        parent = self._open.get(span.parent_id)
        mark, name = _mark(span), []
        if span.role != "item":
            name = [Part(_name(span), NAME), Part(" ")]
        pieces = [*self._outcome(span), *_progress(span, parent)]
        line = self._line(entry, span.end, mark, *name, Part(text.seconds(span.duration)))
        for piece in pieces:
            line += (Part("  "), piece)
        yield line

    def _outcome(self, span: SpanRecord) -> Iterator[Part]:
        attributes = span.attributes
        if span.failed:
            message = text.error(span.status_message, str(attributes.get(semconv.ERROR_TYPE, "error")))
            phase = attributes.get(semconv.ERROR_PHASE)
            yield Part(message + (f" in {phase}" if phase else ""), BAD)
            return
        action = attributes.get(semconv.NODE_ACTION)
        if semconv.FLOW_NESTED in attributes:
            action = attributes.get(semconv.FLOW_ACTION)
        if action is not None:
            yield Part(f"→ {text.escape(str(action))}")
        attempts = attributes.get(semconv.NODE_ATTEMPTS, 1)
        if attributes.get(semconv.NODE_FALLBACK):
            yield Part(f"fallback after {text.plural(attempts, 'attempt')}", WARN)
        elif attempts > 1:
            yield Part(text.plural(attempts, "attempt"), WARN)
        changes = text.diff(attributes) if span.role == "node" else ""
        if changes:
            yield Part(changes)

    def _count(self, span: SpanRecord) -> None:
        if span.role != "item" and span.failed and span.has_event(semconv.EXCEPTION_EVENT):
            phase = span.attributes.get(semconv.ERROR_PHASE)
            self._failed_at = _name(span) + (f".{phase}" if phase else "")
        if span.role == "node":
            self._steps += 1
            self._failed_steps += span.failed
            self._slowest = max(self._slowest, (span.duration, _name(span)))

    def _line(self, entry: _Open, time: int, *parts: Part) -> Line:
        elapsed = Part(f"{max(time - self._start, 0) / 1e9:6.2f}s ", DIM)
        return (elapsed, Part(_INDENT * entry.depth), Part(entry.label, DIM), *parts)

    def summary(self, root: SpanRecord, path: Path | None, *, late: int = 0) -> Iterator[Line]:
        """Tell how the run ended, in two lines.

        Args:
            root: The run's ended root span.
            path: Its trace file, if there is one.
            late: Spans still open, which that file will not have.
        """
        steps = text.plural(self._steps, "step")
        took = text.seconds(root.duration)
        if root.failed:
            failed = self._failed_steps
            steps += f" ({self._steps - failed} ok, {failed} failed)" if failed else ""
            where = f" at {self._failed_at}" if self._failed_at else ""
            yield Part(f"FAILED{where}", BAD), Part(f" · {text.joined([took, steps])}")
        else:
            yield Part("ok", GOOD), Part(f"  {text.joined([took, steps])}")
        slowest = ""
        if not root.failed and self._steps > 1 and root.duration:
            duration, name = self._slowest
            slowest = f"slowest {name} {text.seconds(duration)} ({duration / root.duration:.0%})"
        trace = f"trace {text.escape(text.short_path(path))}" if path is not None else ""
        still = f"{text.plural(late, 'span')} still open, not in the file" if late and path else ""
        if slowest or trace:
            yield (Part(text.joined([slowest, trace, still])),)


def _name(span: SpanRecord) -> str:
    title = text.escape(span.title)
    if span.role == "flow":
        return f"Flow: {title}" if title else "Flow"
    return title


def _starts_at(span: SpanRecord) -> str:
    return str(span.attributes.get(semconv.FLOW_START_NODE, "nothing"))


def _mark(span: SpanRecord) -> Part:
    if span.failed:
        return Part("✗ ", BAD)
    return Part("⚠ ", WARN) if span.attributes.get(semconv.NODE_FALLBACK) else Part("✓ ", GOOD)


def _progress(span: SpanRecord, parent: _Open | None) -> Iterator[Part]:
    """Tell how many items of a batch are done, at the end of one."""
    if span.role == "item" and parent is not None:
        parent.items += 1
        if parent.size is not None:
            yield Part(f"({parent.items}/{parent.size})", DIM)
