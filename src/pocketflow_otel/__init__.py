"""See what PocketFlow flows and pflow workflows do.

import pocketflow_otel

pocketflow_otel.configure()
flow.run(shared)
"""

from typing import TYPE_CHECKING, Any

from pocketflow_otel.api import child_environment, progress, record_usage, run_name, using
from pocketflow_otel.config import Config
from pocketflow_otel.instrument import sdk_services
from pocketflow_otel.instrument.instrumentor import PflowInstrumentor, PocketFlowInstrumentor
from pocketflow_otel.runtime.budget import BudgetExceeded

if TYPE_CHECKING:
    from pocketflow_otel.export.console.console_view import ConsoleSpanExporter
    from pocketflow_otel.export.file.file_view import FileSpanExporter
    from pocketflow_otel.sdk.configure import configure

__version__ = "0.1.0"

__all__ = [
    "BudgetExceeded",
    "Config",
    "ConsoleSpanExporter",
    "FileSpanExporter",
    "PflowInstrumentor",
    "PocketFlowInstrumentor",
    "child_environment",
    "configure",
    "progress",
    "record_usage",
    "run_name",
    "using",
]

_NEEDS_SDK = {
    "ConsoleSpanExporter": "pocketflow_otel.export.console.console_view",
    "FileSpanExporter": "pocketflow_otel.export.file.file_view",
    "configure": "pocketflow_otel.sdk.configure",
}


def __getattr__(name: str) -> Any:
    """Import what needs the OpenTelemetry SDK only when it is asked for (PEP 562)."""
    if name in _NEEDS_SDK:
        from importlib import import_module

        return getattr(import_module(_NEEDS_SDK[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_sdk_services() -> sdk_services.SdkServices:
    """Import what the instrumentation asks of the SDK's side, once there is an SDK."""
    from pocketflow_otel.sdk import services

    return services


sdk_services.provide(_load_sdk_services)
