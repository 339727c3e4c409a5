"""Know which steps are open on which shared store.

Two steps of one flow that follow each other share a snapshot: what the first left is what the
second finds. Steps that overlap on one store see each other's writes; both are marked.
"""

from __future__ import annotations

import threading
from typing import Final

from pocketflow_otel.store.listing import store_of
from pocketflow_otel.store.snapshot import Diff, Snapshot


class _Store:
    """A shared store, from the first step that opens on it to the last that closes.

    Attributes:
        open: The steps open on it.
        undisturbed: Those of them that have not overlapped with another.
        handover, handover_to: The snapshot a step left, and what runs the step that may take it.
    """

    __slots__ = ("handover", "handover_to", "open", "undisturbed")

    def __init__(self) -> None:
        self.open: set[StoreObservation] = set()
        self.undisturbed: set[StoreObservation] = set()
        self.handover: Snapshot | None = None
        self.handover_to: object = None


# Reentrant: a garbage collection in here may close an abandoned coroutine, and the step in it.
_lock: Final = threading.RLock()
_stores: Final[dict[int, _Store]] = {}


class StoreObservation:
    """One step's view of its store, from `StoreObservation(...)` to `close()`.

    Args:
        shared: The store.
        parent: The observation of the step this one runs in, if any.
        sequencer: What runs this step and its neighbours one after the other with nothing
            between them that could write; `None` when that is not certain.

    Attributes:
        snapshot: Of the store, taken at the last comparison; `None` if it cannot be listed.
        concurrent: Whether a step that is no ancestor or descendant was open at the same time.
    """

    __slots__ = ("_holder", "_sequencer", "_shared", "_store", "concurrent", "parent", "snapshot")

    def __init__(self, shared: object, parent: StoreObservation | None, sequencer: object) -> None:
        self._shared = shared
        self._holder = store_of(shared)
        self._sequencer = sequencer
        self.parent = parent
        self.concurrent = False
        self.snapshot: Snapshot | None = None
        self._store: _Store | None = None
        try:
            self.snapshot = self._open()
            if self.snapshot is None:  # Outside the lock: a large store takes a while.
                self.snapshot = Snapshot.take(shared)
        except BaseException:
            self._leave()
            raise

    def close(self) -> Diff | None:
        """Return what changed in the store since this step began; `None` if it cannot be listed."""
        snapshot, self.snapshot = self.snapshot, None
        try:
            diff = None if snapshot is None else snapshot.update(self._shared)
            if diff is not None:  # Else, as where it failed half-way, it is of no use to the next step.
                self.snapshot = snapshot
        finally:
            self._leave()
        return diff

    def _open(self) -> Snapshot | None:
        """Join the steps open on the store; return the snapshot a neighbour left for this one."""
        handover = None
        with _lock:
            store = _stores.get(id(self._holder))
            if store is None:
                store = _stores[id(self._holder)] = _Store()
            self._store = store
            store.open.add(self)  # First: a step that opens and closes amid the rest is not the last one.
            # What this one runs in and that is open on the store, too.
            around = []
            outer = self.parent
            while outer is not None:
                if outer in store.open:
                    around.append(outer)
                outer = outer.parent
            if len(store.open) > len(around) + 1:
                self.concurrent = True
                for other in store.undisturbed.difference(around):
                    other.concurrent = True
                store.undisturbed.intersection_update(around)
            else:
                store.undisturbed.add(self)
                if store.handover_to is self._sequencer:
                    handover = store.handover
            store.handover = store.handover_to = None
        return handover

    def _leave(self) -> None:
        """Leave them, and the snapshot to the neighbour that follows; may be repeated."""
        with _lock:
            store = self._store
            if store is None:
                return
            store.open.discard(self)
            store.undisturbed.discard(self)
            if not store.open:
                if _stores.get(id(self._holder)) is store:
                    del _stores[id(self._holder)]
            elif self._sequencer is not None and not self.concurrent:
                store.handover, store.handover_to = self.snapshot, self._sequencer
            if self.snapshot is None:  # The span has nothing about the store, so nobody disturbed it.
                self.concurrent = False
            self.snapshot = None
