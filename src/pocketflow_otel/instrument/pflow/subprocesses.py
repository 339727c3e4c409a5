"""The environment of the processes that a workflow starts: without the tracing, unless that is asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import startup_variables
from pocketflow_otel.api import child_environment
from pocketflow_otel.fields import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_PATH: Final = "PYTHONPATH"


def hide_launcher(environ: MutableMapping[str, str]) -> None:
    """Take out of PYTHONPATH what `opentelemetry-instrument` put in.

    That is its start-up folder, in which every Python of a child would import our tracing, or fail
    to and say so on stderr; and the working directory behind it, which it adds too.

    Args:
        environ: The variables; those of the process, which all its children see.
    """
    launcher = sys.modules.get(startup_variables.LAUNCHER)
    if launcher is None or not launcher.__file__:
        return
    folder = str(Path(launcher.__file__).parent)
    folders = environ.get(_PATH, "").split(os.pathsep)
    if folder not in folders:
        return
    place = folders.index(folder)
    del folders[place]
    if folders[place : place + 1] == [str(Path.cwd())]:
        del folders[place]
    if folders:
        environ[_PATH] = os.pathsep.join(folders)
    else:
        del environ[_PATH]


def trace_runs(environ: MutableMapping[str, str]) -> None:
    """Have the runs of `pflow ui` traced as it is itself: it starts each as a process of its own.

    Args:
        environ: The variables of that server, which runs nothing else.
    """
    environ.update(startup_variables.child_variables())


def with_trace_environment(prepared: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a shell step prepared, with an environment that continues its trace.

    A traced child writes its own trace file, and no view to stderr: that is the step's output.

    Args:
        prepared: What `ShellNode.prep` returned; `env` is what the step adds to the environment.
    """
    added = child_environment({**startup_variables.child_variables(), "POCKETFLOW_OTEL_CONSOLE": "off"})
    return {**prepared, "env": {**added, **mapping(prepared.get("env"))}}
