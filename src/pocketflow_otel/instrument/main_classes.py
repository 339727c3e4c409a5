"""Hear of the classes that the program's main module defines, while it defines them.

Nothing imports that module, so no import hook is ever called for it, and its flows may run before its
last line. So until it has PocketFlow's classes and one of its own, class statements are listened to.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard

if TYPE_CHECKING:
    from collections.abc import Callable

MAIN: Final = "__main__"

MAIN_MODULES: Final = (MAIN, "__mp_main__")
"""What the main module is called: that of a process which `multiprocessing` spawned is the second."""

_HEARING: Final = guard("instrument a class of the main program")


class MainClasses:
    """Calls a function with each class that the main module defines, at its end, from `start` to `stop`.

    Args:
        defined: Called with the class.
    """

    def __init__(self, defined: Callable[[type], None]) -> None:
        self._defined = defined
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        """Listen."""
        if self._stop is not None:
            return
        original, defined = builtins.__build_class__, self._defined

        def class_statement(function: Any, /, *args: Any, **kwargs: Any) -> Any:
            cls = original(function, *args, **kwargs)
            if function.__globals__.get("__name__") in MAIN_MODULES:
                with _HEARING:
                    defined(cls)
            return cls

        # Warnings with a `stacklevel` look past frames of Python's import system, known by their file.
        code = class_statement.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        class_statement.__code__ = code

        def stop() -> None:
            if builtins.__build_class__ is class_statement:
                builtins.__build_class__ = original

        builtins.__build_class__ = class_statement
        self._stop = stop

    def stop(self) -> None:
        """Leave class statements alone; what somebody else has put around ours since keeps it."""
        if self._stop is not None:
            self._stop()
            self._stop = None
