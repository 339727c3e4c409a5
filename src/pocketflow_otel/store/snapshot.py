"""Take a snapshot of a shared store, and return what changed since.

That never calls user code: values are distinguished by identity, exact built-in scalars by value,
and only exact built-in containers are opened. What was changed *in place* inside such a container
is found too, down to `MAX_DEPTH` levels, for `MAX_ELEMENTS` elements a container, `MAX_VALUE` a
value with all it holds, `MAX_TOTAL` a store; the diff of a store in which something lay beyond that
says so (`Diff.bounded`).

    >>> store = {"question": "why?", "history": [], "draft": None}
    >>> snapshot = Snapshot.take(store)
    >>> store["history"].append("because"); store["answer"] = 42; del store["draft"]
    >>> snapshot.update(store)
    Diff(added=('answer',), modified=('history',), removed=('draft',), bounded=False)
    >>> snapshot.schema()
    '{"question":"str","history":"list[1]","answer":"int"}'
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress, islice
from json.encoder import encode_basestring
from operator import is_not
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import let_through
from pocketflow_otel.store.introspection import (
    CONTAINERS,
    DICTS,
    SCALARS,
    SIZED,
    equal_scalars,
    kinds,
    name_text,
    type_text,
)
from pocketflow_otel.store.listing import list_items

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAMES: Final = 64
"""Names in one attribute: a span holds 128 attributes, and an array costs by the element."""
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 1024
MAX_VALUE: Final = 2048
MAX_TOTAL: Final = 4096
_OPENING_COST: Final = 16
"""What opening one container costs, in elements."""
_SAMPLE: Final = 32
"""Elements read on each end of a container too large to be read whole."""


@dataclass(slots=True)
class Diff:
    """The keys of a store that came, changed and went, in the store's order.

    `bounded`: something in the store was too large or too deep to be compared whole.
    """

    added: tuple[object, ...] = ()
    modified: tuple[object, ...] = ()
    removed: tuple[object, ...] = ()
    bounded: bool = False


class Snapshot:
    """What a shared store held at one moment; brought up to date by `update`.

    It keeps the values alive until then: an identity means nothing once its object is gone.
    """

    __slots__ = ("_cost", "_fingerprints", "_fragments", "_schema", "_skipped", "items")

    def __init__(self, items: dict[Any, object]) -> None:
        self.items = items
        self._schema: str | None = None
        self._fingerprints: dict[Any, _ContentFingerprint] = {}
        self._fragments: dict[Any, str] = {}
        self._cost = 0
        self._skipped = False
        if not CONTAINERS.isdisjoint(kinds(items.values())):
            self._open(items)

    @classmethod
    def take(cls, shared: object) -> Snapshot | None:
        """Return a snapshot of `shared`; `None` when it is nothing whose keys can be listed."""
        items = list_items(shared)
        return None if items is None else cls(items)

    def update(self, shared: object) -> Diff | None:
        """Bring the snapshot up to date, and return what changed; `None` if it can no longer be listed."""
        compared = _compared(self.items, shared)
        if compared is None:
            return None
        was, (now, added, rebound, removed) = self.items, compared
        self.items = now
        if not (added or removed or self._fingerprints) and _read_the_same(was, now, rebound):
            return Diff((), tuple(rebound), (), self._skipped)
        gone = {*rebound, *removed}
        mutated = self._compare_contents(gone) if self._fingerprints else []
        for key in gone:
            self._fragments.pop(key, None)
        self._open((*added, *rebound))
        if added or gone or mutated:
            self._schema = None
        modified = rebound
        if mutated:
            changed = {*rebound, *mutated}
            modified = [key for key in now if key in changed]
        bounded = self._skipped or any(each.bounded for each in self._fingerprints.values())
        return Diff(tuple(added), tuple(modified), tuple(removed), bounded)

    def schema(self) -> str:
        """Return names and types as one JSON object string, at most `MAX_NAMES` names."""
        if self._schema is not None:
            return self._schema
        fragments, items = self._fragments, self.items
        parts = []
        for key in islice(items, MAX_NAMES):
            part = fragments.get(key)
            if part is None:
                value = items[key]
                part = f"{encode_basestring(name_text(key))}:{encode_basestring(type_text(value))}"
                if key in self._fingerprints or id(type(value)) not in CONTAINERS:
                    fragments[key] = part
            parts.append(part)
        schema = "{" + ",".join(parts) + "}"
        if len(parts) <= len(fragments):  # Else the size of a container nobody reads is in it.
            self._schema = schema
        return schema

    @property
    def truncated(self) -> bool:
        """Whether the store has more names than `schema` gives."""
        return len(self.items) > MAX_NAMES

    def _open(self, keys: Iterable[object]) -> None:
        """Take fingerprints of the mutable containers under `keys`, up to the limit for a store."""
        items = self.items
        for key in keys:
            value = items[key]
            if id(type(value)) not in CONTAINERS:
                continue
            if self._cost > MAX_TOTAL:
                self._skipped = True
                return
            fingerprint = _ContentFingerprint(value)
            self._cost += fingerprint.cost
            if fingerprint.mutable:
                self._fingerprints[key] = fingerprint

    def _compare_contents(self, gone: set[object]) -> list[object]:
        """Take the fingerprints of containers that are still there anew; return the keys of changed ones."""
        changed, cost = [], 0
        for key, before in list(self._fingerprints.items()):
            if key in gone or cost > MAX_TOTAL:
                self._skipped |= key not in gone
                del self._fingerprints[key]
                self._fragments.pop(key, None)
                continue
            fingerprint = self._fingerprints[key] = _ContentFingerprint(self.items[key])
            cost += fingerprint.cost
            if not fingerprint.same_as(before):
                changed.append(key)
                self._fragments.pop(key, None)
        self._cost = cost
        return changed


class _ContentFingerprint:
    """The content of one built-in container, to be compared without calling user code.

    `shape` holds what was met (types, lengths and built-in scalars, so `==` is safe), `leaves` every
    element by reference. Nested containers are read last to first: what grows, grows at the end; and
    each only once, so that containers which hold each other come to an end.
    """

    __slots__ = ("bounded", "cost", "leaves", "mutable", "shape")

    def __init__(self, value: object) -> None:
        self.shape: list[object] = []
        self.leaves: list[object] = []
        self.cost = _OPENING_COST
        self.bounded = False
        self.mutable = type(value) is not tuple
        try:
            self._read(value)
        except RuntimeError as error:
            let_through(error)
            # Changed by another thread while we read it: what was read so far is compared, and
            # the step says it was not all.
            self.bounded = True
        self.mutable |= self.bounded

    def same_as(self, other: _ContentFingerprint) -> bool:
        if self.shape != other.shape or len(self.leaves) != len(other.leaves):
            return False
        differs = map(is_not, self.leaves, other.leaves)
        return all(
            equal_scalars(mine, theirs)
            for mine, theirs in compress(zip(self.leaves, other.leaves, strict=True), differs)
        )

    def _read(self, container: Any) -> None:
        shape, leaves = self.shape, self.leaves
        seen: set[int] = set()
        to_read = [(container, MAX_DEPTH)]
        while to_read:
            value, depth = to_read.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            kind, size = type(value), len(value)
            shape += (kind, size)
            if self.cost > MAX_VALUE or depth < 0:
                self.bounded |= size > 0
                continue
            whole = size <= MAX_ELEMENTS
            self.bounded |= not whole
            self.cost += size if whole else 2 * _SAMPLE
            if id(kind) in DICTS:
                leaves += value if whole else _ends(value)
                children = list(value.values()) if whole else _ends(value.values())
            elif kind is bytearray:
                shape.append(bytes(value if whole else value[:_SAMPLE] + value[-_SAMPLE:]))
                continue
            elif kind is set:
                children = list(value if whole else islice(value, _SAMPLE))
                if SCALARS.issuperset(kinds(children)):
                    shape.append(frozenset(children))
                    continue
                children.sort(key=id)  # Their order may change while the content does not.
            else:
                children = list(value) if whole else _ends(value)
            leaves += children
            nested = [(child, depth - 1) for child in children if id(type(child)) in CONTAINERS]
            if nested:
                self.mutable = True
                to_read += nested


def _ends(value: Any) -> list[object]:
    return [*islice(value, _SAMPLE), *islice(reversed(value), _SAMPLE)]


def _compared(
    was: dict[Any, object], shared: Any
) -> tuple[dict[Any, object], list[object], list[object], list[object]] | None:
    """Return what a store holds now, and the keys added, bound to another value, and removed.

    `None` if it can no longer be listed.
    """
    if type(shared) is dict:
        now = shared.copy()
        rebound = _rebound(was, now)
        added = list(islice(now, len(was), None)) if len(now) > len(was) else []
        # Other new keys hash and compare by user code.
        if rebound is not None and (not added or SCALARS.issuperset(kinds(added))):
            return now, added, rebound, []
    listed = list_items(shared)
    return None if listed is None else (listed, *_compare_keys(was, listed))


def _rebound(was: dict[Any, object], now: dict[Any, object]) -> list[object] | None:
    """Return the keys bound to another value; `None` unless all old keys come first, the very same.

    So they do in nearly every store after nearly every step, and one pass tells it.
    """
    if len(now) < len(was):
        return None
    rebound = []
    for old, key, before, after in zip(was, now, was.values(), now.values(), strict=False):
        if key is not old:
            return None
        if after is not before and not equal_scalars(before, after):
            rebound.append(key)
    return rebound


def _compare_keys(
    was: dict[Any, object], now: dict[Any, object]
) -> tuple[list[object], list[object], list[object]]:
    """Return the keys added, bound to another value, and removed."""
    added = [key for key in now if key not in was]
    rebound = [key for key in now if key in was and was[key] is not now[key]]
    removed = [key for key in was if key not in now]
    return added, [key for key in rebound if not equal_scalars(was[key], now[key])], removed


def _read_the_same(was: dict[Any, object], now: dict[Any, object], rebound: list[object]) -> bool:
    """Return whether a schema reads as it did: the rebound values are of their old types, without sizes."""
    for key in rebound:
        kind = type(now[key])
        if kind is not type(was[key]) or id(kind) in SIZED:
            return False
    return True
