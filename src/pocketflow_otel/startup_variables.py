"""The variables with which a process is traced from its first line: what starts it hands them to it.

`pocketflow-otel run` does so for its target, and a traced shell step of pflow for its children.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict

if TYPE_CHECKING:
    from pocketflow_otel.config import ConsoleMode

FOLDER: Final = str(Path(__file__).with_name("startup"))
"""The folder with our `sitecustomize`, on the PYTHONPATH of what is to be traced."""
LAUNCHER: Final = "opentelemetry.instrumentation.auto_instrumentation"
"""The module that is loaded in whatever `opentelemetry-instrument` started."""
_VARIABLE: Final = "POCKETFLOW_OTEL_LAUNCH"  # `sitecustomize` reads and removes it.
_PATH: Final = "PYTHONPATH"


class Settings(TypedDict):
    """How to trace a process, and the PYTHONPATH to give back to it.

    Attributes:
        by: Whose way of setting up the SDK it is.
        console: What stderr shows; by default one line that names the trace file.
        directory: Where trace files go; by default as the environment says.
        endpoint: Where spans are sent as well.
    """

    by: Literal["pocketflow-otel", "opentelemetry-instrument"]
    console: ConsoleMode | None
    directory: str | None
    endpoint: str | None
    pythonpath: str | None


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables with which a Python becomes a traced one."""
    path = os.pathsep.join(filter(None, (FOLDER, settings["pythonpath"])))
    return {_VARIABLE: json.dumps(settings), _PATH: path}


_own: Settings | None = None


def remember(settings: Settings) -> None:
    """Keep how this process is traced, for the processes that it starts."""
    global _own
    _own = settings


def child_variables() -> dict[str, str]:
    """Return the variables with which a Python is traced as this process is; none if it traces itself."""
    settings = _own
    if settings is None and LAUNCHER in sys.modules:
        settings = {
            "by": "opentelemetry-instrument",
            "console": None,
            "directory": None,
            "endpoint": None,
            "pythonpath": None,
        }
    if settings is None:
        return {}
    # What a child prints on stderr is taken for its own, so no view is asked for.
    return variables({**settings, "console": None, "pythonpath": os.environ.get(_PATH)})
