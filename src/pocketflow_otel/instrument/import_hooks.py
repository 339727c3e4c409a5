"""Import hooks: functions called when a module has been imported, which nobody else sees.

Other than wrapt's post-import hooks these fire at each import, wait for one that another thread is
in the middle of, and have no frame in the traceback of a module that fails, nor one that a warning
with a `stacklevel` would name.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from importlib import _bootstrap
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

from wrapt import ObjectProxy

from pocketflow_otel.guard import guard, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Hook = Callable[[ModuleType], None]


class ImportHooks(MetaPathFinder):
    """What is called when modules are imported, from the first `add` to `clear`.

    Args:
        failing: Keeps what a hook raises out of the import.
        elsewhere: Called when another module is looked for.
    """

    def __init__(self, failing: guard, *, elsewhere: Callable[[], None] | None = None) -> None:
        self._failing = failing
        self._elsewhere = elsewhere
        self._hooks: dict[str, list[Hook]] = {}

    def add(self, name: str, hook: Hook) -> None:
        """Have `hook(module)` called at each import of a module; now as well, if it has been imported."""
        if not any(finder is self for finder in sys.meta_path):
            sys.meta_path.insert(0, self)
        with ExitStack() as stack:
            # Where two threads wait for each other's imports, Python itself goes on with half a module.
            with quiet(AttributeError, RuntimeError):
                stack.enter_context(_bootstrap._ModuleLockManager(name))  # type: ignore[attr-defined]
            self._hooks.setdefault(name, []).append(hook)
            module = sys.modules.get(name)
        if module is not None:
            with self._failing:
                hook(module)

    def clear(self) -> None:
        """Forget all hooks, and stay out of imports."""
        self._hooks.clear()
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the finders behind this one find; its loader calls the hooks in the end."""
        if fullname not in self._hooks:
            if self._elsewhere is not None:
                with self._failing:
                    self._elsewhere()
            return None
        for find in self._others():
            spec = find(fullname, path, target)
            if spec is not None:
                loader: Any = spec.loader
                if hasattr(loader, "exec_module"):
                    spec.loader = _Loader(loader, partial(self._imported, fullname))  # type: ignore[assignment]
                return spec
        return None

    def _others(self) -> Iterator[Callable[..., ModuleSpec | None]]:
        finders = iter(list(sys.meta_path))
        for finder in finders:
            if finder is self:
                break
        for finder in finders:
            find = getattr(finder, "find_spec", None)
            if find is not None:
                yield find

    def _imported(self, name: str, module: ModuleType) -> None:
        for hook in list(self._hooks.get(name, ())):
            with self._failing:
                hook(module)


class _Loader(ObjectProxy):  # type: ignore[type-arg]  # no class to subscript, when it runs
    """A module's loader, and what is called when it has executed the module.

    It goes before the module's code begins: that sees the loader it would have without us.
    """

    def __init__(self, loader: Loader, executed: Callable[[Any], None]) -> None:
        super().__init__(loader)
        self._self_executed = executed

    def exec_module(self, module: Any) -> None:
        self._self_step_back(module)
        self.__wrapped__.exec_module(module)
        self._self_executed(module)

    # Python leaves frames of its import system out of tracebacks, and warnings look past them. They
    # are known by their file.
    exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")

    def _self_step_back(self, module: Any) -> None:
        with quiet(AttributeError):  # A loader may make modules of its own kind.
            if module.__spec__.loader is self:
                module.__spec__.loader = self.__wrapped__
            if module.__loader__ is self:
                module.__loader__ = self.__wrapped__
