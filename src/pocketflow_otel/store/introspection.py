"""Tell types, keys and their texts without running code of users: of a value, a key or a metaclass."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.store.redaction import int_text, name_of, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NAME_LENGTH: Final = 128
_MAX_KEY_DEPTH: Final = 8
_MAX_KEY_PARTS: Final = 64


def _ids(*types: type) -> frozenset[int]:
    return frozenset(map(id, types))


# Types are distinguished by id: a metaclass may define `__hash__`, `__eq__`, `__name__` and `__mro__`.
SCALARS: Final = _ids(str, int, float, bool, bytes, complex, type(None))
DICTS: Final = _ids(dict, OrderedDict, defaultdict, Counter)
CONTAINERS: Final = DICTS | _ids(list, tuple, set, deque, bytearray)
SIZED: Final = CONTAINERS | _ids(frozenset, bytes)
_USUAL: Final = {id(kind): kind.__name__ for kind in (str, int, float, bool, type(None), dict, list, tuple)}
"""The names of types that stores mostly hold."""
mro_of: Final = type.__dict__["__mro__"].__get__
namespace_of: Final = type.__dict__["__dict__"].__get__


def kinds(values: Iterable[object]) -> Iterator[int]:
    """Yield the ids of the types of values, by which types are distinguished."""
    return map(id, map(type, values))


def inherits(kind: type, *bases: type) -> bool:
    """Return whether a type is one of `bases` or made of one, whatever their `__subclasscheck__` says."""
    return not _ids(*bases).isdisjoint(map(id, mro_of(kind)))


def equal_scalars(one: object, other: object) -> bool:
    """Return whether two values are equal built-in scalars of one type."""
    return type(one) is type(other) and id(type(one)) in SCALARS and one == other


class ForeignKey:
    """Stands for a key whose own `__hash__` and `__eq__` are user code, or take long."""

    __slots__ = ("_key",)

    def __init__(self, key: object) -> None:
        self._key = key

    def __hash__(self) -> int:
        return id(self._key)

    def __eq__(self, other: object) -> bool:
        return type(other) is ForeignKey and self._key is other._key

    def __repr__(self) -> str:
        return f"<{type_text(self._key)}>"


def plain_key(key: Any, depth: int = _MAX_KEY_DEPTH) -> object:
    """Return what stands for a key of a user's dict, to be hashed, compared and shown by built-in code."""
    kind = type(key)
    if id(kind) in SCALARS or kind is ForeignKey:
        return key
    if issubclass(kind, str):
        return str.__str__(key)
    if kind is tuple and depth and len(key) <= _MAX_KEY_PARTS:
        return tuple(plain_key(part, depth - 1) for part in key)
    return ForeignKey(key)


def name_text(key: object) -> str:
    """Return a key as attributes show it: a string as it is (shortened), the rest like `repr`."""
    plain = key if type(key) is str else plain_key(key)
    return shorten(plain if type(plain) is str else _repr(plain), MAX_NAME_LENGTH)


def _repr(plain: Any) -> str:
    """Return the `repr` of a plain key; of a long one, at least the beginning."""
    kind = type(plain)
    if kind is int:
        return int_text(plain)
    if kind is str or kind is bytes:
        return repr(plain[:MAX_NAME_LENGTH])
    if kind is tuple:
        parts = ", ".join(map(_repr, islice(plain, MAX_NAME_LENGTH)))
        return f"({parts},)" if len(plain) == 1 else f"({parts})"
    return repr(plain)


def type_text(value: object) -> str:
    """Return the type's name, with the size of built-in containers: `list[3]`."""
    kind = type(value)
    name = _USUAL.get(id(kind)) or shorten(name_of(kind), MAX_NAME_LENGTH)
    return f"{name}[{len(value)}]" if id(kind) in SIZED else name  # type: ignore[arg-type]
