"""Say, when a traced program has ended, that no flow was traced, and why that may be."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Final

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.instrumentor import PocketFlowInstrumentor
from pocketflow_otel.instrument.tracer import FlowTracer

_NOTICING: Final = guard("say that no flow was traced")


def notice_at_exit(*, asked: bool) -> None:
    """Have one line written on stderr at the end of this process, if no flow was traced in it.

    Args:
        asked: Whether somebody asked to see runs. Else there is a line only where a PocketFlow ran, or
            could have, that has another name.
    """
    process = os.getpid()

    def at_exit() -> None:
        with _NOTICING:
            if os.getpid() == process and not FlowTracer.any_run and (why := _reason(asked=asked)):
                LineStream().warn(f"no flow was traced: {why}")

    atexit.register(at_exit)


def _reason(*, asked: bool) -> str:
    """Return what is the matter; nothing where nobody would want to know."""
    copies = PocketFlowInstrumentor.copies
    if copies is None:
        return ""
    named = [name for name in Config.from_env(report=no_report).modules if isinstance(name, str)]
    untraced = copies.untraced()
    if untraced:
        names = ",".join([*named, *untraced])
        return f"{untraced[0]} has PocketFlow's classes; POCKETFLOW_OTEL_MODULES={names} has them traced"
    if not asked or hasattr(sys, "last_value"):  # Then the program has failed, and that was told.
        return ""
    if copies.any or "pflow" in sys.modules:
        return "none ran, as far as can be seen; pocketflow-otel doctor looks for what may be wrong"
    wanted = " or ".join(["pocketflow", *(name for name in named if name not in sys.modules)])
    return f"the program imported no {wanted}; pocketflow-otel doctor looks for copies under other names"
