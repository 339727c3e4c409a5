"""Replace methods of classes, and put them back exactly.

Classes are held weakly, and what stood there before is kept on the replacement itself, so neither
classes nor functions live longer because they were patched. A replacement that somebody else has
wrapped since cannot be taken out; it then only passes calls on.
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable


_REPLACES: Final = "__pocketflow_otel_replaces__"


def _original(value: object) -> object | None:
    """Return what a replacement of ours stands for; `None` for anything else.

    `functools.wraps` copies attributes, so a wrapper around ours carries our mark too: the mark
    names its bearer.
    """
    bearer, original = getattr(value, _REPLACES, (None, None))
    return original if bearer is value else None


class Patches:
    """The methods replaced on a set of classes."""

    def __init__(self) -> None:
        self._classes: WeakSet[type] = WeakSet()
        self._added: list[tuple[type, str]] = []

    def replace(self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
        """Replace the plain function `name` that `cls` itself defines by `make(function)`.

        Anything else (inherited, static, a descriptor, a mock, replaced before) stays as it is.
        """
        function = cls.__dict__.get(name)
        if type(function) is not FunctionType:
            return
        self._classes.add(cls)
        if _original(function) is not None:
            return  # a class built from another's dict, as dataclass(slots=True) does
        replacement = functools.wraps(function)(make(function))
        setattr(replacement, _REPLACES, (replacement, function))
        setattr(cls, name, replacement)

    def add(self, cls: type, name: str, value: object) -> None:
        """Give `cls` an attribute it does not have itself."""
        setattr(cls, name, value)
        self._added.append((cls, name))

    def undo(self) -> None:
        """Put everything back."""
        for cls in list(self._classes):
            for name, value in list(cls.__dict__.items()):
                if type(value) is FunctionType and (original := _original(value)) is not None:
                    setattr(cls, name, original)
        for cls, name in self._added:
            delattr(cls, name)
        self._classes.clear()
        self._added.clear()
