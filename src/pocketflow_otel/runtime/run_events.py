"""What happens inside a run's steps while they are open, as observers of the run hear of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt failed and another, or the fallback, follows.

    `max` is how many there may be; 0 where nobody knows. `wait` is in seconds; `place` is where it was
    raised: `nodes.py:42`; `item` is the index of the batch item it was an attempt of; `phase` is `exec`,
    but where the node repeats the whole of itself.
    """

    attempt: int
    max: int
    error_type: str
    message: str
    wait: float
    place: str = ""
    item: int | None = None
    phase: str = "exec"


@dataclass(frozen=True, slots=True)
class BatchBegun:
    """A node or flow begins a batch; a generator has no size."""

    size: int | None
    parallel: bool


@dataclass(frozen=True, slots=True)
class ItemUntraced:
    """An item beyond the limit of spans went well."""


@dataclass(frozen=True, slots=True)
class ActionUnmatched:
    """A step returned an action that its flow knows no way for."""

    action: str
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """A step has done a part of its work; how much there is may be unknown."""

    done: float
    total: float | None


Event = Progress | AttemptFailed | BatchBegun | ItemUntraced | ActionUnmatched

Observer = Callable[[Any, Event], None]
"""Is called with the scope in which an event happened, and the event."""
