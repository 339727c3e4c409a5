"""Two runs side by side: the steps both took, and those that only one took."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.analysis.rows import rows
from pocketflow_otel.views import wording
from pocketflow_otel.views.status import style_of
from pocketflow_otel.views.styled_text import BAD, DIM, GOOD, WARN, Line, Part, escape
from pocketflow_otel.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import Trace
    from pocketflow_otel.views.table import Cell

Row = dict[str, Any]

COMPARED: Final = (
    "status", "action", "attempts", "fallback", "item_fallbacks", "failed_inside", "added", "modified",
    "removed", "error_type", "error_place",
)  # fmt: skip
"""What makes two executions of a step differ, besides what they took and cost."""
_ALIGNED_UP_TO: Final = 5_000
"""Steps of a run up to which the two ways are aligned; longer ones are compared place by place."""


_SMALL: Final = 0.005
"""A change of a duration that rounds to no per cent."""


@dataclass(frozen=True, slots=True)
class StepPair:
    """A step of both runs, or of one."""

    left: Row | None
    right: Row | None

    @property
    def changed(self) -> list[str]:
        """The names of what differs."""
        left, right = self.left, self.right
        if left is None or right is None:
            return []
        return [name for name in COMPARED if left[name] != right[name]]

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "left": self.left,
            "right": self.right,
            "changed": self.changed,
        }


def pairs(left: Trace, right: Trace) -> list[StepPair]:
    """Align the flows, steps and items of two runs by their names, in the order they went."""
    rows_of = [[row for row in rows(trace) if row["kind"] != "span"] for trace in (left, right)]
    first, second = rows_of
    if max(len(first), len(second)) > _ALIGNED_UP_TO:
        return [StepPair(one, other) for one, other in zip_longest(first, second)]
    keys, others = (
        [(row["depth"], row["kind"], row["name"], row["index"]) for row in found] for found in rows_of
    )
    aligned: list[StepPair] = []
    matcher = SequenceMatcher(None, keys, others, autojunk=False)
    for tag, from_left, to_left, from_right, to_right in matcher.get_opcodes():
        if tag == "equal":
            both = zip(first[from_left:to_left], second[from_right:to_right], strict=True)
            aligned += [StepPair(one, other) for one, other in both]
        else:
            aligned += [StepPair(one, None) for one in first[from_left:to_left]]
            aligned += [StepPair(None, other) for other in second[from_right:to_right]]
    return aligned


def comparison(left: Trace, right: Trace) -> Iterator[Line]:
    """Yield the lines of a comparison: the runs, then their steps; `<` and `>` mark those of one run."""
    yield from table(
        ("", "run", "flow", "status", ">duration", ">steps", ">tokens", ">cost"),
        [_run_row(mark, trace) for mark, trace in (("<", left), (">", right))],
    )
    yield ()
    yield from table(
        ("", "step", ">duration <", ">duration >", ">change", ">tokens", ">cost", "what differs"),
        [_row(pair) for pair in pairs(left, right)],
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


def _row(pair: StepPair) -> tuple[Cell, ...]:
    left, right = pair.left, pair.right
    row = left or right
    assert row is not None
    mark = Part(">", GOOD) if left is None else Part("<", BAD) if right is None else Part(" ")
    name = f"[{row['index']}]" if row["kind"] == "item" else escape(row["name"])
    return (
        mark,
        "  " * row["depth"] + name,
        _took(left),
        _took(right),
        _change(left, right),
        _arrow(_tokens(left), _tokens(right)),
        _arrow(_cost(left), _cost(right)),
        Part(_differs(pair), WARN if left and right else DIM),
    )


def _took(row: Row | None) -> str:
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
    if row is None:
        return ""
    said = {semconv.COST: row["cost"], semconv.COST_UNPRICED_CALLS: row["unpriced_calls"]}
    return wording.cost_of({name: value for name, value in said.items() if value is not None})


def _arrow(left: str, right: str) -> str:
    return left if left == right else f"{left or '-'} → {right or '-'}"


def _differs(pair: StepPair) -> str:
    if pair.left is None or pair.right is None:
        return "only in this run"
    told = []
    for name in pair.changed:
        before, after = (_said(row[name]) for row in (pair.left, pair.right))
        told.append(f"{name.replace('_', ' ')}: {before} → {after}")
    return "; ".join(told)


def _said(value: Any) -> str:
    if value in (None, [], ""):
        return "-"
    return escape(" ".join(map(str, value)) if isinstance(value, list) else str(value))
