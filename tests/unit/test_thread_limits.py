"""A thread of ours that cannot start costs the flow nothing: it is tried again, and what is lost is told."""

from __future__ import annotations

import io
import logging
import threading
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.console.heartbeat import Heartbeat
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp import batch_processor as batches
from pocketflow_otel.export.otlp.batch_processor import Limits, SafeBatchProcessor
from pocketflow_otel.guard import set_strict
from pocketflow_otel.sdk import flush as flush_module
from pocketflow_otel.sdk.flush import flush
from pocketflow_otel.usage import pricing
from pocketflow_otel.usage.payloads import Usage

PATIENCE = 60.0
"""Seconds for what comes."""


class ThreadLimit:
    """Of the system, or of a container; or the interpreter is ending."""

    reached = True


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> ThreadLimit:
    limit, real = ThreadLimit(), threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if limit.reached:
            raise RuntimeError("can't start new thread")
        real(thread)

    set_strict(False)
    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(batches, "EXIT_SECONDS", PATIENCE)
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", PATIENCE)
    return limit


class Sending:
    """A provider whose spans are sent, and what is said about that."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._stream = io.StringIO()
        self.processor = SafeBatchProcessor(
            self.exporter, "http://example:4318", Limits(delay=0.01), stream=LineStream(self._stream)
        )
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    def make(self, name: str) -> None:
        self.provider.get_tracer("test").start_span(name).end()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]

    @property
    def said(self) -> list[str]:
        return self._stream.getvalue().splitlines()


@pytest.fixture
def sent() -> Sending:
    return Sending()


ONCE = "pocketflow-otel: spans do not reach http://example:4318: can't start new thread; the flow goes on"


def test_spans_wait_until_a_thread_can_start(sent: Sending, limit: ThreadLimit) -> None:
    sent.make("a")
    sent.make("b")
    assert (sent.said, sent.processor.force_flush(60_000)) == ([ONCE], False)
    limit.reached = False
    sent.make("c")
    assert sent.processor.force_flush(60_000)
    sent.provider.shutdown()
    assert (sent.names, sent.said) == (["a", "b", "c"], [ONCE])


def test_spans_that_no_thread_could_send_are_told_at_the_end(sent: Sending, limit: ThreadLimit) -> None:
    sent.make("a")
    sent.make("b")
    sent.provider.shutdown()
    lost = "pocketflow-otel: 2 of 2 spans did not reach http://example:4318: can't start new thread"
    assert (sent.names, sent.said) == ([], [ONCE, lost])


def test_the_end_tries_once_more(sent: Sending, limit: ThreadLimit) -> None:
    sent.make("a")
    limit.reached = False
    sent.provider.shutdown()
    assert (sent.names, sent.said) == (["a"], [ONCE])


def test_a_thread_that_died_is_replaced(sent: Sending, limit: ThreadLimit) -> None:
    limit.reached = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sent.processor, "_work", lambda: None)
        sent.make("a")
        worker = sent.processor._worker
        assert worker is not None
        worker.join(PATIENCE)
    sent.make("b")
    assert sent.processor.force_flush(60_000)
    sent.provider.shutdown()
    assert sent.names == ["a", "b"]


def test_what_is_still_running_is_said_once_a_thread_can_start(
    limit: ThreadLimit, caplog: pytest.LogCaptureFixture
) -> None:
    silent = threading.Event()
    heartbeat = Heartbeat(silent.set, 0.001)
    heartbeat.start()
    heartbeat.beat()
    assert [record.getMessage() for record in caplog.records] == [
        "pocketflow-otel could not say what is still running; the flow goes on (reported once)"
    ]
    limit.reached = False
    heartbeat.beat()
    assert silent.wait(PATIENCE)
    heartbeat.stop()


def test_a_heartbeat_that_was_stopped_starts_no_thread(limit: ThreadLimit) -> None:
    limit.reached = False
    heartbeat = Heartbeat(lambda: None, PATIENCE)
    heartbeat.start()
    heartbeat.stop()
    before = threading.active_count()
    heartbeat.beat()
    assert threading.active_count() <= before


def test_failures_that_no_timer_shows_are_shown_by_what_comes_next(
    limit: ThreadLimit, caplog: pytest.LogCaptureFixture
) -> None:
    view = ConsoleView("live", io.StringIO())
    view._schedule_pending()
    assert [record.getMessage() for record in caplog.records] == [
        "pocketflow-otel could not say how many more attempts failed; the flow goes on (reported once)"
    ]
    limit.reached = False
    view._schedule_pending()
    assert view._timer is not None
    view._timer.cancel()


def test_a_price_is_known_where_no_thread_can_load_the_table(
    limit: ThreadLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pricing._Table()
    monkeypatch.setattr(pricing, "table", table)
    book = pricing.PriceBook()
    monkeypatch.setattr(pricing, "_PATIENCE", 1e6)  # It is not waited for at all.
    book.load()
    book.wait()
    assert book.price(Usage(1000, model="gpt-4o-mini"), datetime(2025, 1, 1, tzinfo=UTC))
    assert not book.ready
    limit.reached = False
    book.wait()
    assert book.ready


def test_a_run_ends_where_no_thread_can_flush(
    sent: Sending, limit: ThreadLimit, caplog: pytest.LogCaptureFixture
) -> None:
    flush(sent.provider)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "pocketflow-otel could not send the spans of a run; the flow goes on (reported once)",
        )
    ]
