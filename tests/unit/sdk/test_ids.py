"""Private ids: what a seeded program draws stays as it is."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pocketflow
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from tests.support.steps import Step

from pocketflow_otel import Config, PocketFlowInstrumentor, configure
from pocketflow_otel.sdk.ids import PrivateIdGenerator


def numbers() -> list[float]:
    return [random.random() for _ in range(3)]


def seeded() -> list[float]:
    """Do what a seeded program does: draw, run a flow, draw."""
    random.seed(7)
    first = numbers()
    pocketflow.Flow(start=Step("A")).run({})
    return first + numbers()


@pytest.fixture
def bare() -> list[float]:
    random.seed(7)
    return numbers() + numbers()


def test_a_seeded_program_is_not_changed_by_configure(bare: list[float]) -> None:
    configure(console="off", file="off")

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_gave_to_instrument(bare: list[float]) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_set_before(bare: list[float]) -> None:
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    PocketFlowInstrumentor().instrument(config=Config())

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_set_afterwards(bare: list[float]) -> None:
    PocketFlowInstrumentor().instrument(config=Config())
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))

    assert seeded() == bare


def test_tracers_that_were_there_before_have_private_ids_too(bare: list[float]) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("theirs")
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())
    random.seed(7)
    tracer.start_span("s").end()

    assert numbers() == bare[:3]


def test_an_id_generator_that_somebody_chose_stays() -> None:
    class Chosen(RandomIdGenerator):
        pass

    chosen = Chosen()
    provider = TracerProvider(id_generator=chosen, shutdown_on_exit=False)
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())

    assert provider.id_generator is chosen


def test_private_ids_have_the_bits_they_should_and_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    generator: IdGenerator = PrivateIdGenerator()
    spans = [generator.generate_span_id() for _ in range(1000)]
    traces = [generator.generate_trace_id() for _ in range(1000)]

    assert len({*spans, *traces}) == 2000
    assert 2**63 < max(spans) < 2**64
    assert 2**127 < max(traces) < 2**128
    assert generator.is_trace_id_random() is True

    drawn = iter([0, 5, 0, 6])
    monkeypatch.setattr(PrivateIdGenerator, "_random", SimpleNamespace(getrandbits=lambda bits: next(drawn)))
    assert (generator.generate_span_id(), generator.generate_trace_id()) == (5, 6)
