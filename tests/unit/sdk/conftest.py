"""What the tests of setting up the SDK share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from pocketflow_otel import PflowInstrumentor, PocketFlowInstrumentor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_provider_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test begin as a process does: no global provider, nothing instrumented."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    for instrumentor in (PocketFlowInstrumentor(), PflowInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
