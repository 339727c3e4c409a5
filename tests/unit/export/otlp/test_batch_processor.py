"""Spans are sent in batches; when they do not arrive, that is said once, and nothing waits for long."""

from __future__ import annotations

import io
import logging
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import get_value
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp import batch_processor as batches
from pocketflow_otel.export.otlp.batch_processor import Limits, SafeBatchProcessor
from pocketflow_otel.sdk import flush as flush_module
from pocketflow_otel.sdk.flush import flush
from pocketflow_otel.sdk.provider import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

exporter_log = logging.getLogger("opentelemetry.exporter.otlp.test")
PATIENCE = 60.0
"""Seconds for what comes; nobody waits so long for what does not."""


class Memory(SpanExporter):
    """Keeps what it is given, batch by batch; can be told to fail, to wait, how long, and what to log."""

    def __init__(self, *, fails: bool = False, logs: str = "", seconds: Sequence[float] = ()) -> None:
        self.batches: list[list[str]] = []
        self.fails, self.logs, self.seconds = fails, logs, list(seconds)
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.suppressed: object = None
        self.stopped: list[float | None] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.begun.set()
        self.suppressed = get_value("suppress_instrumentation")
        if self.logs:
            exporter_log.error(self.logs)
        self.gate.wait()
        if self.seconds:
            time.sleep(self.seconds.pop(0))
        if self.fails:
            return SpanExportResult.FAILURE
        self.batches.append([span.name for span in spans])
        return SpanExportResult.SUCCESS

    def shutdown(self, timeout_millis: float | None = None) -> None:
        self.stopped.append(timeout_millis)

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


@pytest.fixture(autouse=True)
def _a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_exit_deadline", float("-inf"))
    monkeypatch.setattr(batches, "EXIT_SECONDS", PATIENCE)
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", PATIENCE)


