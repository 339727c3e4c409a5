"""List the names and values of whatever serves as a shared store, without running user code."""

from __future__ import annotations

import gc
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any, Final

from pocketflow_otel.store import own_stores, streamlit_state
from pocketflow_otel.store.introspection import DICTS, SCALARS, inherits, kinds, plain_key

_MAX_VIEWS: Final = 8
"""Stores that lie one in another: a view of a view, a chain of chains."""


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


def store_of(shared: Any) -> Any:
    """Return what holds the names of a shared store, which two views of one store have in common.

    A `StoreProxy` stands for the store behind it, a mapping proxy for its mapping, a `UserDict` for its
    data, a `ChainMap` for the map it writes to. A class of the user's that reads like a mapping
    stands for the dict it keeps, see `own_stores`. The rest is itself.
    """
    if id(type(shared)) in DICTS:  # As nearly all are.
        return shared
    for _ in range(_MAX_VIEWS):
        inner = _behind(shared)
        if inherits(type(inner), ChainMap):
            inner = next(iter(_maps(inner)), inner)
        if inner is shared:
            break
        shared = inner
    return shared


def list_items(shared: Any) -> dict[Any, object] | None:
    """Return a copy of the names and values of a shared store, or `None` if they cannot be listed.

    Dicts and their subclasses by what the dict itself holds; objects (dataclasses, namespaces) by
    their attributes; a `ChainMap` by what it finds in its maps, and others that stand for a store by
    that. What keeps its content where only its own code could tell has none to list.
    """
    return _listed(shared, _MAX_VIEWS)


def _listed(shared: Any, depth: int) -> dict[Any, object] | None:
    kind = type(shared)
    if depth == 0:
        return None
    if issubclass(kind, StoreProxy):
        return shared.items()  # type: ignore[no-any-return]
    inner = _behind(shared)
    if inner is not shared:
        return _listed(inner, depth - 1)
    if issubclass(kind, dict):
        return _dict_items(shared)
    if inherits(kind, ChainMap):
        return _chained(_maps(shared), depth - 1)
    items_of = streamlit_state.items_of if streamlit_state.is_session(kind) else own_stores.items_of
    return items_of(shared)


def _chained(maps: list[Any], depth: int) -> dict[Any, object] | None:
    """Return what a `ChainMap` finds in its maps, in its order; `None` if one cannot be listed."""
    found: dict[Any, object] = {}
    for part in reversed(maps or [None]):
        items = _listed(part, depth)
        if items is None:
            return None
        found |= items
    return found


def _behind(shared: Any) -> Any:
    """Return the one store that a view of a store shows; itself if it is none."""
    kind = type(shared)
    if id(kind) in DICTS:
        return shared
    if issubclass(kind, StoreProxy):
        return shared.store
    if kind is MappingProxyType:
        return gc.get_referents(shared)[0]
    if streamlit_state.is_proxy(kind):
        return streamlit_state.current_session()
    if inherits(kind, UserDict):
        return (own_stores.attributes_of(shared) or {}).get("data")
    return own_stores.kept_dict(shared)


def _maps(shared: Any) -> list[Any]:
    """Return the maps of a `ChainMap`; none if it was made in an odd way."""
    maps = (own_stores.attributes_of(shared) or {}).get("maps")
    return list(maps) if type(maps) is list else []


def _dict_items(store: dict[Any, object]) -> dict[Any, object]:
    """Copy a dict; its keys hash and compare without user code."""
    if type(store) is dict:
        copy = store.copy()
        if SCALARS.issuperset(kinds(copy)):
            return copy
    # Not `dict.copy`, which asks a subclass for its keys; and at once, for there are other threads.
    return {plain_key(key): value for key, value in list(dict.items(store))}
