"""Send metrics over OTLP, in a way that cannot harm the program they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp import exporters
from pocketflow_otel.export.otlp.batch_processor import MAX_REASON_LENGTH, exit_seconds_left
from pocketflow_otel.export.otlp.log_capture import captured_logs
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData


class OtlpMetricReader(PeriodicExportingMetricReader):
    """The SDK's periodic reader, with one warning instead of one a minute, and a quick end.

    The standard variables say where to and how often: `OTEL_EXPORTER_OTLP_*`,
    `OTEL_METRIC_EXPORT_INTERVAL`.
    """

    def __init__(self) -> None:
        exporter = exporters.exporter_class("metrics", "otlp")()
        self._target = exporters.target_of(exporter)
        self._stream = LineStream()
        self._warned = False
        super().__init__(exporter)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        with captured_logs() as messages:
            super()._receive_metrics(metrics_data, timeout_millis, **kwargs)
        if messages and not self._warned:
            self._warned = True
            reason = shorten(messages[0], MAX_REASON_LENGTH)
            self._stream.warn(f"metrics do not reach {self._target}: {reason}")

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        with captured_logs():
            super().shutdown(min(timeout_millis, exit_seconds_left() * 1000), **kwargs)
