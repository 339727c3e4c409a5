"""Which PocketFlow a program imports is the program's affair: PyPI's, or a copy in its own folder."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from pocketflow_otel.guard import guard, logger
from pocketflow_otel.instrument.import_hooks import ImportHooks
from pocketflow_otel.instrument.pocketflow import PocketFlowPatcher

if TYPE_CHECKING:
    from types import ModuleType

    from pocketflow_otel.instrument.tracer import FlowTracer

NAME: Final = "pocketflow"


class Copies:
    """Each PocketFlow that is imported while this watches, instrumented once it has been.

    Args:
        flow_tracer: Where spans come from.
    """

    def __init__(self, flow_tracer: FlowTracer) -> None:
        self._flow_tracer = flow_tracer
        self._imports = ImportHooks(guard("instrument pocketflow"))
        # Weak: one that is no longer in use lives on its classes alone.
        self._copies: WeakSet[PocketFlowPatcher] = WeakSet()

    def patch(self) -> None:
        """Replace the methods of what has been imported, and see to what will be."""
        self._flow_tracer.enabled = True
        for copy in list(self._copies):
            copy.patch()
        self._imports.add(NAME, self._instrument)

    def undo(self) -> None:
        """Put every method back; what is imported from now on stays as it is."""
        self._imports.clear()
        self._flow_tracer.enabled = False
        for copy in list(self._copies):
            copy.undo()

    def _instrument(self, module: ModuleType) -> None:
        if not self._flow_tracer.enabled:
            return
        copy = PocketFlowPatcher(module, self._flow_tracer)
        if not copy.classes:
            _warn(
                f"pocketflow at {_place(module)} is not PocketFlow, and not traced: "
                "it has no Flow and no Node that runs"
            )
            return
        # Imported anew, its classes may be those of before: from modules that were not.
        if any(copy.classes == known.classes for known in self._copies):
            return
        self._copies.add(copy)
        copy.patch()
        missing = copy.missing()
        if missing:
            _warn(
                f"pocketflow at {_place(module)} is not as pocketflow-otel knows it: "
                f"without {', '.join(missing)}, a part of a run is not traced"
            )


def _place(module: ModuleType) -> str:
    return str(module.__dict__.get("__file__") or "an unknown place")


@cache
def _warn(problem: str) -> None:
    """Log once what of a program's PocketFlow is not traced."""
    logger.warning("%s", problem)
