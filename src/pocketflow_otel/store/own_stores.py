"""Find where an object of a user's class keeps the names of a store, by reading its code, not running it.

Such an object is read as attributes (`shared.answer`), or like a mapping (`shared["answer"]`). A
mapping may keep its content in a dict of its own, in its attributes, or elsewhere: in a file, in
another process, in a context variable. Which it is stands in the names that its `__getitem__`
mentions. Where that does not tell, the store is one that cannot be listed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from pocketflow_otel.guard import quiet
from pocketflow_otel.store.introspection import (
    CONTAINERS,
    SCALARS,
    inherits,
    kinds,
    mro_of,
    namespace_of,
    plain_key,
)

Attributes = dict[Any, object]

_OF_CLASS: Final = type("Plain", (), {}).__dict__["__dict__"].__doc__
"""Tells the `__dict__` that a class statement makes from one of an extension, which may run anything."""
_ANY_ATTRIBUTE: Final = frozenset({"getattr", "vars", "__dict__", "__getattribute__"})
_UPWARD: Final = frozenset({"super", "dict", "__setitem__"})


def attributes_of(shared: Any) -> Attributes | None:
    """Return what an object has in its slots and its `__dict__`; `None` if it can have nothing.

    Names like `__this__` are not the user's: they are a model's own, or a module's. The fields that
    a model of pydantic was given without having declared them are.
    """
    found: Attributes | None = None
    for cls in reversed(mro_of(type(shared))):
        for name, member in namespace_of(cls).copy().items():
            if _holds_attributes(name, member):
                found = (found or {}) | _public_items(member, shared)
            elif type(member) is MemberDescriptorType and not _is_dunder(name):
                found = found or {}
                with quiet(AttributeError):
                    found[name] = member.__get__(shared)
    return found


def kept_dict(shared: Any) -> Any:
    """Return the dict in which an object keeps its content; the object itself if that is not certain."""
    kind = type(shared)
    if inherits(kind, WeakKeyDictionary, WeakValueDictionary):
        return shared  # A snapshot would keep alive what it does not.
    if issubclass(kind, dict):
        # Its own is what it holds, but for one that sets nothing there.
        names = _names_in(kind, "__setitem__")
        if names is None or names & _UPWARD:
            return shared
    else:
        names = _names_of_reader(kind)
    if names is None:
        return shared
    items = attributes_of(shared) or {}
    if not _reads_like_mapping(kind) and any(map(_is_public, items)):
        return shared
    named = [items[name] for name in items if name in names]
    dicts = [value for value in named if issubclass(type(value), dict)]
    others = [value for value in named if not issubclass(type(value), dict)]
    return dicts[0] if len(dicts) == 1 and SCALARS.issuperset(kinds(others)) else shared


def items_of(shared: Any) -> Attributes | None:
    """Return the attributes of an object that keeps no dict for its content, if they are all there is."""
    items = attributes_of(shared)
    return items if items is not None and _is_all(type(shared), items) else None


def _is_all(kind: type, items: Attributes) -> bool:
    names = _names_of_reader(kind)
    if not _reads_like_mapping(kind):
        return names is None or any(map(_is_public, items))
    if names is None:
        return False
    named = [name for name in items if name in names]
    if not named:
        return not names.isdisjoint(_ANY_ATTRIBUTE) and all(map(_is_public, items))
    return (
        not inherits(kind, Mapping)
        and all(map(_is_public, named))
        and (SCALARS | CONTAINERS).issuperset(kinds(items[name] for name in named))
    )


def _reads_like_mapping(kind: type) -> bool:
    return any("__getitem__" in namespace_of(cls) for cls in mro_of(kind))


def _names_of_reader(kind: type) -> frozenset[str] | None:
    """Return the names in the code that gives an object's content; `None` if there is none, or no code."""
    return _names_in(kind, "__getitem__" if _reads_like_mapping(kind) else "__getattr__")


def _names_in(kind: type, method: str) -> frozenset[str] | None:
    for cls in mro_of(kind):
        member = namespace_of(cls).get(method)
        if member is not None:
            return frozenset(member.__code__.co_names) if type(member) is FunctionType else None
    return None


def _holds_attributes(name: object, member: Any) -> bool:
    """Return whether a member of a class is what gives the dict with an instance's attributes."""
    if type(member) is MemberDescriptorType:
        return name in ("__dict__", "__pydantic_extra__")
    of_class = type(member) is GetSetDescriptorType and member.__doc__ == _OF_CLASS
    return name == "__dict__" and (of_class or member is OrderedDict.__dict__["__dict__"])


def _public_items(member: Any, shared: Any) -> Attributes:
    held: Any = None
    with quiet(AttributeError):
        held = member.__get__(shared)
    if not issubclass(type(held), dict):
        return {}
    return {plain_key(name): value for name, value in list(dict.items(held)) if not _is_dunder(name)}


def _is_public(name: object) -> bool:
    return not (type(name) is str and name.startswith("_"))


def _is_dunder(name: object) -> bool:
    return type(name) is str and name.startswith("__")
