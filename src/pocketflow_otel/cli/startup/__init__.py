"""What `pocketflow-otel run` hands to the process that becomes the target."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    from pocketflow_otel.config import ConsoleMode

VARIABLE: Final = "POCKETFLOW_OTEL_LAUNCH"
"""Name of the variable that carries the settings; gone before the target's first line."""

FOLDER: Final = str(Path(__file__).parent)
"""The folder with our `sitecustomize`."""


class Settings(TypedDict):
    """How to trace the target, and the PYTHONPATH to give back to it."""

    console: ConsoleMode | None
    directory: str | None
    endpoint: str | None
    pythonpath: str | None


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables with which a Python becomes a traced target."""
    path = os.pathsep.join(filter(None, (FOLDER, settings["pythonpath"])))
    return {VARIABLE: json.dumps(settings), "PYTHONPATH": path}
