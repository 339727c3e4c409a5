"""Patch a class with all that inherit from it: those there are, and those still to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.instrument.patching import Patches

_PATCHING: Final = guard("instrument a class")


class Family:
    """A class and its subclasses.

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
