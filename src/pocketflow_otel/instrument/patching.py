"""Replace methods of classes, with all their subclasses, and functions of modules; put them back exactly.

Classes are held weakly, and what stood there before is kept on the replacement itself, so neither
classes nor functions live longer because they were patched. A replacement that somebody else has
wrapped since cannot be taken out; it then only passes calls on.
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from pocketflow_otel.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


_PATCHING: Final = guard("instrument a class")

_REPLACES: Final = "__pocketflow_otel_replaces__"


def _replaced(value: object) -> tuple[object, Patches | None]:
    """Return what a replacement of ours stands for and who made it; anything else as it is.

    `functools.wraps` copies attributes, so a wrapper around ours carries our mark too: the mark
    names its bearer.
    """
    if type(value) in (FunctionType, classmethod):  # Others answer for attributes as they please.
        bearer, original, patches = getattr(value, _REPLACES, (None, None, None))
        if bearer is value:
            return original, patches
    return value, None


class Patches:
    """The methods replaced on a set of classes, the functions in a set of modules.

    Attributes:
        active: Whether classes that are still to come shall be patched.
    """

    def __init__(self) -> None:
        self.active = True
        self._classes: WeakSet[type | ModuleType] = WeakSet()
        self._added: list[tuple[type, str, object]] = []
        self._swapped: list[tuple[ModuleType, str, object, object]] = []

    def replace(self, cls: type | ModuleType, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
        """Replace the plain function `name` that `cls` itself defines by `make(function)`.

        Anything else (inherited, static, a descriptor, a mock, replaced before) stays as it is.
        """
        found, patches = _replaced(cls.__dict__.get(name))
        if type(found) is not FunctionType:
            return
        self._classes.add(cls)
        if patches is self:
            return  # a class built from another's dict, as dataclass(slots=True) does
        # Of other patches only what somebody put back after they were undone is ever met.
        self._put(cls, name, found, functools.wraps(found)(make(found)))

    def replace_hook(self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
        """Replace the classmethod `name` that `cls` itself defines by one of `make(function)`."""
        found, patches = _replaced(cls.__dict__.get(name))
        if type(found) is classmethod and patches is not self:
            self._classes.add(cls)
            function = found.__func__
            self._put(cls, name, found, classmethod(functools.wraps(function)(make(function))))

    def _put(self, cls: type | ModuleType, name: str, original: object, replacement: object) -> None:
        setattr(replacement, _REPLACES, (replacement, original, self))
        setattr(cls, name, replacement)

    def add(self, cls: type, name: str, value: object) -> None:
        """Give `cls` an attribute it does not have itself."""
        setattr(cls, name, value)
        self._added.append((cls, name, value))

    def swap(self, module: ModuleType, name: str, value: object) -> None:
        """Give a global of a module another value."""
        self._swapped.append((module, name, module.__dict__[name], value))
        setattr(module, name, value)

    def undo(self) -> None:
        """Put back everything that is still ours."""
        self.active = False
        for cls in list(self._classes):
            for name, value in list(cls.__dict__.items()):
                original, patches = _replaced(value)
                if patches is not None:
                    setattr(cls, name, original)
        for cls, name, value in self._added:
            if cls.__dict__.get(name) is value:
                delattr(cls, name)
        for module, name, original, value in self._swapped:
            if module.__dict__.get(name) is value:
                setattr(module, name, original)
        self._classes.clear()
        self._added.clear()
        self._swapped.clear()


class SubclassPatcher:
    """The patcher of a class and its subclasses: those there are, and those still to come.

    Args:
        root: The class.
        patches: What notes replacements, and undoes them.
        patch_class: Replaces the methods of one class, and of the mixins it has them from.
    """

    def __init__(self, root: type, patches: Patches, patch_class: Callable[[type], None]) -> None:
        self._root = root
        self._patches = patches
        self._patch_class = patch_class

    def patch(self) -> None:
        """Patch every class there is, and see to those still to come."""
        self._patches.active = True
        for cls in _with_subclasses(self._root):
            with _PATCHING:
                self._patch(cls)
        if "__init_subclass__" in self._root.__dict__:
            self._patches.replace_hook(self._root, "__init_subclass__", self._hook)
        else:
            self._patches.add(self._root, "__init_subclass__", classmethod(self._subclassed))

    def _patch(self, cls: type) -> None:
        if not self._patches.active:
            return
        self._patch_class(cls)
        for base in cls.__mro__:
            if base is not self._root and issubclass(base, self._root):  # Its hook may not call ours.
                self._patches.replace_hook(base, "__init_subclass__", self._hook)

    def _subclassed(self, cls: type, /, **kwargs: Any) -> None:
        super(self._root, cls).__init_subclass__(**kwargs)  # type: ignore[arg-type]
        with _PATCHING:
            self._patch(cls)

    def _hook(self, function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(cls: type, /, **kwargs: Any) -> None:
            function(cls, **kwargs)
            with _PATCHING:
                self._patch(cls)

        return wrapper


def _with_subclasses(cls: type[Any]) -> Iterator[type]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)
