"""Run flows with fixed ids and clock, and see what the views make of them."""

from __future__ import annotations

import io
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.support.steps import clock

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.run_processor import RunProcessor
from pocketflow_otel.instrument.tracer import FlowTracer
from pocketflow_otel.runtime.clock import RunClock
from pocketflow_otel.testing import START, capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import TracerProvider

    from pocketflow_otel.config import Config, ConsoleMode
    from pocketflow_otel.export.run_processor import View
    from pocketflow_otel.testing import CapturedSpans


def _by_our_clock(config: Config, provider: TracerProvider, **clocks: object) -> FlowTracer:
    return FlowTracer(config, provider, new_clock=lambda: RunClock(lambda: clock.now, clock))


@contextmanager
def viewed(*views: View, config: Config | None = None) -> Iterator[CapturedSpans]:
    """Trace PocketFlow in the block, and show its runs to the views."""
    clock.now = START
    processor = RunProcessor()
    processor.views = views
    with (
        patch("pocketflow_otel.instrument.tracer.FlowTracer", _by_our_clock),
        capture_spans(config) as captured,
        patch("opentelemetry.sdk.trace.time_ns", clock),
        patch("time.time_ns", clock),
    ):
        captured.provider.add_span_processor(processor)
        yield captured


def console_output(
    run: Callable[[], object], *, mode: ConsoleMode = "live", config: Config | None = None
) -> str:
    """Return what the console view prints of what `run()` does."""
    stream = io.StringIO()
    with patch.dict(os.environ):
        for variable in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(variable, None)
        view = ConsoleView(mode, stream)
    with viewed(view, config=config):
        run()
    return re.sub(r"(\w+\.py):\d+", r"\1", stream.getvalue())  # Lines move.
