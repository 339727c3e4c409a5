"""List the names and values of whatever serves as a shared store, without running user code."""

from __future__ import annotations

import gc
from collections import Counter, OrderedDict, defaultdict, deque
from types import GetSetDescriptorType, MappingProxyType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import quiet
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NAME_LENGTH: Final = 128


class StoreProxy:
    """A store as its framework shows it to a step: some of its names, or some under others.

    Args:
        store: The store behind it, which other views of it have in common.
    """

    __slots__ = ("store",)

    def __init__(self, store: object) -> None:
        self.store = store

    def items(self) -> dict[Any, object] | None:
        """Return a copy of the names and values, or `None` if there are none to list."""
        return list_items(self.store)


def _ids(*types: type) -> frozenset[int]:
    return frozenset(map(id, types))


# Types are distinguished by id: a metaclass may define `__hash__`, `__eq__`, `__name__` and `__mro__`.
SCALARS: Final = _ids(str, int, float, bool, bytes, complex, type(None))
DICTS: Final = frozenset({dict, OrderedDict, defaultdict, Counter})
CONTAINERS: Final = _ids(list, tuple, set, deque, bytearray, *DICTS)
SIZED: Final = CONTAINERS | _ids(frozenset, bytes)
_DESCRIPTORS: Final = _ids(GetSetDescriptorType, MemberDescriptorType)
_name_of: Final = type.__dict__["__name__"].__get__
_mro_of: Final = type.__dict__["__mro__"].__get__
_namespace_of: Final = type.__dict__["__dict__"].__get__


def kinds(values: Iterable[object]) -> Iterator[int]:
    """Yield the ids of the types of values, by which types are distinguished."""
    return map(id, map(type, values))


def equal_scalars(one: object, other: object) -> bool:
    """Return whether two values are equal built-in scalars of one type."""
    return type(one) is type(other) and id(type(one)) in SCALARS and one == other


def store_of(shared: Any) -> Any:
    """Return what holds the names of a shared store, which two views of one store have in common.

    A `StoreProxy` stands for the store behind it, a mapping proxy for its mapping. A mapping that is no
    dict (`UserDict`, a namespaced store) for the one dict it keeps, if that is all it keeps but
    private things. The rest is itself.
    """
    kind = type(shared)
    if issubclass(kind, dict):
        return shared
    if issubclass(kind, StoreProxy):
        return store_of(shared.store)
    if kind is MappingProxyType:
        return store_of(gc.get_referents(shared)[0])
    if _is_mapping(kind):
        items = _attributes(shared, kind) or {}
        dicts = {name: value for name, value in items.items() if issubclass(type(value), dict)}
        if len(dicts) == 1 and not any(map(_is_public, items.keys() - dicts)):
            return next(iter(dicts.values()))
    return shared


def list_items(shared: Any) -> dict[Any, object] | None:
    """Return a copy of the names and values of a shared store, or `None` if it has none to list.

    Dicts and their subclasses by what the dict itself holds; objects (dataclasses, namespaces) by
    their attributes; see `store_of` for the others.
    """
    if issubclass(type(shared), StoreProxy):
        return shared.items()  # type: ignore[no-any-return]
    store = store_of(shared)
    kind = type(store)
    if issubclass(kind, dict):
        return _dict_items(store)
    items = _attributes(store, kind)
    if items is not None and _is_mapping(kind) and not any(map(_is_public, items)):
        return None  # It keeps its content elsewhere.
    return items


def _dict_items(store: dict[Any, object]) -> dict[Any, object]:
    """Copy a dict; its keys hash and compare without user code."""
    if type(store) is dict:
        copy = store.copy()
        if SCALARS.issuperset(kinds(copy)):
            return copy
    # Not `dict.copy`, which asks a subclass for its keys; and at once, for there are other threads.
    return {_plain_key(key): value for key, value in list(dict.items(store))}


def _plain_key(key: Any) -> object:
    kind = type(key)
    if id(kind) in SCALARS:
        return key
    if issubclass(kind, str):
        return str.__str__(key)
    return tuple(map(_plain_key, key)) if kind is tuple else _ForeignKey(key)


class _ForeignKey:
    """Stands for a key whose own `__hash__` and `__eq__` are user code."""

    __slots__ = ("_key",)

    def __init__(self, key: object) -> None:
        self._key = key

    def __hash__(self) -> int:
        return id(self._key)

    def __eq__(self, other: object) -> bool:
        return type(other) is _ForeignKey and self._key is other._key

    def __repr__(self) -> str:
        return f"<{type_text(self._key)}>"


def _is_mapping(kind: type) -> bool:
    return any("__getitem__" in _namespace_of(cls) for cls in _mro_of(kind))


def _is_public(name: object) -> bool:
    return not (type(name) is str and name.startswith("_"))


def _is_dunder(name: object) -> bool:
    return type(name) is str and name.startswith("__")


def _attributes(shared: Any, kind: type) -> dict[Any, object] | None:
    """Return what an object has in its slots and its `__dict__`; `None` if it can have nothing.

    Names like `__this__` are not the user's: they are a model's own, or a module's.
    """
    found: dict[Any, object] | None = None
    for cls in reversed(_mro_of(kind)):
        for name, member in _namespace_of(cls).copy().items():
            if name == "__dict__" and id(type(member)) in _DESCRIPTORS:
                held = member.__get__(shared)
                if issubclass(type(held), dict):
                    items = _dict_items(held).items()
                    found = (found or {}) | {key: value for key, value in items if not _is_dunder(key)}
            elif type(member) is MemberDescriptorType and not _is_dunder(name):
                found = found or {}
                with quiet(AttributeError):
                    found[name] = member.__get__(shared)
    return found


def name_text(key: object) -> str:
    """Return a key as attributes show it: a string as it is (shortened), the rest by `repr`."""
    return shorten(key if type(key) is str else repr(key), MAX_NAME_LENGTH)


def type_text(value: object) -> str:
    """Return the type's name, with the size of built-in containers: `list[3]`."""
    kind = type(value)
    name: str = _name_of(kind)
    return f"{name}[{len(value)}]" if id(kind) in SIZED else name  # type: ignore[arg-type]
