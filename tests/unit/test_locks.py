"""Every lock of ours may be met again in the thread that holds it, and what it guards stays sound.

A signal handler of the program may run a flow, the garbage collector may end a step of an abandoned
coroutine, and a stream's `write` may be anybody's code: all of it wherever we just are.
"""

from __future__ import annotations

import ast
import io
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pocketflow import Flow
from tests.support.source_tree import files, parsed, place
from tests.support.steps import Step, named
from tests.support.views import viewed

from pocketflow_otel import semconv
from pocketflow_otel.export import run_assembler
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp import batch_processor as batches
from pocketflow_otel.export.otlp.batch_processor import Limits, SafeBatchProcessor
from pocketflow_otel.export.run_assembler import RunAssembler
from pocketflow_otel.runtime.run import Run
from pocketflow_otel.runtime.scope import Scope
from pocketflow_otel.store.observation import StoreObservation
from pocketflow_otel.usage import pricing
from pocketflow_otel.usage.store_usage import CountedUsages
from pocketflow_otel.views.styled_text import Part

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0
"""Seconds for what comes; a thread that waits for itself takes longer."""


def ends(call: Callable[[], object]) -> bool:
    """Return whether a call comes to its end, in a thread that may be left behind."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def once(call: Callable[[], object]) -> Callable[..., None]:
    """Return what makes a call the first time alone."""
    calls = [call]
    return lambda *_: calls.pop()() and None if calls else None


class Chatty(io.StringIO):
    """A stream that has something done when it is written to."""

    doing: Callable[..., None] = staticmethod(lambda: None)

    def write(self, text: str) -> int:
        self.doing()
        return super().write(text)


def test_a_line_is_written_amid_another() -> None:
    stream = Chatty()
    lines = LineStream(stream)
    stream.doing = once(lambda: lines.write((Part("inner"),)))
    assert ends(lambda: lines.write((Part("outer"),)))
    assert stream.getvalue() == "inner\nouter\n"


def span(name: str, parent: str, **attributes: object) -> Any:
    return SimpleNamespace(trace_id="t", span_id=name, parent_id=parent, attributes=attributes)


def test_a_span_arrives_while_a_run_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a later run's of the same trace, which loses nothing."""
    runs = RunAssembler()
    root = {semconv.RUN_ID: "x"}
    monkeypatch.setattr(run_assembler, "record_of", lambda given: given)
    spans = [span("step", "one"), span("early", "two"), span("one", "", **root)]
    amid = once(lambda: list(runs.add([span("late", "two")])))
    below = run_assembler._below
    monkeypatch.setattr(run_assembler, "_below", lambda *given: (amid(), below(*given))[1])

    found: list[list[str]] = []

    def add() -> None:
        for each in (*spans, span("two", "", **root)):
            found.extend([member.span_id for member in run] for _, run in runs.add([each]))

    assert ends(add)
    assert found == [["step", "one"], ["early", "late", "two"]]


def test_a_step_opens_and_closes_while_another_opens_on_its_store() -> None:
    """The other stays open: a third that overlaps with it is told so."""
    store: dict[str, int] = {}

    class Parent:
        opens = staticmethod(once(lambda: StoreObservation(store, None, None).close()))

        @property
        def parent(self) -> None:
            self.opens()

    opened: list[StoreObservation] = []
    assert ends(lambda: opened.append(StoreObservation(store, Parent(), None)))  # type: ignore[arg-type]
    other = StoreObservation(store, None, None)
    assert (opened[0].concurrent, other.concurrent) == (True, True)
    other.close()
    opened[0].close()


def test_an_interrupt_while_a_step_opens_leaves_its_store_to_nobody() -> None:
    from pocketflow_otel.store import observation

    class Parent:
        @property
        def parent(self) -> None:
            raise KeyboardInterrupt

    before = dict(observation._stores)
    with pytest.raises(KeyboardInterrupt):
        StoreObservation({}, Parent(), None)  # type: ignore[arg-type]
    assert observation._stores == before


