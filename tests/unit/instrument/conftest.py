"""An instrumentor that is switched off after the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.instrumented import Spans

from pocketflow_otel import Config, PocketFlowInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def instrumentor() -> Iterator[PocketFlowInstrumentor]:
    instrumentor = PocketFlowInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def spans(instrumentor: PocketFlowInstrumentor) -> Spans:
    """Switch tracing on, to a provider of its own."""
    spans = Spans()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    return spans
