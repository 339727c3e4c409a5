"""Reach the side of this package that knows the SDK, where the SDK is what makes spans."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def loaded_sdk() -> ModuleType | None:
    """Return `pocketflow_otel.sdk`; `None` without an SDK, or with another implementation of the API."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from pocketflow_otel import sdk

    return sdk
