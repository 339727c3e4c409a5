"""The steps of two runs in pairs: those both took, and those that only one took."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.analysis.rows import rows

if TYPE_CHECKING:
    from pocketflow_otel.traces.trace import Trace

Row = dict[str, Any]

COMPARED: Final = (
    "status", "action", "attempts", "fallback", "item_fallbacks", "failed_inside", "added", "modified",
    "removed", "error_type", "error_place",
)  # fmt: skip
"""What makes two executions of a step differ, besides what they took and cost."""
_ALIGNED_UP_TO: Final = 5_000
"""Steps of a run up to which the two runs are aligned by name; longer ones are by position."""


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
        return [name for name in COMPARED if _differs(left[name], right[name])]

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "left": self.left,
            "right": self.right,
            "changed": self.changed,
        }


def _differs(one: Any, other: Any) -> bool:
    """Return whether two cells differ; keys that are not known in one run differ from none in the other."""
    if {type(one), type(other)} == {list, type(None)}:
        return False
    return bool(one != other)


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
