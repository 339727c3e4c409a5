"""The last lines of a run: how it ended, what it came to, which step took longest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.traces.records import Trouble
from pocketflow_otel.views import wording
from pocketflow_otel.views.span_line import name_of
from pocketflow_otel.views.status import style_of
from pocketflow_otel.views.styled_text import SEPARATOR, Line, Part, escape
from pocketflow_otel.views.trouble import steps_with

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.records import SpanRecord

_LEAST_SHARE: Final = 0.01
"""Of a run's time, what the slowest step must have taken to be named."""
_STOPPED: Final = frozenset({"denied", "paused"})
"""How runs end that a gate stopped."""


class RunTotals:
    """What the flows, nodes and items of a run come to, those that have ended."""

    def __init__(self) -> None:
        self._steps = self._priced_steps = 0
        self._failed_steps = self._errors = self._fallbacks = self._item_fallbacks = 0
        self._failed_at = self._stopped_at = ""
        self._slowest: tuple[float, str] = (0.0, "")
        self._dearest: tuple[float, str] = (0.0, "")

    def add(self, span: SpanRecord, parent: SpanRecord | None) -> None:
        """Count a flow, node or item that has ended, in its parent."""
        if span.failed and span.has_event(semconv.EXCEPTION_EVENT):
            self._failed_at = _place(span, parent)
        self._errors += sum(event.name == semconv.EXCEPTION_EVENT for event in span.events)
        if span.role == "node":
            self._steps += 1
            self._failed_steps += span.failed
            self._fallbacks += bool(span.attributes.get(semconv.NODE_FALLBACK))
            self._item_fallbacks += span.attributes.get(semconv.BATCH_FALLBACKS, 0)
            if wording.was_stopped(span.attributes):
                self._stopped_at = name_of(span)
            else:
                self._slowest = max(self._slowest, (span.duration, name_of(span)))
            cost = span.attributes.get(semconv.COST, 0.0)
            self._priced_steps += cost > 0
            self._dearest = max(self._dearest, (cost, name_of(span)))

    def lines(self, root: SpanRecord, *, late: int = 0) -> Iterator[Line]:
        """Yield how the run ended, and then remarks on its steps, if there are any.

        Args:
            root: The run's ended root span.
            late: Spans still open, which its trace file will not have.
        """
        took, bill = wording.seconds(root.duration), wording.bill(root.attributes)
        steps = wording.plural(self._steps, "step")
        if root.failed:
            failed = self._failed_steps
            steps += f" ({self._steps - failed} ok, {failed} failed)" if failed else ""
            where = f" at {self._failed_at}" if self._failed_at else ""
            yield (
                Part(f"FAILED{where}", style_of("failed")),
                Part(f"{SEPARATOR}{wording.joined([took, steps, bill])}"),
            )
        else:
            outcome = root.outcome
            trouble = Trouble(self._failed_steps, self._errors, self._fallbacks, self._item_fallbacks)
            where = f" at {self._stopped_at}" if outcome in _STOPPED and self._stopped_at else ""
            facts = wording.joined([took, steps_with(self._steps, trouble), bill])
            yield Part(outcome + where, style_of(outcome)), Part(f"  {facts}")
        slowest = "" if root.failed else self._slowest_step(root)
        still = f"{wording.plural(late, 'span')} still open, not in the file" if late else ""
        remarks = wording.joined([slowest, self._dearest_step(root), still])
        if remarks:
            yield (Part(remarks),)

    def _slowest_step(self, root: SpanRecord) -> str:
        """Return the step that took longest; empty where there is one only, or none took long."""
        duration, name = self._slowest
        took, share = wording.seconds(duration), duration / root.duration if root.duration else 0.0
        if self._steps <= 1 or took == wording.seconds(0) or share < _LEAST_SHARE:
            return ""
        return f"slowest {name} {took} ({share:.0%})"

    def _dearest_step(self, root: SpanRecord) -> str:
        total = root.attributes.get(semconv.COST)
        if self._priced_steps <= 1 or not total:
            return ""
        cost, name = self._dearest
        return f"most expensive {name} {wording.money(cost)} ({cost / total:.0%})"


def path_line(path: Path) -> Line:
    """Return the line that names a run's trace file."""
    return (Part(f"trace {escape(wording.short_path(path))}"),)


def _place(span: SpanRecord, parent: SpanRecord | None) -> str:
    """Return where an exception was raised: `Embed.prep`. Items are executed by their node."""
    phase = span.attributes.get(semconv.ERROR_PHASE)
    if span.role == "item" and parent is not None:
        span, phase = parent, semconv.EXEC if parent.role == "node" else None
    return name_of(span) + (f".{phase}" if phase else "")
