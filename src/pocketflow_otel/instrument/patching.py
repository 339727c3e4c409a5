"""Replace methods of classes, with all their subclasses, and functions of modules; put them back exactly.

Classes are held weakly, and what stood there before is kept on the replacement itself, so neither
classes nor functions live longer because they were patched. A replacement that somebody else has
wrapped since cannot be taken out; it then only passes calls on.

On a class of the user's the replacement is a descriptor that shows itself to calls alone: the class
gives the original, and so does a pickle of the class, as cloudpickle makes one of what is in `__main__`.
"""

from __future__ import annotations

import copy
import functools
import inspect
from itertools import count
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from pocketflow_otel.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Self


_PATCHING: Final = guard("instrument a class")

_REPLACES: Final = "__pocketflow_otel_replaces__"

_ids: Final = count()


class HiddenMethod(functools.partial[Any]):
    """A method's replacement that the calls of instances find, and nobody else.

    Who takes it from the class's own dict, or from a method of an instance, to wrap or to pickle it, has
    what looks and is called like the function. It is called without a frame of its own.

    Args:
        original: What the class defines.
        replacement: What is called instead.
        patches: The id of the `Patches` that it belongs to.
        applies: Tells by an instance's class whether it finds the replacement, of a method that is no
            private one; every one finds it by default.
    """

    __slots__ = ("applies", "original", "patches")

    def __new__(
        cls,
        original: Any,
        replacement: Callable[..., Any],
        patches: int,
        applies: Callable[[type], bool] | None = None,
    ) -> Self:
        made = super().__new__(cls, replacement)
        values = {
            "original": original,
            "patches": patches,
            "applies": applies,
            "__module__": original.__module__,  # Others are looked for on the original, these on the class.
            "__doc__": original.__doc__,
        }
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    # Mocks with `autospec` copy the signature of functions alone, and pickles of them have what is in here.
    __class__ = property(lambda _self: FunctionType)
    __dict__ = property(lambda self: self.original.__dict__)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self.original
        if self.applies is None:
            return MethodType(self.func, instance)
        # A method that people send to other processes: this is in pickles what the original is. To private
        # ones it would be a loss, for Python 3.11 counts its call among the frames of the recursion limit.
        return MethodType(self if self.applies(type(instance)) else self.original, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.original, name, value)  # Who edits a function in place, as `%autoreload` does, means it.

    def __reduce__(self) -> tuple[Any, ...]:
        return copy.copy, (self.original,)  # A copy of a function is the function.


class HiddenHook(classmethod):  # type: ignore[type-arg]
    """A classmethod that is replaced or added, and is pickled as what would be there without us."""

    def __init__(self, function: Callable[..., Any], original: object, patches: int) -> None:
        super().__init__(function)
        self.original = original
        self.patches = patches

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.original, classmethod):
            return classmethod, (self.original.__func__,)
        return getattr, (object, "__init_subclass__")


def _replaced(value: object) -> tuple[object, int | None]:
    """Return what a replacement of ours stands for and whose it is; anything else as it is.

    `functools.wraps` copies attributes, so a wrapper around ours carries our mark too: but it wraps
    another function than the mark names.
    """
    kind = type(value)
    if kind is HiddenMethod or kind is HiddenHook:
        return value.original, value.patches  # type: ignore[attr-defined]
    if kind is FunctionType:  # Others answer for attributes as they please.
        original, patches = getattr(value, _REPLACES, (None, None))
        if original is not None and original is getattr(value, "__wrapped__", None):
            return original, patches
    return value, None


def original_of(function: object) -> object:
    """Return the function that a replacement of ours stands for; any other function as it is."""
    return _replaced(function)[0]


