"""The exporters chosen by name: `OTEL_TRACES_EXPORTER=pocketflow_console,pocketflow_file`.

The SDK would put them behind a BatchSpanProcessor, five seconds late and blind to starts. So when
they are made, they put the live view on the global provider, which the SDK has set by then, and
export nothing themselves. Where there is no such provider yet (declarative configuration makes
exporters first), they print or save finished runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import get_tracer_provider

from pocketflow_otel.config import Config, no_report
from pocketflow_otel.export.console.console_view import ConsoleSpanExporter
from pocketflow_otel.export.file.file_view import FileSpanExporter
from pocketflow_otel.export.otlp.batch_processor import Limits, SafeBatchProcessor
from pocketflow_otel.export.otlp.exporters import target_of
from pocketflow_otel.sdk.provider import keeps_files, prepare_provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from pocketflow_otel.config import ConsoleMode, FileMode


def _add_view(*, console: ConsoleMode | None = None, file: FileMode | None = None) -> bool:
    """Put a view on the global provider; a mode the environment names wins over these."""
    provider = get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return False
    config = Config.from_env(report=no_report)  # The instrumentor reports bad ones.
    config = replace(
        config,
        console=console and (config.console or console),
        file=file and (config.file or file),
    )
    prepare_provider(provider, config, change_views=True)
    return True


class NamedConsoleExporter(ConsoleSpanExporter):
    """`pocketflow_console`: the live view."""

    def __init__(self) -> None:
        super().__init__()
        self._has_view = _add_view(console="live")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self._has_view else super().export(spans)


class NamedFileExporter(FileSpanExporter):
    """`pocketflow_file`: the trace file of each run."""

    def __init__(self) -> None:
        super().__init__(config=Config.from_env(report=no_report))
        self._has_view = _add_view(file="all")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self._has_view else super().export(spans)


def processor_for(exporter: SpanExporter) -> SpanProcessor:
    """Return what stands between a provider and an exporter, in set-ups of ours."""
    if isinstance(exporter, NamedConsoleExporter | NamedFileExporter):
        return SpanProcessor()  # They are live views already, and export nothing themselves.
    return SafeBatchProcessor(exporter, target_of(exporter), Limits.from_env(), kept_on_disk=keeps_files)
