"""Find the functions in modules and classes, for tests that break them."""

from __future__ import annotations

from types import FunctionType


def plain(found: object) -> FunctionType | None:
    """Return the function in a method of any kind."""
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    return found if isinstance(found, FunctionType) else None
