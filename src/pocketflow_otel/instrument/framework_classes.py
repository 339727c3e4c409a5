"""Find PocketFlow's classes in a module: those it defines, and those it only hands on or builds upon."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pocketflow_otel.pocketflow_names import FLOWS, NAMES, NODES

if TYPE_CHECKING:
    from collections.abc import Mapping


def framework_classes(module: ModuleType) -> dict[str, type]:
    """Return PocketFlow's classes by name; none where the module has nothing to do with PocketFlow.

    A package may hand on a part of what one of its modules defines, and a framework may have nodes of
    its own that inherit from PocketFlow's, under the same names: what counts is where it all begins.
    """
    homes = {module: None}
    found: dict[str, type] = {}
    for held in list(vars(module).values()):
        for base in held.__mro__ if issubclass(type(held), type) else ():  # `isinstance` asks proxies.
            if base.__name__ in NAMES and runs(base):
                _add(found, base.__name__, base)
                home = sys.modules.get(base.__module__)
                if home is not None:
                    homes[home] = None
    for home in homes:
        for name in NAMES & vars(home).keys():
            cls = vars(home)[name]
            if issubclass(type(cls), type) and runs(cls):
                _add(found, name, cls)
    return found


def defined_classes(module: ModuleType) -> dict[str, type]:
    """Return those of PocketFlow's classes that a module itself defines."""
    own = module.__dict__ if issubclass(type(module), ModuleType) else {}
    classes = ((name, own[name]) for name in NAMES & own.keys())
    return {
        name: cls
        for name, cls in classes
        if issubclass(type(cls), type) and cls.__module__ == own.get("__name__") and runs(cls)
    }


def _add(found: dict[str, type], name: str, cls: type) -> None:
    if name not in found or issubclass(found[name], cls):
        found[name] = cls


def runs(cls: type) -> bool:
    """Return whether a class has what runs a step."""
    methods: list[Any] = [getattr(cls, name, None) for name in ("_run", "_run_async")]
    return any(map(callable, methods))


def is_whole(classes: Mapping[str, type]) -> bool:
    """Return whether there are nodes and flows: a program has all it needs."""
    return not (classes.keys().isdisjoint(NODES) or classes.keys().isdisjoint(FLOWS))


def builds_on(cls: type, classes: Mapping[str, type]) -> bool:
    """Return whether a class is one of the classes, or inherits from one."""
    return any(base is known for base in cls.__mro__ for known in classes.values())


def newly_defined(classes: Mapping[str, type], known: Mapping[str, type]) -> dict[str, type]:
    """Return those of the classes that a copy lacks, or that its modules have defined anew.

    A class of a name that the copy has is no part of it: it inherits from it, as a framework's may.
    """
    return {
        name: cls
        for name, cls in classes.items()
        if name not in known or (cls is not known[name] and _place(cls) == _place(known[name]))
    }


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
