"""Payloads of providers and libraries, each with the usage to be read from it: a module a source.

Each payload stands as its source shows it. Input includes what was cached, output includes what the
model thought, whatever the source leaves out.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any


def documented() -> list[Any]:
    """Return the payloads of all modules here, as parameters of a test: a payload and its usage."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [payload for module in modules for payload in module.PAYLOADS]
