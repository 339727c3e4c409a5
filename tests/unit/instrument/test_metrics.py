"""Metrics of flows and nodes: what is counted, under which names, and what it costs without a reader."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pocketflow_otel import Config, record_usage
from pocketflow_otel.instrument.metrics import metrics_of
from pocketflow_otel.instrument.pocketflow import PocketFlowPatcher
from pocketflow_otel.instrument.tracer import FlowTracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

Points = dict[str, list["NumberDataPoint | HistogramDataPoint"]]


class Measured:
    """The points recorded so far."""

    def __init__(self, reader: InMemoryMetricReader, exporter: InMemorySpanExporter) -> None:
        self._reader = reader
        self.spans = exporter.get_finished_spans

    def points(self) -> Points:
        data = self._reader.get_metrics_data()
        found: Points = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = list(metric.data.data_points)
        return found

    def counts(self) -> dict[str, dict[tuple[tuple[str, object], ...], float]]:
        """Return, by metric and attributes, a counter's value and how often a histogram was recorded."""
        return {
            name: {
                tuple(sorted((point.attributes or {}).items())): getattr(
                    point, "count", getattr(point, "value", None)
                )
                for point in points
            }
            for name, points in self.points().items()
        }


@contextmanager
def measured(config: Config | None = None) -> Iterator[Measured]:
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    traces, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    patched = PocketFlowPatcher(pocketflow, FlowTracer(config or Config(), traces, meter_provider=meters))
    patched.patch()
    try:
        yield Measured(reader, exporter)
    finally:
        patched.undo()
        meters.shutdown()


class Ask(pocketflow.Node):
    failures = 1

    def exec(self, prepared: object) -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("busy")
        return "42"


class Items(pocketflow.BatchNode):
    def prep(self, shared: object) -> list[int]:
        return [1, 2, 3]


def named(flow: Any, name: str) -> Any:
    flow.name = name
    return flow


FLOW = ("gen_ai.workflow.name", "qa")
OK = ("pocketflow.status", "ok")


def node(name: str) -> tuple[str, str]:
    return ("pocketflow.node.name", name)


def test_a_run_is_counted_and_its_flow_nodes_and_attempts_are_measured() -> None:
    with measured() as seen:
        ask = Ask(max_retries=3)
        ask >> Items()
        named(pocketflow.Flow(start=ask), "qa").run({})
        assert seen.counts() == {
            "gen_ai.invoke_workflow.duration": {(FLOW, OK): 1},
            "pocketflow.node.duration": {(FLOW, node("Ask"), OK): 1, (FLOW, node("Items"), OK): 1},
            "pocketflow.node.attempts": {(FLOW, node("Ask")): 2, (FLOW, node("Items")): 3},
            "pocketflow.runs": {(FLOW, OK): 1},
        }


def test_items_beyond_the_limit_of_spans_are_counted_too() -> None:
    with measured(Config(max_batch_items=0)) as seen:
        named(pocketflow.Flow(start=Items()), "qa").run({})
        assert seen.counts()["pocketflow.node.attempts"] == {(FLOW, node("Items")): 3}


def test_what_fails_says_so_with_its_type() -> None:
    with measured() as seen:
        failing = named(pocketflow.Flow(start=Ask(max_retries=1)), "qa")
        with pytest.raises(ConnectionError):
            failing.run({})
        error = (("error.type", "ConnectionError"),)
        status = ("pocketflow.status", "error")
        assert seen.counts() == {
            "gen_ai.invoke_workflow.duration": {(*error, FLOW, status): 1},
            "pocketflow.node.duration": {(*error, FLOW, node("Ask"), status): 1},
            "pocketflow.node.attempts": {(FLOW, node("Ask")): 1},
            "pocketflow.runs": {(*error, FLOW, status): 1},
        }


def test_a_nested_flow_is_no_run_and_names_its_own_nodes() -> None:
    with measured() as seen:
        inner = named(pocketflow.Flow(start=Items()), "inner")
        named(pocketflow.Flow(start=inner), "qa").run({})
        inside = ("gen_ai.workflow.name", "inner")
        assert seen.counts()["pocketflow.runs"] == {(FLOW, OK): 1}
        assert seen.counts()["pocketflow.node.duration"] == {(inside, node("Items"), OK): 1}
        assert seen.counts()["gen_ai.invoke_workflow.duration"] == {(FLOW, OK): 1, (inside, OK): 1}


def test_a_duration_is_in_seconds_and_leads_to_its_span() -> None:
    class Slow(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            time.sleep(0.05)

    with measured() as seen:
        named(pocketflow.Flow(start=Slow()), "qa").run({})
        (point,) = seen.points()["pocketflow.node.duration"]
        (span,) = (span for span in seen.spans() if span.name == "invoke_node Slow")
        assert 0.05 <= point.sum < 40  # as milliseconds it were at least 50
        assert [exemplar.span_id for exemplar in point.exemplars] == [span.context.span_id]


def test_usage_of_a_step_without_client_spans_and_the_cost_of_the_run_are_measured() -> None:
    class Call(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            record_usage({"prompt_tokens": 100, "completion_tokens": 50, "cost": 0.25}, model="m")
            record_usage({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5}, model="m")

    with measured() as seen:
        named(pocketflow.Flow(start=Call()), "qa").run({})
        model = ("gen_ai.request.model", "m")
        assert seen.counts()["pocketflow.cost"] == {(model, FLOW): 0.75}
        tokens = {
            dict(point.attributes or {})["gen_ai.token.type"]: (point.count, point.sum)
            for point in seen.points()["gen_ai.client.token.usage"]
        }
        assert tokens == {"input": (2, 110), "output": (2, 55)}


def test_nothing_is_recorded_while_nobody_reads() -> None:
    assert metrics_of(None) is None
    assert metrics_of(MeterProvider(shutdown_on_exit=False)) is None
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    assert metrics_of(provider) is not None
    provider.shutdown()
