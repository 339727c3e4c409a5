"""`child_environment()`: what a child process finds of the current span."""

from __future__ import annotations

import os
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider

from pocketflow_otel import child_environment


@pytest.fixture
def tracer() -> trace.Tracer:
    return TracerProvider(shutdown_on_exit=False).get_tracer("test")


def carried(environ: dict[str, str]) -> dict[str, str]:
    names = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
    return {name: environ[name] for name in names if name in environ}


def test_a_child_is_told_of_the_current_span(tracer: trace.Tracer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    with tracer.start_as_current_span("step") as span:
        ids = span.get_span_context()
        environ = child_environment()
    parent = f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"
    assert carried(environ) == {"TRACEPARENT": parent}
    assert environ["PATH"] == "/bin"
    assert "TRACEPARENT" not in os.environ


def test_what_an_outer_trace_left_in_the_environment_is_replaced_whole(tracer: trace.Tracer) -> None:
    stale = {"TRACEPARENT": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "TRACESTATE": "a=b", "HOME": "/"}
    with tracer.start_as_current_span("step"):
        environ = child_environment(stale)
    assert environ["TRACEPARENT"] != stale["TRACEPARENT"]
    assert ("TRACESTATE" in environ, environ["HOME"]) == (False, "/")
    assert len(stale) == 3


def test_baggage_goes_along(tracer: trace.Tracer) -> None:
    token = context.attach(baggage.set_baggage("tenant", "a"))
    try:
        with tracer.start_as_current_span("step"):
            assert carried(child_environment({}))["BAGGAGE"] == "tenant=a"
    finally:
        context.detach(token)


def test_outside_a_span_the_environment_stays_as_it_is() -> None:
    outer: dict[str, Any] = {"TRACEPARENT": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    assert child_environment(outer) == outer