@pytest.fixture
def exit_seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what those that are shut down are told that they may take."""
    noted: list[float] = []
    left = batches.exit_seconds_left

    def note() -> float:
        noted.append(left())
        return noted[-1]

    monkeypatch.setattr(batches, "exit_seconds_left", note)
    return noted


class Watched(threading.Condition):
    """Notes the seconds that flushes and the end are ready to wait, and does what it is told to then."""

    def __init__(self, lock: Any) -> None:
        super().__init__(lock)
        self.seconds: list[float] = []
        self.then: Callable[[], object] = lambda: None

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        if timeout is not None and threading.current_thread().name != "pocketflow-otel-otlp":
            self.seconds.append(timeout)
            self.then()
        return super().wait_for(predicate, timeout)


class Sending:
    """A provider with one processor, and what that said."""

    def __init__(self, exporter: Memory, limits: Limits, **options: Any) -> None:
        self.exporter = exporter
        self._stream = io.StringIO()
        sampler = options.pop("sampler", None)
        self.processor = SafeBatchProcessor(
            exporter, "http://example:4318", limits, stream=LineStream(self._stream), **options
        )
        self.waits = self.processor._changed = Watched(self.processor._lock)
        self.provider = TracerProvider(shutdown_on_exit=False, sampler=sampler)
        self.provider.add_span_processor(self.processor)
        self._tracer = self.provider.get_tracer("test")

    def make(self, *names: object) -> None:
        for name in names:
            self._tracer.start_span(str(name)).end()

    @property
    def said(self) -> list[str]:
        return self._stream.getvalue().splitlines()


@contextmanager
def sending(exporter: Memory, limits: Limits | None = None, **options: Any) -> Iterator[Sending]:
    sending = Sending(exporter, limits or Limits(delay=0.01), **options)
    try:
        yield sending
    finally:
        exporter.gate.set()
        sending.provider.shutdown()


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def lost_by_silence(line: str) -> tuple[str, float]:
    """Return what a line says was lost, and how long it says that nobody answered."""
    found = re.fullmatch(r"pocketflow-otel: (.+): no answer within ([\d.]+) s", line)
    assert found is not None, line
    return found[1], float(found[2])


def held_up(sent: Sending) -> bool:
    """Let a run end, and tell whether it waited for its spans to be sent."""
    before = len(sent.waits.seconds)
    flush(sent.provider)
    late = state_of(sent.provider).late_flush
    if late is not None:
        late.join()
    return len(sent.waits.seconds) > before


def test_spans_are_sent_without_being_asked() -> None:
    with sending(Memory()) as sent:
        sent.make("a", "b")
        until(lambda: sent.exporter.names == ["a", "b"])
    assert sent.said == []


def test_spans_wait_for_others_but_not_longer_than_the_delay() -> None:
    delays: list[float] = []
    is_over = False

    class Delay(threading.Condition):
        """Ends when the test says so."""

        def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
            if timeout is None:
                return super().wait_for(predicate)
            delays.append(timeout)
            return super().wait_for(lambda: is_over or predicate())

    with sending(Memory(), Limits(batch=100, delay=0.15)) as sent:
        sent.processor._changed = delay = Delay(sent.processor._lock)
        sent.make("a", "b", "c")
        assert sent.exporter.batches == []
        with delay:
            is_over = True
            delay.notify_all()
        until(lambda: sent.exporter.batches == [["a", "b", "c"]])
    assert set(delays) == {0.15}


def test_a_full_batch_does_not_wait() -> None:
    with sending(Memory(), Limits(batch=3, delay=60)) as sent:
        sent.make("a", "b", "c")
        until(lambda: sent.exporter.batches == [["a", "b", "c"]])


def test_what_waits_is_sent_at_the_end() -> None:
    with sending(Memory(), Limits(batch=2, delay=60)) as sent:
        sent.make("a", "b", "c")
    assert sent.exporter.names == ["a", "b", "c"]
    assert len(sent.exporter.stopped) == 1


def test_a_process_without_spans_starts_no_thread() -> None:
    before = set(threading.enumerate())
    with sending(Memory()):
        assert set(threading.enumerate()) <= before


def test_what_the_exporter_does_is_not_traced() -> None:
    with sending(Memory()) as sent:
        sent.make("a")
    assert sent.exporter.suppressed is True


def test_spans_that_are_sampled_out_are_not_sent_and_not_counted() -> None:
    with sending(Memory(fails=True), sampler=sampling.ALWAYS_OFF) as sent:
        sent.make("a")
    assert (sent.exporter.batches, sent.said) == ([], [])


def test_the_oldest_are_lost_when_the_queue_is_full_and_that_is_said_at_the_end() -> None:
    exporter = Memory()
    with sending(exporter, Limits(queue=3, batch=1, delay=0.01)) as sent:
        exporter.gate.clear()
        sent.make("first")
        assert exporter.begun.wait(PATIENCE)
        sent.make(*range(10))
        exporter.gate.set()
    assert exporter.names == ["first", "7", "8", "9"]
    assert sent.said == [
        "pocketflow-otel: 7 of 11 spans did not reach http://example:4318: more ended than could be sent"
    ]


def test_a_failure_is_told_once_with_its_reason_and_at_the_end_comes_the_number() -> None:
    exporter = Memory(fails=True, logs="Failed to export, error details: connection refused")
    with sending(exporter) as sent:
        for number in range(3):
            sent.make(number)
            assert sent.processor.force_flush(60_000)
    assert sent.said == [
        "pocketflow-otel: spans do not reach http://example:4318: connection refused; the flow goes on",
        "pocketflow-otel: 3 of 3 spans did not reach http://example:4318: connection refused",
    ]


def test_a_short_flow_is_told_once() -> None:
    with sending(Memory(fails=True, logs="no"), Limits(delay=60), kept_on_disk=lambda: True) as sent:
        sent.make("a", "b")
    (line,) = sent.said
    assert line.startswith("pocketflow-otel: 2 of 2 spans did not reach http://example:4318: no; ")
    assert line.endswith("; the trace files have them, for pocketflow-otel send")


def test_what_an_exporter_logs_is_not_seen_and_what_others_log_is(caplog: pytest.LogCaptureFixture) -> None:
    with sending(Memory(fails=True, logs="noise")) as sent:
        sent.make("a")
        sent.processor.force_flush(60_000)
        exporter_log.error("of another processor")
    assert [record.getMessage() for record in caplog.records] == ["of another processor"]


def test_an_exporter_that_raises_is_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    from pocketflow_otel.guard import set_strict

    class Raises(Memory):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise RuntimeError("broken")

    set_strict(False)
    with sending(Raises()) as sent:
        sent.make("a", "b")
    assert sent.said[-1].startswith("pocketflow-otel: 2 of 2 spans did not reach http://example:4318: ")


def test_the_end_does_not_wait_for_an_exporter_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "EXIT_SECONDS", 0.3)
    exporter = Memory()
    with sending(exporter, Limits(batch=2, delay=60)) as sent:
        exporter.gate.clear()
        sent.make(1, 2)
        assert exporter.begun.wait(PATIENCE)
        sent.make(3, 4, 5)
        sent.provider.shutdown()  # Before the gate opens.
    (line,) = sent.said
    lost, seconds = lost_by_silence(line)
    assert lost == "5 of 5 spans did not reach http://example:4318 (2 of them may have)"
    assert seconds > 0.25
    assert exporter.stopped == [0]  # Nor does it wait for the exporter to stop.


def test_several_that_end_together_share_the_time(
    exit_seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "EXIT_SECONDS", 0.3)
    # A clock that goes on by what was waited.
    monkeypatch.setattr(batches, "monotonic", lambda: sum(exit_seconds))
    all_of_them = [Sending(Memory(), Limits(delay=0.01)) for _ in range(10)]
    for sent in all_of_them:
        sent.exporter.gate.clear()
        sent.make("a")
        assert sent.exporter.begun.wait(PATIENCE)
    for sent in all_of_them:
        sent.provider.shutdown()
    for sent in all_of_them:
        sent.exporter.gate.set()
    assert len(exit_seconds) == 10
    assert sum(exit_seconds) < 10 * 0.3 - 0.5


def test_a_flush_waits_until_all_has_been_sent_and_no_longer_than_it_may() -> None:
    exporter = Memory()
    with sending(exporter, Limits(delay=60)) as sent:
        sent.make("a")
        assert sent.processor.force_flush() is True
        assert exporter.names == ["a"]
        exporter.gate.clear()
        sent.make("b")
        assert sent.processor.force_flush(100) is False
        assert sent.waits.seconds[-1] == 0.1


# The flush at the end of a run, after which a process goes on


def test_a_run_that_has_ended_takes_nothing_of_the_time_that_the_end_has(exit_seconds: list[float]) -> None:
    exporter = Memory()
    with sending(exporter, Limits(delay=60)) as sent:
        sent.make("a")
        flush(sent.provider)
        assert exporter.names == ["a"]
        time.sleep(0.05)
        exporter.seconds = [0.05]
        sent.make("b")
        sent.provider.shutdown()
    assert (exporter.names, sent.said) == (["a", "b"], [])
    assert exit_seconds == [pytest.approx(PATIENCE, abs=0.01)]


def test_the_end_does_not_wait_again_for_what_a_run_waited_for_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "EXIT_SECONDS", 1.0)
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.8)
    exporter = Memory()
    with sending(exporter, Limits(batch=1, delay=60)) as sent:
        exporter.gate.clear()
        sent.make("a")
        assert exporter.begun.wait(PATIENCE)
        assert held_up(sent)
        sent.provider.shutdown()
    lost, silence = lost_by_silence(*sent.said)
    assert lost == "1 of 1 spans did not reach http://example:4318 (1 of them may have)"
    assert silence > 0.95
    at_the_flush, at_the_end = sent.waits.seconds
    assert at_the_flush < 0.79
    assert at_the_flush + at_the_end < 1.01


def test_one_that_answers_at_the_end_after_all_has_the_whole_time_of_the_end(
    exit_seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.2)
    later = 0.0
    monkeypatch.setattr(batches, "monotonic", lambda: time.monotonic() + later)

    def wait_long() -> None:
        nonlocal later
        later = 40.0

    exporter = Memory()
    with sending(exporter, Limits(batch=1, delay=60)) as sent:
        exporter.gate.clear()
        sent.make("a")
        assert exporter.begun.wait(PATIENCE)
        sent.waits.then = wait_long
        assert held_up(sent)
        sent.make("b")
        sent.waits.then = exporter.gate.set
        sent.provider.shutdown()
    assert (exporter.names, sent.said) == (["a", "b"], [])
    for_the_first, for_the_others = sent.waits.seconds[-1], exit_seconds[-1]
    assert for_the_first <= PATIENCE - 40
    assert for_the_others > PATIENCE - 40


def test_one_that_does_not_answer_holds_up_one_run_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.2)
    exporter = Memory()
    with sending(exporter, Limits(batch=1, delay=60)) as sent:
        waited = []
        exporter.gate.clear()
        for name in "abc":
            sent.make(name)
            assert exporter.begun.wait(PATIENCE)
            waited.append(held_up(sent))
        exporter.gate.set()
        assert sent.processor.force_flush(60_000)
        assert exporter.names == ["a", "b", "c"]
        exporter.gate.clear()
        exporter.begun.clear()
        sent.make("d")
        assert exporter.begun.wait(PATIENCE)
        waited.append(held_up(sent))
    assert waited == [True, False, False, True]
    assert exporter.names == ["a", "b", "c", "d"]


def test_one_that_refuses_holds_up_no_further_run_until_it_takes_something() -> None:
    exporter = Memory(fails=True)
    with sending(exporter, Limits(delay=0.1)) as sent:
        sent.make("a")
        assert held_up(sent)
        exporter.fails = False
        exporter.gate.clear()
        sent.make("b")
        assert not held_up(sent)
        assert exporter.names == []
        exporter.gate.set()
        until(lambda: exporter.names == ["b"])
        assert sent.processor.force_flush(60_000)  # It has come back, too.
        sent.make("c")
        assert held_up(sent)
        assert exporter.names == ["b", "c"]


def test_a_flush_that_a_program_asks_for_waits_for_one_that_refused_before() -> None:
    exporter = Memory(fails=True)
    with sending(exporter, Limits(delay=60)) as sent:
        sent.make("a")
        flush(sent.provider)
        exporter.fails = False
        sent.make("b")
        assert sent.provider.force_flush(60_000) is True
        assert exporter.names == ["b"]


def test_a_flush_that_gives_up_leaves_the_others_theirs() -> None:
    exporter = Memory()
    with sending(exporter, Limits(delay=600)) as sent:
        exporter.gate.clear()
        sent.make("a")
        flushed: list[bool] = []
        patient = threading.Thread(target=lambda: flushed.append(sent.processor.force_flush(60_000)))
        patient.start()
        assert exporter.begun.wait(PATIENCE)
        sent.make("b")
        assert sent.processor.force_flush(100) is False
        exporter.gate.set()
        patient.join()
        assert (flushed, exporter.names) == ([True], ["a", "b"])


def test_spans_that_end_after_the_end_are_left_alone() -> None:
    with sending(Memory()) as sent:
        sent.provider.shutdown()
        sent.make("late")
    assert (sent.exporter.batches, sent.said) == ([], [])


@pytest.mark.parametrize(
    ("variables", "limits"),
    [
        ({}, Limits(queue=16_384, batch=512, delay=1.0)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, Limits(queue=100, batch=100, delay=1.0)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "7"}, Limits(queue=16_384, batch=7, delay=1.0)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "250"}, Limits(queue=16_384, batch=512, delay=0.25)),
        ({"OTEL_BSP_SCHEDULE_DELAY": " "}, Limits(queue=16_384, batch=512, delay=1.0)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0", "OTEL_BSP_SCHEDULE_DELAY": "-1"}, Limits(1, 1, 0.001)),
    ],
)
def test_the_sdks_own_variables_size_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], limits: Limits
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Limits.from_env() == limits


def test_a_size_that_is_no_number_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    assert Limits.from_env() == Limits()
    assert caplog.messages == ["OTEL_BSP_MAX_QUEUE_SIZE='many': a number; 16384 is used"]
