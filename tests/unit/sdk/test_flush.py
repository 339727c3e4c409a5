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


class Slow(SpanProcessor):
    """Holds up a flush, whatever time it is given, as the SDK's own processor does."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.may_go_on = threading.Event()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.asked.append(timeout_millis)
        return self.may_go_on.wait(60)


def test_a_flush_is_bounded_whatever_the_processors_do_and_holds_up_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.2)
    provider, slow = TracerProvider(shutdown_on_exit=False), Slow()
    provider.add_span_processor(slow)
    for _ in range(3):
        flush(provider)  # Would never end, else.
    asked_while_it_went_on = len(slow.asked)
    slow.may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "pocketflow-otel-flush":
            thread.join()
    flush(provider)
    flush(None)

    assert asked_while_it_went_on == 1
    assert [170 < milliseconds <= 190 for milliseconds in slow.asked] == [True, True]


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
