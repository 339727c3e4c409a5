"""Fold a journal into its run: the events of the timeline, and the run summary before them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pocketflow_otel import semconv
from pocketflow_otel.traces import journal
from pocketflow_otel.traces.document_layout import FORMAT
from pocketflow_otel.traces.records import ERROR, SpanRecord, TraceError
from pocketflow_otel.traces.validation import read_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.traces.records import Attributes

    _Add = Callable[[SpanRecord], list[dict[str, Any]]]

_SHOWN: Final = ("flow", "node")
"""The spans that have a line of their own in the timeline."""


def _usage(attributes: Attributes) -> dict[str, Any]:
    """Return the `tokens`, `token_details` and `cost` of a step with calls."""
    if not attributes.get(semconv.SUM_CALLS):
        return {}
    tokens, output = attributes[semconv.SUM_INPUT_TOKENS], attributes[semconv.SUM_OUTPUT_TOKENS]
    details = {
        "prompt": tokens,
        "completion": output,
        "cache_read": attributes.get(semconv.SUM_CACHE_READ_TOKENS),
        "cache_write": attributes.get(semconv.USAGE_CACHE_WRITE_TOKENS),
        "reasoning": attributes.get(semconv.USAGE_REASONING_TOKENS),
    }
    return {
        "tokens": tokens + output,
        "token_details": {name: number for name, number in details.items() if number is not None},
        "cost": attributes.get(semconv.COST),
        "unpriced_calls": attributes.get(semconv.COST_UNPRICED_CALLS),
        "models": list(attributes.get(semconv.SUM_MODELS, ())),
    }


_SUMS: Final = (
    semconv.SUM_CALLS,
    semconv.SUM_INPUT_TOKENS,
    semconv.SUM_OUTPUT_TOKENS,
    semconv.COST,
    semconv.COST_UNPRICED_CALLS,
)


@dataclass(slots=True)
class _PendingSpan:
    """An open span, and the usage of the calls in its ended children.

    Attributes:
        failed_inside: How many steps, flows and items right in it failed.
    """

    span: SpanRecord
    depth: int
    failed_inside: int = 0
    sums: dict[str, Any] = field(default_factory=dict)

    def add(self, sums: Attributes) -> None:
        for name in _SUMS:
            if name in sums:
                self.sums[name] = self.sums.get(name, 0) + sums[name]


@dataclass(slots=True)
class RunAccumulator:
    """The sums of a run, and its open spans; makes the timeline's events of starts and ends of spans.

    Attributes:
        root_id: The id of the run's root span.
        start: Of the run, in nanoseconds since the epoch.
        root: The root span, as the last line of it has it.
        end: The last sign of life, in nanoseconds since the epoch.
        steps, flows: How many ended.
        failed_steps, fallbacks, item_fallbacks, errors: See `RunSummary`.
        late: How many spans were open when the root ended.
        damaged: How many lines of the journal could not be read.
    """

    root_id: str
    start: int
    root: SpanRecord | None = None
    end: int = 0
    steps: int = 0
    flows: int = 0
    failed_steps: int = 0
    fallbacks: int = 0
    item_fallbacks: int = 0
    errors: int = 0
    late: int = 0
    damaged: int = 0
    _open: dict[str, _PendingSpan] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the root has ended."""
        return self.root is not None and self.root.end > 0

    def open_spans(self) -> list[SpanRecord]:
        """Return the spans that have not ended, the outermost first."""
        return [entry.span for entry in self._open.values()]

    def interrupt(self) -> Iterator[SpanRecord]:
        """Yield the open spans as those of an interrupted run, which end at its last sign of life."""
        for entry in reversed(self._open.values()):
            self.end = max(self.end, entry.span.start)
        for entry in reversed(self._open.values()):
            span = replace(
                entry.span,
                end=self.end,
                attributes={
                    **entry.span.attributes,
                    **entry.sums,
                    semconv.ERROR_TYPE: "interrupted",
                    semconv.INTERRUPTED: True,
                },
                status=ERROR,
                status_message="interrupted: the process ended",
            )
            parent = self._open.get(span.parent_id)
            if parent is not None:
                parent.add(entry.sums)
            if span.span_id == self.root_id:
                self.root = span
            yield span

    def started(self, span: SpanRecord) -> list[dict[str, Any]]:
        """Return the events of a span's start."""
        parent = self._open.get(span.parent_id)
        depth = (parent.depth if parent is not None else -1) + (span.role in _SHOWN)
        self._open[span.span_id] = _PendingSpan(span, depth)
        self.end = max(self.end, span.start)
        if span.span_id == self.root_id:
            self.root = span
        if span.role not in _SHOWN:
            return []
        event = self._event(f"{span.role}_start", span, span.start, depth)
        if span.role == "node":
            if semconv.SHARED_SCHEMA in span.attributes:
                types = json.loads(span.attributes[semconv.SHARED_SCHEMA])
                event |= {"shared_keys": list(types), "shared_types": types}
            event["visit"] = span.attributes.get(semconv.NODE_VISIT, 1)
        elif semconv.FLOW_VISIT in span.attributes:
            event["visit"] = span.attributes[semconv.FLOW_VISIT]
        return [event]

    def ended(self, span: SpanRecord) -> list[dict[str, Any]]:
        """Return the events of a span's end."""
        entry = self._open.pop(span.span_id, None)
        depth = entry.depth if entry is not None else 0
        parent = self._open.get(span.parent_id)
        if parent is not None:
            parent.add(span.attributes if span.role or entry is None else entry.sums)
            if span.role:
                parent.failed_inside += _has_failed(span)
            elif entry is not None:  # What is in a span of others is as if it were not.
                parent.failed_inside += entry.failed_inside
        self.end = max(self.end, span.end)
        if span.span_id == self.root_id:
            self.root = span
        if not span.role:
            return []
        if span.role not in _SHOWN:
            # Of an item, the phase is that of its node.
            return self._errors(span, depth, parent.span if parent is not None else None)
        self._count(span)
        event = self._event(f"{span.role}_complete", span, span.end, depth)
        event["duration"] = round(span.duration, 6)
        attributes = span.attributes
        action = attributes.get(semconv.NODE_ACTION, attributes.get(semconv.FLOW_ACTION))
        if action is not None:
            event["action"] = action
        if span.role == "node":
            event["attempts"] = attributes.get(semconv.NODE_ATTEMPTS)
            event["fallback"] = attributes.get(semconv.NODE_FALLBACK)
            event["item_fallbacks"] = attributes.get(semconv.BATCH_FALLBACKS)
            event["changes"] = span.changes
        event |= _usage(attributes)
        if entry is not None and entry.failed_inside and not span.failed:
            event["failed_inside"] = entry.failed_inside
        event["status"] = "failed" if span.failed else "ok"
        kept = {name: value for name, value in event.items() if value is not None}
        return [*self._errors(span, depth), kept]

    def _count(self, span: SpanRecord) -> None:
        if span.role == "flow":
            self.flows += 1
            return
        self.steps += 1
        self.failed_steps += _has_failed(span)
        self.fallbacks += bool(span.attributes.get(semconv.NODE_FALLBACK))
        self.item_fallbacks += span.attributes.get(semconv.BATCH_FALLBACKS, 0)

    def _errors(self, span: SpanRecord, depth: int, owner: SpanRecord | None = None) -> list[dict[str, Any]]:
        """An `error` event for each exception where it was raised, not where it passed through."""
        found = []
        phase = span.attributes.get(semconv.ERROR_PHASE)
        if owner is not None and owner.role == "node":
            phase = semconv.EXEC
        owner = owner or span
        for raised in span.events:
            if raised.name == semconv.EXCEPTION_EVENT:
                self.errors += 1
                event = self._event("error", owner, raised.time, depth)
                event["span_id"] = span.span_id
                event["error_type"] = raised.attributes.get(semconv.EXCEPTION_TYPE)
                event["error_message"] = raised.attributes.get(semconv.EXCEPTION_MESSAGE, "")
                event["context"] = ".".join(filter(None, (owner.title, phase)))
                if span.error_place:
                    event["place"] = span.error_place
                found.append(event)
        return found

    def _event(self, kind: str, span: SpanRecord, time: int, depth: int) -> dict[str, Any]:
        event: dict[str, Any] = {"type": kind, "name": span.title}
        if span.role == "node":
            event["class"] = span.attributes.get(semconv.NODE_CLASS)
        return event | {
            "timestamp": round(time / 1e9, 6),
            "elapsed": round((time - self.start) / 1e9, 6),
            "depth": depth,
            "span_id": span.span_id,
        }

    def _totals(self) -> dict[str, Any]:
        """Return the usage of the run's calls; `total_cost` is `None` when none has a price."""
        attributes: Attributes = self.root.attributes if self.root is not None else {}
        calls = attributes.get(semconv.SUM_CALLS, 0)
        tokens = attributes.get(semconv.SUM_INPUT_TOKENS, 0)
        output = attributes.get(semconv.SUM_OUTPUT_TOKENS, 0)
        return {
            "total_tokens": tokens + output,
            "input_tokens": tokens,
            "output_tokens": output,
            "total_cost": attributes.get(semconv.COST, None if calls else 0.0),
            "unpriced_calls": attributes.get(semconv.COST_UNPRICED_CALLS, 0),
            "llm_calls": calls,
            "models": json.loads(attributes.get(semconv.SUM_BY_MODEL, "{}")),
        }

    def summary(self, header: dict[str, Any], status: str | None = None) -> dict[str, Any]:
        """Return the fields before `events`.

        Args:
            header: The first line of the journal.
            status: Of a run that has not ended; by default `interrupted`.
        """
        root = self.root
        if root is not None and self.complete and semconv.INTERRUPTED not in root.attributes:
            status = root.outcome
        end = root.end if root is not None and root.end else self.end
        fields: dict[str, Any] = {
            "format": FORMAT,
            "run_id": header["run_id"],
            "flow": (root.title if root is not None else "") or None,
            "starts_at": root.attributes.get(semconv.FLOW_START_NODE) if root is not None else None,
            "status": status or "interrupted",
            "start_time": datetime.fromtimestamp(self.start / 1e9, UTC).isoformat(timespec="milliseconds"),
            "duration": round(max(end - self.start, 0) / 1e9, 6),
            "trace_id": header["trace_id"],
            "summary": self._totals()
            | {
                "node_executions": self.steps,
                "flows_executed": self.flows,
                "errors": self.errors,
            },
        }
        rare = {
            "failed_steps": self.failed_steps,
            "fallbacks": self.fallbacks,
            "item_fallbacks": self.item_fallbacks,
            "spans_still_open": self.late,
            "damaged_lines": self.damaged,
        }
        fields["summary"] |= {name: number for name, number in rare.items() if number}
        return fields


