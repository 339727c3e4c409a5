"""Who sends the spans: the program, its process, its machine, and this package."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource

from pocketflow_otel import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import AttributeValue

_DETECTORS: Final = ("process", "host")
_COMMAND_LINE: Final = ("process.command", "process.command_args", "process.command_line")
"""Left out: a flow's inputs and keys stand on command lines, and values stay in the process."""

_OUR_LAUNCHER: Final = "pocketflow_otel.cli.flow_runner"


def default_attributes() -> dict[str, AttributeValue]:
    """Return the resource attributes of this process that nobody has to set.

    The variables `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over them.
    """
    attributes: dict[str, AttributeValue] = {
        SERVICE_NAME: program_name(sys.orig_argv),
        "telemetry.distro.name": "pocketflow-otel",
        "telemetry.distro.version": __version__,
    }
    for point in entry_points(group="opentelemetry_resource_detector"):
        if point.name in _DETECTORS:
            attributes.update(point.load()(raise_on_error=False).detect().attributes)
    for name in _COMMAND_LINE:
        attributes.pop(name, None)
    return attributes | dict(OTELResourceDetector().detect().attributes)


def resource(service_name: str | None = None) -> Resource:
    """Return the resource of this process; a name given here wins over the variables."""
    given = {SERVICE_NAME: service_name} if service_name else {}
    return Resource.create(default_attributes() | given)


def program_name(command: Sequence[str]) -> str:
    """Return what to call the program that a Python command line runs.

    >>> program_name(["python3", "-u", "flows/qa.py", "--fast"])
    'qa'
    >>> program_name(["/usr/bin/python3", "-X", "dev", "-m", "package.app"])
    'package.app'
    >>> program_name(["python3", "-m", "pocketflow_otel.cli.flow_runner", "app.py:create_flow"])
    'app'
    >>> program_name(["python3", "-c", "pass"])
    'python'

    Args:
        command: As in `sys.orig_argv`: `sys.argv` has no module yet while Python starts.
    """
    arguments = iter(command[1:])
    for argument in arguments:
        if argument == "-m":
            module = next(arguments, "")
            if module == _OUR_LAUNCHER:
                return Path(next(arguments, "").partition(":")[0]).stem or "python"
            return module.removesuffix(".__main__") or "python"
        if argument in {"-c", "-"}:
            break
        if argument in ("-X", "-W"):
            next(arguments, None)
        elif not argument.startswith("-"):
            path = Path(argument)
            return (path.parent.name if path.stem == "__main__" else path.stem) or "python"
    return "python"
