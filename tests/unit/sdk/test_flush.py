"""A flush is bounded, and holds up one run at most."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from pocketflow_otel.guard import set_strict
from pocketflow_otel.sdk import flush as flush_module
from pocketflow_otel.sdk.flush import flush

if TYPE_CHECKING:
    import pytest


class Slow(TracerProvider):
    """Takes its time for a flush, whatever it is given, as one with the SDK's own processor does."""

    def __init__(self) -> None:
        super().__init__(shutdown_on_exit=False)
        self.asked: list[int] = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.asked.append(timeout_millis)
        self.begun.set()
        return self.may_go_on.wait(60)


def wait_for_flushes() -> None:
    for thread in threading.enumerate():
        if thread.name == "pocketflow-otel-flush":
            thread.join()


def test_a_flush_is_bounded_whatever_the_processors_do_and_holds_up_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.2)
    slow = Slow()
    for _ in range(3):
        flush(slow)  # Would never end, else.
    assert slow.begun.wait(60)
    asked_while_it_went_on = len(slow.asked)
    slow.may_go_on.set()
    wait_for_flushes()
    flush(slow)
    flush(None)
    wait_for_flushes()

    assert asked_while_it_went_on == 1
    assert slow.asked == [190, 190]


def test_a_flush_that_fails_is_ours_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            raise RuntimeError("broken")

    set_strict(False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    flush(provider)

    assert caplog.messages == [
        "pocketflow-otel could not send the spans of a run; the flow goes on (reported once)"
    ]
