"""Switch the tracing of pflow on and off twice, and print each time which of its attributes are others.

    python -m tests.pflow.undone imported|later

Either pflow has been imported before, or it is when tracing is on for the first time.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import pocketflow_otel
from pocketflow_otel import PflowInstrumentor


def import_all() -> None:
    """Import pflow: its command, and all that a workflow may need."""
    import pflow

    importlib.import_module("pflow.cli.main")
    for package in ("core", "execution", "nodes", "runtime"):
        path = [f"{folder}/{package}" for folder in pflow.__path__]
        for module in pkgutil.walk_packages(path, f"pflow.{package}."):
            with suppress(ImportError):  # What needs an extra.
                importlib.import_module(module.name)


def attributes() -> dict[str, Any]:
    """Return all that is in pflow's modules and their classes, by name."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("pflow."):
            continue
        for key, value in vars(module).items():
            found[f"{name}.{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}.{key}.{each}": held for each, held in vars(value).items()}
    return found


def is_ours(value: object) -> bool:
    """Tell whether something was made by us."""
    while isinstance(value, classmethod | MethodType):
        value = value.__func__
    if type(value) is FunctionType:  # What hides a replacement of ours says that it is a function, too.
        return value.__code__.co_filename.startswith(pocketflow_otel.__path__[0])
    cls = value if isinstance(value, type) else type(value)
    return cls.__module__.startswith("pocketflow_otel")


def main(when: str) -> None:
    bare: dict[str, Any] = {}
    if when == "imported":
        import_all()
        bare = attributes()
    for _ in range(2):
        PflowInstrumentor().instrument(tracer_provider=TracerProvider(shutdown_on_exit=False))
        import_all()
        tell(bare)
        PflowInstrumentor().uninstrument()
        tell(bare)


def tell(bare: dict[str, Any]) -> None:
    """Print what is ours; of all that was there before, what is not the very same."""
    now = attributes()
    changed = {name for name in bare.keys() & now.keys() if now[name] is not bare[name]}
    ours = {name for name, value in now.items() if is_ours(value)}
    sys.stdout.write(json.dumps(sorted(changed | ours)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
