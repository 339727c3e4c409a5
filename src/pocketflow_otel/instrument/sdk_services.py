"""What the instrumentation asks of whoever sets up the OpenTelemetry SDK.

The instrumentation itself needs OpenTelemetry's API alone. Where the SDK makes the spans, the package
provides these services, and imports what they need only then.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import TracerProvider

    from pocketflow_otel.config import Config


class SdkServices(Protocol):
    """Services for providers of spans; of any but the SDK's they make nothing."""

    def prepare_provider(self, provider: TracerProvider, config: Config) -> None:
        """Prepare a provider before its first run: private ids, and the views `config` names."""

    def shows_live(self, provider: TracerProvider | None) -> bool:
        """Return whether the steps of a provider's runs have lines on stderr while they run."""

    def flush(self, provider: TracerProvider | None) -> None:
        """Have the spans of a provider sent before the program can end."""

    def end_lines(self) -> None:
        """Take note that a user has answered a question on the terminal, which ends its line."""


_load: Callable[[], SdkServices] | None = None


def provide(load: Callable[[], SdkServices]) -> None:
    """Register who provides the services.

    Args:
        load: Imports and returns them; called when an SDK is there.
    """
    global _load
    _load = load


def sdk_services() -> SdkServices | None:
    """Return the services; `None` without an SDK, or with another implementation of the API."""
    if _load is None or "opentelemetry.sdk.trace" not in sys.modules:
        return None
    return _load()
