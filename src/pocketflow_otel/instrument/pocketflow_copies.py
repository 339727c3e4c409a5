"""Which PocketFlow a program has is the program's affair: PyPI's, or copies under whatever names."""

from __future__ import annotations

import sys
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from pocketflow_otel.guard import guard, logger
from pocketflow_otel.instrument.framework_classes import (
    builds_on,
    defined_classes,
    framework_classes,
    is_whole,
    newly_defined,
    runs,
)
from pocketflow_otel.instrument.import_hooks import ImportHooks
from pocketflow_otel.instrument.main_classes import MAIN, MainClasses
from pocketflow_otel.instrument.pocketflow import PocketFlowPatcher
from pocketflow_otel.pocketflow_names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pocketflow_otel.instrument.tracer import FlowTracer

NAME: Final = "pocketflow"

_TRACED_OTHERWISE: Final = frozenset({"pflow", "pocketflow_otel"})
"""What has a changed copy of its own, and what looks like one."""

_INSTRUMENTING: Final = guard("instrument pocketflow")


class Copies:
    """Each PocketFlow that is imported while this watches, instrumented once it has been.

    Args:
        flow_tracer: Where spans come from.
        modules: Those that have one, beside `pocketflow`: by name, or as they are.
    """

    def __init__(self, flow_tracer: FlowTracer, modules: Iterable[str | ModuleType] = ()) -> None:
        self._flow_tracer = flow_tracer
        self._modules: dict[str | ModuleType, None] = dict.fromkeys((NAME, *modules))
        self._imports = ImportHooks(_INSTRUMENTING, elsewhere=self._look)
        self._main = MainClasses(self._defined_in_main)
        self._found: set[str] = set()
        # Weak: one that is no longer in use lives on its classes alone.
        self._copies: WeakSet[PocketFlowPatcher] = WeakSet()

    def patch(self) -> None:
        """Replace the methods of what has been imported, and see to what will be."""
        self._flow_tracer.enabled = True
        for copy in list(self._copies):
            copy.patch()
        for module in self._modules:
            self._await(module)

    def undo(self) -> None:
        """Put every method back; what is imported from now on stays as it is."""
        self._imports.clear()
        self._main.stop()
        self._flow_tracer.enabled = False
        for copy in list(self._copies):
            copy.undo()

    def add(self, modules: Iterable[str | ModuleType]) -> None:
        """See to more modules; to those known already again, which may have changed since."""
        for module in modules:
            self._modules[module] = None
            self._await(module)

    @property
    def any(self) -> bool:
        """Whether there is a PocketFlow that is traced."""
        return bool(self._copies)

    def untraced(self) -> list[str]:
        """Return the modules that have been imported and define PocketFlow's classes, and are not traced."""
        found = []
        for name, module in list(sys.modules.items()):
            own = defined_classes(module) if name.partition(".")[0] not in _TRACED_OTHERWISE else {}
            known = (builds_on(cls, copy.classes) for copy in list(self._copies) for cls in own.values())
            if is_whole(own) and not any(known):
                found.append(name)
        return found

    def _await(self, module: str | ModuleType) -> None:
        name = module.__name__ if isinstance(module, ModuleType) else module
        if isinstance(module, ModuleType) and sys.modules.get(name) is not module:
            with _INSTRUMENTING:
                self._instrument(name, module)
        if name != MAIN:
            self._imports.add(name, partial(self._instrument, name))
            return
        with _INSTRUMENTING:
            classes = framework_classes(sys.modules[MAIN])
            self._take(classes)
            if not is_whole(classes):
                self._main.start()

    def _look(self) -> None:
        """See to modules that a program has put into `sys.modules` itself: no finder is asked for them."""
        for name in self._modules:
            if isinstance(name, str) and name not in self._found and name in sys.modules:
                module = sys.modules[name]
                if is_whole(framework_classes(module)):  # Else it may still be executed.
                    self._instrument(name, module)

    def _defined_in_main(self, cls: type) -> None:
        if cls.__name__ == cls.__qualname__ and cls.__name__ in NAMES and runs(cls):
            self._take({cls.__name__: cls})
            return
        for copy in list(self._copies):
            if is_whole(copy.classes) and builds_on(cls, copy.classes):
                self._main.stop()

    def _instrument(self, name: str, module: ModuleType) -> None:
        if not self._flow_tracer.enabled:
            return
        self._found.add(name)
        classes = framework_classes(module)
        if not classes:
            _warn(
                f"{name} at {_place(module)} is not PocketFlow, and not traced: "
                "it has no Flow and no Node that runs"
            )
            return
        copy = self._take(classes)
        missing = [] if copy is None else copy.missing()
        if missing:
            _warn(
                f"{name} at {_place(module)} is not as pocketflow-otel knows it: "
                f"without {', '.join(missing)}, a part of a run is not traced"
            )

    def _take(self, classes: Mapping[str, type]) -> PocketFlowPatcher | None:
        """Instrument the classes, together with those of a copy that they belong to."""
        for known in list(self._copies):
            if any(builds_on(cls, known.classes) for cls in classes.values()):
                classes = newly_defined(classes, known.classes)
                if classes:
                    known.undo()
                    self._copies.discard(known)
                    classes = {**known.classes, **classes}
        if not classes:
            return None
        copy = PocketFlowPatcher(_holding(classes), self._flow_tracer)
        self._copies.add(copy)
        copy.patch()
        return copy


def _holding(classes: Mapping[str, type]) -> ModuleType:
    module = ModuleType(NAME)
    vars(module).update(classes)
    return module


def _place(module: ModuleType) -> str:
    return str(module.__dict__.get("__file__") or "an unknown place")


@cache
def _warn(problem: str) -> None:
    """Log once what of a program's PocketFlow is not traced."""
    logger.warning("%s", problem)
