"""The exporters chosen by name: `OTEL_TRACES_EXPORTER=pocketflow_console,pocketflow_file`.

The SDK would put them behind a BatchSpanProcessor, five seconds late and blind to starts. So when
they are made, they put the live view on the global provider, which the SDK has set by then, and
export nothing themselves. Where there is no such provider yet (declarative configuration makes
exporters first), they print or save finished runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import get_tracer_provider

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.console.console_view import ConsoleSpanExporter
from pocketflow_otel.export.file.file_view import FileSpanExporter
from pocketflow_otel.export.outputs import keep_of, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.config import ConsoleMode, FileMode


def _show_live(*, console: ConsoleMode | None = None, file: FileMode | None = None) -> bool:
    """Put a view on the global provider; a mode the environment names wins over these."""
    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return False
    config = Config.from_env(report=no_report)  # The instrumentor reports them.
    show(
        provider,
        console=console and (config.console or console),
        file=file and (config.file or file),
        directory=config.dir,
        keep=keep_of(config),
    )
    return True


class ChosenConsole(ConsoleSpanExporter):
    """`pocketflow_console`: the live view."""

    def __init__(self) -> None:
        super().__init__()
        self._live = _show_live(console="live")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self._live else super().export(spans)


class ChosenFile(FileSpanExporter):
    """`pocketflow_file`: the trace file of each run."""

    def __init__(self) -> None:
        super().__init__(config=Config.from_env(report=no_report))
        self._live = _show_live(file="all")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self._live else super().export(spans)
