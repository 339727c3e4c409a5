"""The tree of a run, as lines; long ones are shown in part, and say what they leave out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.views import span_line, wording
from pocketflow_otel.views.replay import was_running
from pocketflow_otel.views.status import RETRIED, TROUBLED, style_of
from pocketflow_otel.views.styled_text import DIM, NAME, WARN, Line, Part, escape
from pocketflow_otel.views.trouble import steps_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import RunSummary, SpanNode, Trace

LIMIT: Final = 100
"""Steps shown of what one step contains: the first and the last, and the failed ones between."""
_FAILED: Final = 20
"""Failed ones shown between."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A step in its place, or, without one, what was left out there.

    Attributes:
        step: The step.
        parent: What it lies in.
        branches: For each level above, and its own, whether more follow there.
        left_out: The steps that are not shown.
    """

    step: SpanNode | None
    parent: SpanNode | None
    branches: tuple[bool, ...]
    left_out: tuple[SpanNode, ...] = ()

    @property
    def prefix(self) -> str:
        """The lines of the tree before it."""
        if not self.branches:
            return ""
        above = "".join("│  " if more else "   " for more in self.branches[:-1])
        return above + ("├─ " if self.branches[-1] else "└─ ")

    @property
    def indent(self) -> str:
        """The lines of the tree before the lines below it."""
        below = "│  " if self.step is not None and self.step.children else "   "
        return "".join("│  " if more else "   " for more in self.branches) + below


def walk(trace: Trace, limit: int | None = LIMIT) -> Iterator[Shown]:
    """Yield what is shown of a trace, each step before what it contains.

    Args:
        trace: The run.
        limit: Steps shown of what one step contains; `None` for all.
    """
    for root in trace.roots:
        waiting = [Shown(root, None, ())]
        while waiting:
            shown = waiting.pop()
            yield shown
            if shown.step is not None:
                waiting += reversed(_below(shown, shown.step, limit))


def _below(shown: Shown, step: SpanNode, limit: int | None) -> list[Shown]:
    children = step.children
    parts: list[tuple[SpanNode | None, tuple[SpanNode, ...]]] = [(child, ()) for child in children]
    if limit is not None and len(children) > limit:
        half = limit // 2
        parts = [(child, ()) for child in children[:half]]
        between = children[half:-half]
        failed = [child for child in between if child.span.failed][:_FAILED]
        parts += [(child, ()) for child in failed]
        kept = {child.span.span_id for child in failed}
        parts.append((None, tuple(child for child in between if child.span.span_id not in kept)))
        parts += [(child, ()) for child in children[-half:]]
    last = len(parts) - 1
    return [
        Shown(child, step, (*shown.branches, place < last), left_out)
        for place, (child, left_out) in enumerate(parts)
    ]


def tree_lines(trace: Trace, *, values: bool = False, limit: int | None = LIMIT) -> Iterator[Line]:
    """Yield a run's facts, and then its `step_lines`."""
    yield from facts(trace)
    yield from step_lines(trace, values=values, limit=limit)


def step_lines(trace: Trace, *, values: bool = False, limit: int | None = LIMIT) -> Iterator[Line]:
    """Yield a run's tree.

    Args:
        trace: The run.
        values: Whether to show the values that were recorded of the store's keys.
        limit: As for `walk`.
    """
    remarks = _Remarks()
    for shown in walk(trace, limit):
        if shown.step is None:
            yield Part(shown.prefix, DIM), Part(left_out(shown), DIM)
            continue
        yield (
            Part(shown.prefix, DIM),
            *span_line.saved(shown.step, shown.parent, remarks.of(shown.step, shown.parent)),
        )
        for line in _event_lines(shown.step):
            yield (Part(shown.indent, DIM), *line)
        if values:
            for name, value in recorded(shown.step).items():
                yield Part(shown.indent, DIM), Part(f"{escape(name)} = {escape(value)}")


