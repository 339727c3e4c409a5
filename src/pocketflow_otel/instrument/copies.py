"""Which PocketFlow a program imports is the program's affair: PyPI's, or a copy in its own folder."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from pocketflow_otel.guard import guard, logger
from pocketflow_otel.instrument.imports import ImportHooks
from pocketflow_otel.instrument.pocketflow import PocketFlow

if TYPE_CHECKING:
    from types import ModuleType

    from pocketflow_otel.instrument.tracer import Tracing

NAME: Final = "pocketflow"


class Copies:
    """Each PocketFlow that is imported while this watches, instrumented once it has been.

    Args:
        tracing: Where spans come from.
    """

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._imports = ImportHooks(guard("instrument pocketflow"))
        # Weak: one that is no longer in use lives on its classes alone.
        self._copies: WeakSet[PocketFlow] = WeakSet()

    def patch(self) -> None:
        """Replace the methods of what has been imported, and see to what will be."""
        self._tracing.enabled = True
        for copy in list(self._copies):
            copy.patch()
        self._imports.add(NAME, self._instrument)

    def undo(self) -> None:
        """Put every method back; what is imported from now on stays as it is."""
        self._imports.clear()
        self._tracing.enabled = False
        for copy in list(self._copies):
            copy.undo()

    def _instrument(self, module: ModuleType) -> None:
        if not self._tracing.enabled:
            return
        copy = PocketFlow(module, self._tracing)
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
    """Say once what of a program's PocketFlow will not be seen."""
    logger.warning("%s", problem)
