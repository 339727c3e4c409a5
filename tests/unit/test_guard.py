"""Guards swallow and report what our code raises, once per place; the user's own passes."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from pocketflow_otel.guard import PassThroughError, guard, logger, set_strict

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _lenient(_strict_guards: None) -> None:
    set_strict(False)


@pytest.fixture
def broken_handler() -> Iterator[None]:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError

    handler = Broken()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def fail(place: str, error: BaseException) -> None:
    with guard(place):
        raise error


def test_an_error_of_ours_is_swallowed_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("ours")
    fail("open a span", error)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage(), record.exc_info and record.exc_info[1]) == (
        "pocketflow_otel",
        "WARNING",
        "pocketflow-otel could not open a span; the flow goes on (reported once)",
        error,
    )


def test_what_went_well_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    done = []
    with guard("do it"):
        done.append(1)
    assert (done, caplog.records) == ([1], [])


def test_a_place_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    for place in ("open a span", "open a span", "end a span", "open a span"):
        fail(place, ValueError())
    assert [record.args for record in caplog.records] == [("open a span",), ("end a span",)]


def test_every_error_counts_anew_after_a_reset(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        fail("open a span", ValueError())
        set_strict(False)
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseExceptionGroup("x", [KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_interrupt_passes(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(type(error)) as raised:
        fail("open a span", error)
    assert (raised.value is error, caplog.records) == (True, [])


@pytest.mark.parametrize(
    "error",
    [StopIteration(), RecursionError(), MemoryError(), ExceptionGroup("x", [ValueError()]), AssertionError()],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_ours_is_swallowed(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    fail("open a span", error)
    assert len(caplog.records) == 1


def test_an_exception_the_user_asked_for_passes(caplog: pytest.LogCaptureFixture) -> None:
    class Budget(PassThroughError):
        pass

    with pytest.raises(Budget):
        fail("open a span", Budget())
    assert caplog.records == []


def test_a_strict_guard_lets_everything_out(caplog: pytest.LogCaptureFixture) -> None:
    set_strict(True)
    error = ValueError()
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its identity is what matters
        fail("open a span", error)
    assert (raised.value is error, caplog.records) == (True, [])


def test_a_log_handler_that_raises_is_no_harm(broken_handler: None) -> None:
    fail("open a span", ValueError())


def test_an_exception_under_way_stays_what_it_is() -> None:
    with pytest.raises(KeyError) as raised:
        try:
            raise KeyError("the user's")
        finally:
            fail("end a span", ValueError("ours"))
    assert (raised.value.args, raised.value.__context__, raised.value.__cause__) == (
        ("the user's",),
        None,
        None,
    )


def test_one_guard_serves_nesting_and_threads(caplog: pytest.LogCaptureFixture) -> None:
    place = guard("do it")
    passed = []

    def work() -> None:
        with place:
            with place:
                raise ValueError
            passed.append("inner")
            raise KeyError
        passed.append("outer")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == ["inner"] * 4 + ["outer"] * 4
