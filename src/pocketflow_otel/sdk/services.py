"""Provide what the instrumentation asks of the SDK's side: see `instrument.sdk_services`."""

from __future__ import annotations

from pocketflow_otel.export.console.terminal import end_lines
from pocketflow_otel.sdk.flush import flush
from pocketflow_otel.sdk.provider import prepare_provider, shows_live

__all__ = ["end_lines", "flush", "prepare_provider", "shows_live"]
