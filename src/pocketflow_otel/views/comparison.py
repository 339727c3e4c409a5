"""The table of two runs side by side, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.analysis.diff import pairs
from pocketflow_otel.views import wording
from pocketflow_otel.views.status import style_of
from pocketflow_otel.views.styled_text import BAD, DIM, GOOD, WARN, Line, Part, escape
from pocketflow_otel.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.analysis.diff import Row, StepPair
    from pocketflow_otel.traces.trace import Trace
    from pocketflow_otel.views.table import Cell

_SMALL: Final = 0.005
"""A change of a duration that rounds to no per cent."""


def comparison_lines(left: Trace, right: Trace) -> Iterator[Line]:
    """Yield the lines of a comparison: the runs, then their steps; `<` and `>` mark those of one run."""
    yield from table(
        ("", "run", "flow", "status", ">duration", ">steps", ">tokens", ">cost"),
        [_run_row(mark, trace) for mark, trace in (("<", left), (">", right))],
    )
    yield ()
    yield from table(
        ("", "step", ">duration <", ">duration >", ">change", ">tokens", ">cost", "what differs"),
        [_step_row(pair) for pair in pairs(left, right)],
    )


def _run_row(mark: str, trace: Trace) -> tuple[Cell, ...]:
    summary = trace.summary
    return (
        mark,
        summary.run_id,
        escape(summary.title),
        Part(summary.status, style_of(summary.status)),
        wording.seconds(summary.duration),
        f"{summary.steps:,}",
        f"{summary.tokens:,}" if summary.calls else "",
        wording.cost_of(summary.sums()) if summary.calls else "",
    )


def _step_row(pair: StepPair) -> tuple[Cell, ...]:
    left, right = pair.left, pair.right
    row = left or right
    assert row is not None
    mark = Part(">", GOOD) if left is None else Part("<", BAD) if right is None else Part(" ")
    name = f"[{row['index']}]" if row["kind"] == "item" else escape(row["name"])
    return (
        mark,
        "  " * row["depth"] + name,
        _duration(left),
        _duration(right),
        _change(left, right),
        _arrow(_tokens(left), _tokens(right)),
        _arrow(_cost(left), _cost(right)),
        Part(_what_differs(pair), WARN if left and right else DIM),
    )


def _duration(row: Row | None) -> str:
    return wording.seconds(row["duration"]) if row is not None and row["duration"] is not None else ""


def _change(left: Row | None, right: Row | None) -> str:
    if left is None or right is None or not left["duration"] or right["duration"] is None:
        return ""
    change = right["duration"] / left["duration"] - 1
    return f"{change:+.0%}" if abs(change) >= _SMALL else "="


def _tokens(row: Row | None) -> str:
    if row is None or row["input_tokens"] is None:
        return ""
    return f"{row['input_tokens'] + (row['output_tokens'] or 0):,}"


def _cost(row: Row | None) -> str:
    return "" if row is None else wording.price(row["cost"], row["unpriced_calls"])


def _arrow(left: str, right: str) -> str:
    return left if left == right else f"{left or '-'} → {right or '-'}"


def _what_differs(pair: StepPair) -> str:
    if pair.left is None or pair.right is None:
        return "only in this run"
    changes = []
    for name in pair.changed:
        before, after = (_text(row[name]) for row in (pair.left, pair.right))
        changes.append(f"{name.replace('_', ' ')}: {before} → {after}")
    return "; ".join(changes)


def _text(value: Any) -> str:
    if value in (None, [], ""):
        return "-"
    return escape(" ".join(map(str, value)) if isinstance(value, list) else str(value))
