"""Look at a shared store, and say what changed between two looks.

Looking never calls user code: values are told apart by identity, exact built-in scalars by value,
and only exact built-in containers are opened. What was changed *in place* inside such a container
is found too, down to `MAX_DEPTH` levels and `MAX_ELEMENTS` elements a value, `MAX_TOTAL` a store; a
store in which something lay beyond that says so (`Diff.bounded`).

    >>> store = {"question": "why?", "history": [], "draft": None}
    >>> snapshot = Snapshot.take(store)
    >>> store["history"].append("because"); store["answer"] = 42; del store["draft"]
    >>> snapshot.update(store)
    Diff(added=('answer',), modified=('history',), removed=('draft',), bounded=False)
    >>> snapshot.schema()
    '{"question":"str","history":"list[1]","answer":"int"}'
"""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from itertools import compress, islice
from json.encoder import encode_basestring
from operator import is_not
from types import MappingProxyType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.capture.redact import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_NAMES: Final = 64
"""Names in one attribute: a span holds 128 attributes, and an array costs by the element."""
MAX_NAME_LENGTH: Final = 128
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 1024
MAX_TOTAL: Final = 4096
_LOOK_COST: Final = 16
"""What opening one container costs, in elements."""
_SAMPLE: Final = 32
"""Elements looked at on each end of a container too large to be read whole."""

_SCALARS: Final = frozenset({str, int, float, bool, bytes, complex, type(None)})
_DICTS: Final = frozenset({dict, OrderedDict, defaultdict, Counter})
_SETS: Final = frozenset({set, frozenset})
_CONTAINERS: Final = frozenset({list, tuple, set, deque, bytearray}) | _DICTS
_SIZED: Final = _CONTAINERS | {frozenset, bytes}


@dataclass(frozen=True, slots=True)
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

    __slots__ = ("_bounded", "_cost", "_fragments", "_looks", "items")

    def __init__(self, items: dict[Any, object]) -> None:
        self.items = items
        self._looks: dict[Any, _Look] = {}
        self._fragments: dict[Any, str] = {}
        self._cost = 0
        self._bounded = False
        if not _CONTAINERS.isdisjoint(map(type, items.values())):
            self._open(items)

    @classmethod
    def take(cls, shared: object) -> Snapshot | None:
        """Look at `shared`; `None` when it is nothing whose keys can be listed."""
        items = list_items(shared)
        return None if items is None else cls(items)

    def update(self, shared: object) -> Diff:
        """Look again, and return what changed since the last look."""
        now = list_items(shared)
        if now is None:
            return Diff()
        was, self.items = self.items, now
        added, rebound, removed = _compare_keys(was, now)
        mutated = [] if not self._looks else self._mutated(now, {*rebound, *removed})
        for key in (*rebound, *removed):
            self._looks.pop(key, None)
            self._fragments.pop(key, None)
        for key in mutated:
            self._fragments.pop(key, None)
        self._open((*added, *rebound))
        modified = rebound
        if mutated:
            changed = {*rebound, *mutated}
            modified = [key for key in now if key in changed]
        return Diff(tuple(added), tuple(modified), tuple(removed), self._bounded)

    def schema(self) -> str:
        """Return names and types as one JSON object string, at most `MAX_NAMES` names."""
        fragments, items = self._fragments, self.items
        parts = []
        for key in islice(items, MAX_NAMES):
            part = fragments.get(key)
            if part is None:
                value = items[key]
                part = f"{encode_basestring(name_text(key))}:{encode_basestring(type_text(value))}"
                fragments[key] = part
            parts.append(part)
        return "{" + ",".join(parts) + "}"

    @property
    def truncated(self) -> bool:
        """Whether the store has more names than `schema` gives."""
        return len(self.items) > MAX_NAMES

    def _open(self, keys: Iterable[object]) -> None:
        """Look into the mutable containers under `keys`, while the store's budget lasts."""
        items = self.items
        for key in keys:
            if type(items[key]) not in _CONTAINERS:
                continue
            if self._cost > MAX_TOTAL:
                self._bounded = True
                return
            look = _Look(items[key])
            self._cost += _LOOK_COST + len(look.leaves)
            self._bounded |= look.bounded
            if type(items[key]) is not tuple or look.nested:
                self._looks[key] = look

    def _mutated(self, now: dict[Any, object], gone: set[object]) -> list[object]:
        """Look again into the containers that are still there, and return the changed keys."""
        changed, cost, bounded = [], 0, False
        for key, before in self._looks.items():
            if key in gone:
                continue
            look = _Look(now[key])
            cost += _LOOK_COST + len(look.leaves)
            bounded |= look.bounded
            if not look.same_as(before):
                changed.append(key)
                self._looks[key] = look
        self._bounded = bounded or self._cost > MAX_TOTAL
        self._cost = cost if not self._bounded else max(cost, self._cost)
        return changed