def facts(trace: Trace) -> Iterator[Line]:
    """Yield what is to be known of a run as a whole."""
    summary = trace.summary
    yield run_line(summary)
    pieces = [
        f"began {wording.moment(summary.start)} UTC",
        wording.seconds(summary.duration),
        steps_with(summary.steps, summary.trouble),
        bill(trace),
    ]
    yield (Part(wording.joined(pieces), DIM),)
    for note in notes(trace):
        yield (Part(note, WARN),)


def run_line(summary: RunSummary) -> Line:
    """Return which run it is, and how it ended."""
    status = Part(summary.status, style_of(summary.status))
    return Part(escape(summary.title), NAME), Part("  "), status, Part(f"  {summary.run_id}")


def bill(trace: Trace) -> str:
    """Return what the calls of a run came to; empty without calls."""
    summary, root = trace.summary, trace.root
    if root is not None and semconv.SUM_BY_MODEL in root.attributes:
        return wording.bill(root.attributes)
    if not summary.calls:
        return ""
    cost = wording.cost_of(summary.sums())
    tokens = f"{summary.tokens:,} tokens"
    return wording.joined([wording.plural(summary.calls, "LLM call"), tokens, f"cost {cost}" if cost else ""])


def notes(trace: Trace) -> Iterator[str]:
    """Yield what a reader must know to trust the rest."""
    if trace.summary.status == "interrupted":
        yield wording.joined(["its process ended before the run did", was_running(trace)])
    elif trace.summary.status == "running":
        yield wording.joined(["it still goes", was_running(trace)])
    if trace.summary.late:
        yield f"{wording.plural(trace.summary.late, 'span')} still open when the run ended, not in the file"
    if trace.summary.damaged:
        yield f"{wording.plural(trace.summary.damaged, 'line')} of the journal could not be read"


def left_out(shown: Shown) -> str:
    """Return how many steps are not shown, and how many of them failed."""
    failed = sum(step.span.failed for step in shown.left_out)
    count = f"{len(shown.left_out) - failed:,} ok" + (f", {failed:,} failed" if failed else "")
    return f"… {len(shown.left_out):,} more left out ({count}); --all shows them"


class _Remarks:
    """Remarks that steps ran beside others on one store: one a flow, at the first step."""

    def __init__(self) -> None:
        self._homes: dict[str, tuple[str, bool]] = {}  # The flow of a step, and whether in a batch.
        self._made: set[str] = set()

    def of(self, step: SpanNode, parent: SpanNode | None) -> str:
        """Return the remark on a step, empty for most; each is asked for after its parent."""
        span = step.span
        flow, batched = (span.span_id, False) if parent is None else self._homes[parent.span.span_id]
        batched = batched or span.role == "item"
        if span.role == "flow" and not batched:
            flow = span.span_id
        self._homes[span.span_id] = flow, batched
        attributes = span.attributes
        if semconv.SHARED_CONCURRENT not in attributes or flow in self._made or not wording.diff(attributes):
            return ""
        self._made.add(flow)
        return f" {wording.OTHERS_WROTE}"


def _event_lines(node: SpanNode) -> Iterator[Line]:
    """Yield a line for each failed attempt, unmatched action and warning of a step."""
    for event in node.span.events:
        attributes = event.attributes
        if event.name == semconv.ATTEMPT_FAILED:
            wait = attributes[semconv.ATTEMPT_WAIT]
            sentence = wording.attempt_failed(
                attributes[semconv.ATTEMPT],
                attributes[semconv.ATTEMPT_MAX],
                wording.error(wording.raised_by(event), "error"),
                f"waited {wait:g}s" if wait else "",
            )
            yield RETRIED, Part(sentence)
        elif event.name == semconv.ACTION_UNMATCHED:
            action, known = attributes[semconv.UNMATCHED_ACTION], attributes[semconv.UNMATCHED_KNOWN]
            yield TROUBLED, Part(wording.action_unmatched(action, known, "the flow ended"))
        elif event.name == semconv.WARNING:
            yield TROUBLED, Part(wording.warning(event))


def recorded(step: SpanNode) -> dict[str, str]:
    """Return the values that were recorded of the store's keys, as JSON."""
    values = json.loads(step.span.attributes.get(semconv.SHARED_VALUES, "{}"))
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