class Patches:
    """The methods replaced on a set of classes, the functions in a set of modules.

    Attributes:
        active: Whether classes that are still to come shall be patched.
    """

    def __init__(self) -> None:
        self.active = True
        self._id = next(_ids)
        # By identity: a metaclass may have classes that cannot be hashed.
        self._classes: WeakValueDictionary[int, type | ModuleType] = WeakValueDictionary()
        self._added: list[tuple[type, str, object]] = []
        self._swapped: list[tuple[ModuleType, str, object, object]] = []

    def replace(
        self,
        cls: type | ModuleType,
        name: str,
        make: Callable[[Any], Callable[..., Any]],
        *,
        hidden: bool = False,
        applies: Callable[[type], bool] | None = None,
    ) -> None:
        """Replace the plain function `name` that `cls` itself defines by `make(function)`.

        Anything else (inherited, static, a descriptor, a mock, replaced before) stays as it is.

        Args:
            cls: The class, or a module.
            name: The name of the method or function.
            make: Makes the replacement.
            hidden: Whether instances alone find it: not the class, and not a pickle of the class.
            applies: Where it is hidden: which classes' instances find it, if not all.
        """
        found, patches = _replaced(cls.__dict__.get(name))
        if type(found) is not FunctionType:
            return
        self._classes[id(cls)] = cls
        if patches == self._id:
            return  # a class built from another's dict, as dataclass(slots=True) does
        # Of other patches only what somebody put back after they were undone is ever met.
        replacement = functools.wraps(found)(make(found))
        if hidden:
            setattr(cls, name, HiddenMethod(found, replacement, self._id, applies))
            return
        self._mark(replacement, found)
        setattr(cls, name, replacement)

    def _mark(self, replacement: Callable[..., Any], original: Callable[..., Any]) -> None:
        setattr(replacement, _REPLACES, (original, self._id))
        replacement.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]  # for `getfullargspec`

    def override(
        self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]], *, hidden: bool = False
    ) -> None:
        """Replace the function `name` that `cls` defines or inherits, for it and its subclasses alone."""
        function = getattr(cls, name, None)
        if name in cls.__dict__:
            self.replace(cls, name, make, hidden=hidden)
        elif type(function) is FunctionType and original_of(function) is function:
            replacement = functools.wraps(function)(make(function))
            self._mark(replacement, function)
            self.add(cls, name, HiddenMethod(function, replacement, self._id) if hidden else replacement)

    def replace_hook(self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
        """Replace the classmethod `name` that `cls` itself defines by one of `make(function)`."""
        found, patches = _replaced(cls.__dict__.get(name))
        if type(found) is classmethod and patches != self._id:
            self._classes[id(cls)] = cls
            function = found.__func__
            setattr(cls, name, HiddenHook(functools.wraps(function)(make(function)), found, self._id))

    def add_hook(self, cls: type, name: str, function: Callable[..., Any]) -> None:
        """Give `cls` a classmethod it does not have itself."""
        self.add(cls, name, HiddenHook(function, None, self._id))

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
        for added, name, value in self._added:
            if added.__dict__.get(name) is value:
                delattr(added, name)
        for cls in list(self._classes.values()):
            for name, value in list(cls.__dict__.items()):
                original, patches = _replaced(value)
                if patches is not None and original is not None:
                    setattr(cls, name, original)
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
            self._patches.add_hook(self._root, "__init_subclass__", self._subclassed())

    def _patch(self, cls: type) -> None:
        if not self._patches.active:
            return
        self._patch_class(cls)
        for base in cls.__mro__:
            if base is not self._root and issubclass(base, self._root):  # Its hook may not call ours.
                self._patches.replace_hook(base, "__init_subclass__", self._hook)

    def _subclassed(self) -> Callable[..., None]:
        """Return a hook for a class without one of its own: it has that of `object`, or of a mixin."""

        def __init_subclass__(cls: type, /, **kwargs: Any) -> None:  # noqa: N807 - its name is shown
            super(self._root, cls).__init_subclass__(**kwargs)  # type: ignore[arg-type]
            with _PATCHING:
                self._patch(cls)

        __init_subclass__.__module__ = self._root.__module__  # Of it, help() shows all this.
        __init_subclass__.__qualname__ = f"{self._root.__qualname__}.__init_subclass__"
        __init_subclass__.__doc__ = object.__init_subclass__.__doc__
        return __init_subclass__

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
