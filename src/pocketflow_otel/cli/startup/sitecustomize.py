"""Runs before the first line of a traced target, then leaves no trace of itself.

Python imports `sitecustomize` at its start; the folder of this one is on PYTHONPATH just then.
"""

import json
import os
import sys
from contextlib import suppress

from pocketflow_otel.cli import startup
from pocketflow_otel.guard import guard

_settings = json.loads(os.environ.pop(startup.VARIABLE))
sys.path[:] = [folder for folder in sys.path if folder != startup.FOLDER]
if _settings["pythonpath"] is None:
    del os.environ["PYTHONPATH"]
else:
    os.environ["PYTHONPATH"] = _settings["pythonpath"]

# The environment's own sitecustomize, which this one stood in front of.
_ours = sys.modules.pop("sitecustomize")
with suppress(ModuleNotFoundError):
    import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
sys.modules.setdefault("sitecustomize", _ours)  # Python's import asks for it.

with guard("start tracing"):
    from pocketflow_otel.sdk import launch

    launch(console=_settings["console"], directory=_settings["directory"])
