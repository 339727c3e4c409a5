"""The run of a workflow is left once, however it ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider

from pocketflow_otel import Config
from pocketflow_otel.instrument.pflow.adapter import EngineAdapter
from pocketflow_otel.instrument.pflow.workflow_scope import WorkflowInfo
from pocketflow_otel.instrument.tracer import FlowTracer
from pocketflow_otel.instrument.wrapping import call_wrapper, interrupted
from pocketflow_otel.runtime.scope import scope_of


def test_who_interrupts_the_sending_at_the_end_of_a_run_waits_for_it_no_more() -> None:
    flow_tracer = FlowTracer(Config(), TracerProvider(shutdown_on_exit=False))
    adapter = EngineAdapter(flow_tracer, "0.8.1")
    sent: list[object] = []

    def send() -> None:
        sent.append(scope_of())
        raise KeyboardInterrupt

    flow_tracer.after_run = send
    run = call_wrapper(lambda args, kwargs: adapter.open_runner(object(), WorkflowInfo("hello")))
    with pytest.raises(KeyboardInterrupt):
        run(SimpleNamespace)()

    assert (sent, scope_of(), interrupted) == ([None], None, [])
