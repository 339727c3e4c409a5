"""Know which steps are open on which shared store.

Two steps of one flow that follow each other share a snapshot: what the first left is what the
second finds. Steps that overlap on one store see each other's writes; both are told.
"""

from __future__ import annotations

import threading
from typing import Final

from pocketflow_otel.capture.shared import Diff, Snapshot


class _Store:
    """One store, from the first step that opens on it to the last that closes."""

    __slots__ = ("left", "left_for", "open")

    def __init__(self) -> None:
        self.open: set[Watch] = set()
        self.left: Snapshot | None = None
        self.left_for: object = None


_lock: Final = threading.Lock()
_stores: Final[dict[int, _Store]] = {}


class Watch:
    """One step's view of its store, from `Watch(...)` to `close()`.

    Args:
        shared: The store.
        parent: The watch of the step this one runs in, if any.
        siblings: What runs this step and its neighbours one after the other with nothing
            between them that could write; `None` when that is not certain.
    """

    __slots__ = ("_level", "_shared", "_siblings", "_store", "concurrent", "parent", "snapshot")

    def __init__(self, shared: object, parent: Watch | None, siblings: object) -> None:
        self._shared = shared
        self._siblings = siblings
        self.parent = parent
        self.concurrent = False
        left = None
        with _lock:
            store = self._store = _stores.setdefault(id(shared), _Store())
            self._level = self._ancestors_open()
            if len(store.open) > self._level:
                self._mark_overlap()
            elif siblings is not None and store.left_for is siblings:
                left = store.left
            store.left = store.left_for = None
            store.open.add(self)
        # Outside the lock: a large store takes a while.
        self.snapshot = left or Snapshot.take(shared)

    def close(self) -> Diff | None:
        """Return what changed in the store since this step began; `None` if it cannot be listed."""
        diff = None
        try:
            if self.snapshot is not None:
                diff = self.snapshot.update(self._shared)
        finally:
            with _lock:
                store = self._store
                store.open.discard(self)
                if not store.open:
                    _stores.pop(id(self._shared), None)
                elif self._siblings is not None and not self.concurrent:
                    store.left, store.left_for = self.snapshot, self._siblings
            self.snapshot = None
        return diff

    def _ancestors_open(self) -> int:
        parent = self.parent
        while parent is not None:
            if parent._store is self._store:
                return parent._level + 1
            parent = parent.parent
        return 0

    def _mark_overlap(self) -> None:
        ancestors = set()
        parent = self.parent
        while parent is not None:
            ancestors.add(parent)
            parent = parent.parent
        for other in self._store.open - ancestors:
            other.concurrent = self.concurrent = True
