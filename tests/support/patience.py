"""Let a program wait for a receiver, however slow the machine is, where that is not what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.support.processes import write

if TYPE_CHECKING:
    from pathlib import Path

AT_THE_END: Final = """
from pocketflow_otel.export.otlp import batch_processor
batch_processor.EXIT_SECONDS = 120.0
"""
"""Lines of a program: its end waits."""

_AT_EACH_END: Final = f"""{AT_THE_END}
from pocketflow_otel.sdk import flush
flush.FLUSH_SECONDS = 120.0
def begin(): pass
"""


def patient(folder: Path) -> str:
    """Return a folder for PYTHONPATH: a launched program then waits at its end, and at that of a run."""
    write(folder / "patience.py", _AT_EACH_END)
    entry_points = "[opentelemetry_pre_instrument]\npatience = patience:begin\n"
    write(folder / "patience-1.dist-info" / "entry_points.txt", entry_points)
    return str(folder)
