"""Leave one frame of ours in the tracebacks of the program's exceptions."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from typing import Final

from pocketflow_otel.guard import failed, traceback_of

_PACKAGE: Final = str(PurePath((lambda: None).__code__.co_filename).parents[1]) + os.sep
"""As tracebacks have it, which need not be where the module is: compiled without its source, or bundled."""
_PROGRAMS: Final = _PACKAGE + "cli" + os.sep
"""Where the demo's own nodes are: what a user may look at."""

_NOTE: Final = (
    "pocketflow-otel takes one frame of the stack for each flow and node that runs inside another; "
    "sys.setrecursionlimit() allows more ({limit} now)"
)


def clear_traceback(error: BaseException) -> None:
    """Take what is ours out of an exception's traceback, but for the frame that it passes now.

    Costs nothing as long as nothing is raised. Each wrapper does so, so what lies below the next one of
    them has been cleared. A `RecursionError` gets a note that says what allows more.
    """
    try:
        trace = traceback_of(error)
        outermost = trace.tb_frame.f_code.co_name if trace is not None else ""
        while trace is not None:
            below = trace.tb_next
            cleared = False
            while below is not None and is_ours(below.tb_frame.f_code.co_filename):
                cleared |= below.tb_frame.f_code.co_name == outermost
                below = below.tb_next
            if below is not trace.tb_next:
                trace.tb_next = below
            if cleared:
                break
            trace = below
        if issubclass(type(error), RecursionError) and not getattr(error, "__notes__", None):
            BaseException.add_note(error, _NOTE.format(limit=sys.getrecursionlimit()))
    except Exception as fault:
        failed("shorten a traceback", fault)


def is_ours(file: str) -> bool:
    """Return whether the code of a frame stands in this package: never where an error comes from."""
    return file.startswith(_PACKAGE) and not file.startswith(_PROGRAMS)