def _has_failed(span: SpanRecord) -> bool:
    """Return whether a span failed, and not merely was cut off with its process."""
    return span.failed and semconv.INTERRUPTED not in span.attributes


class FoldedLine(NamedTuple):
    """A line of a journal that says that a span started or ended.

    Attributes:
        kind: Which of the two.
        span: The span, as the line has it.
        events: The events of the timeline that follow from it.
        content: The line.
    """

    kind: Literal["start", "end"]
    span: SpanRecord
    events: list[dict[str, Any]]
    content: dict[str, Any]


class JournalFold:
    """Folds a journal into its run, a line at a time; iterate over it once.

    Attributes:
        header: The first line of the journal.
        run: What the lines so far add up to.

    Args:
        lines: The lines of the journal.

    Raises:
        TraceError: The first line is none of a journal.
    """

    def __init__(self, lines: Iterator[dict[str, Any]]) -> None:
        self.header = journal.read_header(next(lines, None))
        self.run = RunAccumulator(self.header["root_id"], self.header["start"])
        self._lines = lines

    def __iter__(self) -> Iterator[FoldedLine]:
        """Yield the lines of spans; one of a damaged span is counted and left out."""
        run = self.run
        for line in self._lines:
            if type(line.get("late")) is int:
                run.late = line["late"]
            if "start" in line:
                yield from self._folded("start", line, run.started)
            if "end" in line:
                yield from self._folded("end", line, run.ended)

    def _folded(self, kind: Literal["start", "end"], line: dict[str, Any], add: _Add) -> Iterator[FoldedLine]:
        try:
            span = read_span(line[kind], line.get("scope"))
        except TraceError:
            self.run.damaged += 1
        else:
            yield FoldedLine(kind, span, add(span), line)

    def summary(self, status: str | None = None) -> dict[str, Any]:
        """Return the fields of a trace file before its events; `status` as for `RunAccumulator.summary`."""
        return self.run.summary(self.header, status)