def test_a_price_is_needed_while_the_thread_that_loads_them_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pricing._Table()
    monkeypatch.setattr(pricing, "_ask", lambda *call: None)
    amid = once(table.start)
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "pocketflow-otel-prices":
            amid()
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    assert ends(lambda: table.wait(PATIENCE))
    assert table.ready


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> SafeBatchProcessor:
    monkeypatch.setattr(batches, "EXIT_SECONDS", PATIENCE)
    return SafeBatchProcessor(
        InMemorySpanExporter(), "http://example", Limits(delay=0.01), stream=LineStream(io.StringIO())
    )


def test_a_span_ends_while_the_thread_that_sends_spans_starts(
    processor: SafeBatchProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    begun: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if thread.name == "pocketflow-otel-otlp":
            begun.append(thread)
            amid()
        real(thread)

    amid = once(lambda: tracer.start_span("amid").end())
    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    assert ends(lambda: tracer.start_span("span").end())
    provider.shutdown()
    exporter: Any = processor._exporter
    assert sorted(each.name for each in exporter.get_finished_spans()) == ["amid", "span"]
    assert len(begun) == 1


def test_a_signal_handler_that_raises_leaves_the_queue_unlocked(
    processor: SafeBatchProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own condition takes its lock in a function, where a handler may raise."""

    enter = threading.Condition.__enter__

    def interrupted(condition: Any) -> bool:
        entered = enter(condition)
        if condition is processor._changed:
            raise KeyboardInterrupt
        return entered

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, "__enter__", interrupted)
        provider.get_tracer("test").start_span("span").end()
    assert ends(lambda: processor._lock.acquire() and processor._lock.release())
    provider.shutdown()


def test_a_step_ends_amid_the_sums_of_its_run() -> None:
    """A scope is closed while another of the run adds itself up: both are counted."""
    run = Run(pricing.PriceBook())
    root = Scope("flow", None, None, None, run)

    class Closing(list[Any]):
        closes = staticmethod(once(lambda: Scope("node", None, None, root, run).add_to_parent()))

        def __iter__(self) -> Any:
            self.closes()
            return super().__iter__()

    assert ends(lambda: root.record(Closing()))
    assert root.steps == 1


class View:
    """Shows nothing, and runs a flow when it has a step to show."""

    def __init__(self, runs: Callable[..., None]) -> None:
        self.span_started = runs

    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


def test_a_run_starts_amid_a_call_of_a_view() -> None:
    steps: list[str] = []
    inner = named(Flow(start=Step("B", 0, lambda shared: steps.append("B"))), "inner")
    outer = named(Flow(start=Step("A", 0, lambda shared: steps.append("A"))), "outer")
    with viewed(View(once(lambda: inner.run({})))):  # type: ignore[arg-type]
        assert ends(lambda: outer.run({}))
    assert steps == ["B", "A"]


def test_a_usage_is_counted_amid_another() -> None:
    counted = CountedUsages()

    class Lazy(dict):  # type: ignore[type-arg]
        reads = staticmethod(once(lambda: counted.take({}, {"prompt_tokens": 2}, None)))

        def get(self, *name: Any) -> Any:
            self.reads()
            return super().get(*name)

    taken: list[int] = []
    lazy = Lazy(prompt_tokens=1)
    assert ends(lambda: taken.extend(usage.input_tokens for usage in counted.take({}, lazy, None)))
    assert taken == [1]


HOSTILE = {
    "export/console/terminal.py": test_a_line_is_written_amid_another,
    "export/otlp/batch_processor.py": test_a_span_ends_while_the_thread_that_sends_spans_starts,
    "export/run_assembler.py": test_a_span_arrives_while_a_run_is_put_together,
    "export/run_processor.py": test_a_run_starts_amid_a_call_of_a_view,
    "runtime/run.py": test_a_step_ends_amid_the_sums_of_its_run,
    "store/observation.py": test_a_step_opens_and_closes_while_another_opens_on_its_store,
    "usage/pricing.py": test_a_price_is_needed_while_the_thread_that_loads_them_starts,
    "usage/store_usage.py": test_a_usage_is_counted_amid_another,
}


def made_in(name: str) -> set[str]:
    """Return the files that make a thing of `threading`."""
    return {
        place(path)
        for path in files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (name, f"threading.{name}")
    }


def test_every_lock_is_reentrant_and_has_a_hostile_test() -> None:
    assert made_in("Lock") | made_in("Semaphore") | made_in("BoundedSemaphore") == set()
    assert made_in("RLock") == {*HOSTILE}
