"""Runs before the first line of a traced process, then leaves no trace of itself.

Python imports `sitecustomize` at its start; the folder of this one is on PYTHONPATH just then. A child may
be the Python of another environment, which has nothing of ours, and may be older: so this file needs the
standard library alone, nothing newer than Python 3.6, and such a child goes on as it would without us.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pocketflow_otel.startup_variables import Settings


def begin(settings: "Settings") -> None:
    """Give the process the environment it would see without us, and trace it."""
    folder = str(Path(__file__).parent)
    sys.path[:] = [other for other in sys.path if other != folder]
    if settings["pythonpath"] is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = settings["pythonpath"]

    # The environment's own sitecustomize, which this one stood in front of, may be absent or fail.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)  # Python's import asks for it.
        with suppress(ImportError):
            from pocketflow_otel import startup
            from pocketflow_otel.guard import guard

            with guard("start tracing"):
                startup.begin(settings)


if __name__ == "sitecustomize" and "POCKETFLOW_OTEL_LAUNCH" in os.environ:
    begin(json.loads(os.environ.pop("POCKETFLOW_OTEL_LAUNCH")))