class _Look:
    """The content of one built-in container, to be compared without calling user code.

    `shape` holds what the walk met (types and lengths, so `==` is safe), `leaves` every element
    by reference. A walk visits nested containers last to first: what grows, grows at the end.
    """

    __slots__ = ("bounded", "leaves", "nested", "shape")

    def __init__(self, value: object) -> None:
        self.shape: list[object] = []
        self.leaves: list[object] = []
        self.bounded = False
        self.nested = False
        try:
            self._walk(value, MAX_DEPTH)
        except (RuntimeError, TypeError):
            # Changed by another thread while we read it, or holds a value whose *type* cannot
            # be hashed: what was read so far is compared, and the step says it was not all.
            self.bounded = True

    def same_as(self, other: _Look) -> bool:
        if self.shape != other.shape or len(self.leaves) != len(other.leaves):
            return False
        differs = map(is_not, self.leaves, other.leaves)
        return all(
            _equal_scalars(mine, theirs)
            for mine, theirs in compress(zip(self.leaves, other.leaves, strict=True), differs)
        )

    def _walk(self, value: Any, depth: int) -> None:
        kind, size = type(value), len(value)
        self.shape += (kind, size)
        whole = size <= MAX_ELEMENTS - len(self.leaves)
        self.bounded |= not whole
        if kind is bytearray:
            self.shape.append(bytes(value if whole else value[:_SAMPLE] + value[-_SAMPLE:]))
            return
        if kind in _DICTS:
            keys, children = (list(value), list(value.values())) if whole else _ends_of_dict(value)
            self.leaves += keys
        elif kind is set:
            # Iteration order may change while the content does not.
            children = sorted(value, key=id) if whole else list(islice(value, _SAMPLE))
        else:
            children = list(value) if whole else _ends(value)
        self.leaves += children
        if _CONTAINERS.isdisjoint(map(type, children)):
            return
        self.nested = True
        if depth == 0:
            self.bounded = True
            return
        for child in reversed(children):
            if type(child) in _CONTAINERS:
                self._walk(child, depth - 1)


def _ends(value: Any) -> list[object]:
    return [*islice(value, _SAMPLE), *islice(reversed(value), _SAMPLE)]


def _ends_of_dict(value: Any) -> tuple[list[object], list[object]]:
    pairs = _ends(value.items())
    return [key for key, _ in pairs], [child for _, child in pairs]  # type: ignore[misc]


def _compare_keys(
    was: dict[Any, object], now: dict[Any, object]
) -> tuple[list[object], list[object], list[object]]:
    """Return the keys added, bound to another value, and removed."""
    size = len(was)
    if len(now) >= size and list(was) == list(islice(now, size)):
        # The usual step: the old keys in their order, new ones behind. All of it at C speed.
        rebound = list(compress(now, map(is_not, was.values(), now.values())))
        added, removed = list(islice(now, size, None)), []
    else:
        rebound = [key for key in now if key in was and was[key] is not now[key]]
        added = [key for key in now if key not in was]
        removed = [key for key in was if key not in now]
    return added, [key for key in rebound if not _equal_scalars(was[key], now[key])], removed


def _equal_scalars(one: object, other: object) -> bool:
    return type(one) is type(other) and type(one) in _SCALARS and one == other


def list_items(shared: Any) -> dict[Any, object] | None:
    """Return a copy of the names and values of a shared store, or `None` if it has none to list.

    Dicts and their subclasses by what the dict itself holds; mapping proxies by what they stand
    for; objects (dataclasses, namespaces) by their attributes; other mappings by the one dict they
    keep, if they keep just one. Keys that are not of a built-in scalar type are left out.
    """
    kind = type(shared)
    if kind is dict:
        items = shared.copy()
    elif issubclass(kind, dict):
        items = dict.copy(shared)
    elif kind is MappingProxyType:
        return list_items(gc.get_referents(shared)[0])
    else:
        found = _attributes(shared, kind)
        if found is None:
            return None
        items = found
    if not _SCALARS.issuperset(map(type, items)):
        items = {key: value for key, value in items.items() if type(key) in _SCALARS}
    return items


def _attributes(shared: Any, kind: type) -> dict[Any, object] | None:
    try:
        held = object.__getattribute__(shared, "__dict__")
    except AttributeError:
        held = {}
    if type(held) is not dict:
        return None
    items = held.copy()
    classes = kind.__mro__
    for cls in classes:
        for name, member in cls.__dict__.items():
            if type(member) is MemberDescriptorType:
                try:
                    items[name] = member.__get__(shared)
                except AttributeError:
                    continue
    if any("__getitem__" in cls.__dict__ for cls in classes):
        backing = [value for value in items.values() if issubclass(type(value), dict)]
        return list_items(backing[0]) if len(backing) == 1 else None
    return items or None


def name_text(key: object) -> str:
    """Return a key as attributes show it: a string as it is (shortened), the rest by `repr`."""
    return shorten(key if type(key) is str else repr(key), MAX_NAME_LENGTH)


def type_text(value: object) -> str:
    """Return the type's name, with the size of built-in containers: `list[3]`."""
    kind = type(value)
    return f"{kind.__name__}[{len(value)}]" if kind in _SIZED else kind.__name__  # type: ignore[arg-type]
