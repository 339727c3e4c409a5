"""Know which usages, left by steps in their stores, have been counted.

A usage that an earlier step left is not counted again, in whichever store of the run it lies; a new
object counts whole, even one equal to the last; an accumulator changed in place counts its
increase, a list what was added to it. Steps that overlap count what they find between them once.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import Any, Final

from pocketflow_otel.usage.payloads import Usage, read_usage

MAX_KNOWN: Final = 4096
"""Usages that are remembered, beside those that lie in the store read last."""


class CountedUsages:
    """The usages in one run's stores that have been counted, by the identity of the objects they are in."""

    __slots__ = ("_known", "_lock", "_opened")

    def __init__(self) -> None:
        # Reentrant: a garbage collection in here may close an abandoned coroutine, and the step in it.
        self._lock = threading.RLock()
        self._opened: set[int] = set()
        # What has been counted, kept alive: an identity means nothing afterwards. The latest are last.
        self._known: dict[int, tuple[object, list[Usage]]] = {}

    def knows(self, store: object) -> bool:
        """Return whether a step of the run has been on a store."""
        return id(store) in self._opened

    def open(self, store: object, reported: object, model: str | None) -> None:
        """Take note of what lies in a store before the run's first step on it."""
        with self._lock:
            if id(store) not in self._opened:
                self._opened.add(id(store))
                self._remember(
                    {
                        id(entry): self._known.get(id(entry)) or (entry, _read(entry, model))
                        for entry in _entries(reported)
                    }
                )

    def take(self, store: object, reported: object, model: str | None) -> list[Usage]:
        """Return the usages that are new in a store since the run's stores were read last.

        Args:
            store: The shared store.
            reported: What lies there under `llm_usage`.
            model: The model, where the usages name none.
        """
        entries = _entries(reported)
        with self._lock:
            self._opened.add(id(store))
            present: dict[int, tuple[object, list[Usage]]] = {}
            new: list[Usage] = []
            last = len(entries) - 1
            for position, entry in enumerate(entries):
                known = self._known.get(id(entry))
                if known is not None and position != last:
                    present[id(entry)] = known  # Of a list, only the last may still be growing.
                    continue
                usages = _read(entry, model)
                present[id(entry)] = entry, usages
                counted = known[1] if known is not None else []
                new += [usage.minus(old) for usage, old in zip(usages, counted, strict=False)]
                new += usages[len(counted) :]
            self._remember(present)
        return [usage for usage in new if usage]

    def _remember(self, present: dict[int, tuple[object, list[Usage]]]) -> None:
        for key in present:
            self._known.pop(key, None)
        self._known.update(present)
        excess = len(self._known) - max(MAX_KNOWN, len(present))
        for key in list(islice(self._known, max(excess, 0))):
            del self._known[key]


def _entries(reported: object) -> list[Any]:
    return list(reported) if isinstance(reported, list | tuple) else [reported]


def _read(entry: object, model: str | None) -> list[Usage]:
    """Read a usage without calling anything: it may be a user's lazy response, or his mock."""
    return read_usage(entry, model=model, ask=False)
