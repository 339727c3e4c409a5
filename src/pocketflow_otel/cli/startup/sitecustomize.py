"""Runs before the first line of a traced target, then leaves no trace of itself.

Python imports `sitecustomize` at its start; the folder of this one is on PYTHONPATH just then.
"""

from __future__ import annotations

import json
import os
import sys

from pocketflow_otel.cli import startup
from pocketflow_otel.guard import guard


def begin(settings: startup.Settings) -> None:
    """Give the target the environment it would see without us, and trace it."""
    sys.path[:] = [folder for folder in sys.path if folder != startup.FOLDER]
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
        with guard("start tracing"):
            from pocketflow_otel.sdk import launch

            launch(
                console=settings["console"],
                directory=settings["directory"],
                endpoint=settings["endpoint"],
                # What children print on stderr is taken for their own.
                child=startup.variables({**settings, "console": None}),
            )


if __name__ == "sitecustomize":
    begin(json.loads(os.environ.pop(startup.VARIABLE)))
