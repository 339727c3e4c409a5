"""Guards swallow and report what our code raises, once per place; the user's own passes."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pocketflow_otel.guard import PassThroughError, failed, guard, let_through, logger, quiet, set_strict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


ALARM = signal.SIGUSR1


class JobTimeout(Exception):
    """As job queues have them: no subclass of anything else."""


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Return what sets the handler of `ALARM`."""
    before = signal.getsignal(ALARM)
    yield lambda handler: signal.signal(ALARM, handler) and None
    signal.signal(ALARM, before)


def out_of_time(number: int, frame: object) -> None:
    raise JobTimeout


def without_arguments(number: int, frame: object) -> None:
    del number, frame
    raise JobTimeout


def only_once(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise JobTimeout


def in_a_helper(*arguments: object) -> None:
    del arguments
    raise_it()


def raise_it() -> None:
    raise JobTimeout


@functools.wraps(without_arguments)
def wrapped(*arguments: Any) -> None:
    passed, arguments = arguments, ()
    without_arguments(*passed)


class Limit:
    def method(self, number: int, frame: object) -> None:
        del number, frame
        raise JobTimeout

    @classmethod
    def of_class(cls, number: int, frame: object) -> None:
        del number, frame
        raise JobTimeout

    def __call__(self, number: int, frame: object) -> None:
        del number, frame
        raise JobTimeout


class Constructed:
    def __init__(self, number: int, frame: object) -> None:
        raise JobTimeout


HANDLERS = {
    "function": out_of_time,
    "its arguments are gone": without_arguments,
    "another is in its place": only_once,
    "helper": in_a_helper,
    "lambda": lambda *_: raise_it(),
    "method": Limit().method,
    "class method": Limit.of_class,
    "callable": Limit(),
    "class": Constructed,
    "partial": functools.partial(without_arguments),
    "partial with more": functools.partial(lambda more, number, frame: raise_it(), 1),
    "partial of a method": functools.partial(Limit().method),
    "cached": functools.lru_cache(without_arguments),
    "wrapped": wrapped,
}


def interrupted() -> None:
    signal.raise_signal(ALARM)


def with_guard() -> None:
    with guard("open a span"):
        interrupted()


def with_except() -> None:
    try:
        interrupted()
    except Exception as error:
        failed("open a span", error)


def with_quiet() -> None:
    with quiet():
        interrupted()


def with_known_error() -> None:
    try:
        interrupted()
    except Exception as error:
        let_through(error)


WAYS = (with_guard, with_except, with_quiet, with_known_error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", HANDLERS)
def test_what_a_signal_handler_raises_passes(
    kind: str, way: Callable[[], None], handle: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    handle(HANDLERS[kind])
    with pytest.raises(JobTimeout):
        way()
    assert caplog.records == []


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_in_wrapt_passes(way: Callable[[], None], handle: Callable[[Any], None]) -> None:
    wrapt = pytest.importorskip("wrapt")

    @wrapt.decorator
    def decorated(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    handle(decorated(without_arguments))
    with pytest.raises(JobTimeout):
        way()


def test_it_passes_all_guards_around_it_as_it_is(handle: Callable[[Any], None]) -> None:
    error = TimeoutError("the limit", 30)
    error.add_note("a note")
    cause = error.__cause__ = KeyError("cause")

    def limit(number: int, frame: object) -> None:
        raise error

    handle(limit)
    with pytest.raises(TimeoutError) as raised, guard("close"), guard("open"), quiet(OSError):
        with_except()
    seen = raised.value
    assert (seen is error, seen.__cause__ is cause, seen.__context__, seen.__notes__) == (
        True,
        True,
        None,
        ["a note"],
    )


@pytest.mark.parametrize("way", WAYS)
def test_an_error_while_a_handler_is_set_is_ours(
    way: Callable[[], None], handle: Callable[[Any], None]
) -> None:
    """A mask's, say."""

    def mask(key: str, value: object) -> object:
        raise JobTimeout

    handle(out_of_time)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "interrupted", lambda: mask("key", signal.SIGTERM))
        way()


def test_our_own_error_below_a_handler_is_swallowed(
    handle: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that runs a flow: what it is told is that flow's matter."""
    handle(lambda *_: fail("open a span", ValueError()))
    interrupted()
    assert len(caplog.records) == 1


def test_a_handler_that_forbids_to_be_looked_at_is_no_harm(handle: Callable[[Any], None]) -> None:
    class Shy:
        def __getattr__(self, name: str) -> object:
            raise OSError(name)

        def __call__(self, *_: object) -> None:
            """Do nothing."""

    handle(Shy())
    with guard("open a span"):
        raise_it()


def test_quiet_swallows_what_it_is_made_for(caplog: pytest.LogCaptureFixture) -> None:
    with quiet(OSError):
        raise FileNotFoundError
    with quiet():
        raise KeyError
    with pytest.raises(KeyError), quiet(OSError, ValueError):
        raise KeyError
    for error in (KeyboardInterrupt(), PassThroughError()):
        with pytest.raises(type(error)), quiet():
            raise error
    assert caplog.records == []


def test_failed_reports_as_a_guard_does(caplog: pytest.LogCaptureFixture) -> None:
    for error in (ValueError("one"), ValueError("two")):
        try:
            raise error
        except ValueError as caught:
            failed("open a span", caught)
    assert [record.getMessage() for record in caplog.records] == [
        "pocketflow-otel could not open a span; the flow goes on (reported once)"
    ]


def test_failed_raises_again_where_guards_do() -> None:
    set_strict(True)
    with pytest.raises(ValueError, match="ours"):
        try:
            raise ValueError("ours")
        except ValueError as caught:
            failed("open a span", caught)


def interrupted_in_a_library() -> None:
    """As `threading.Thread.start` does: its `except` clause fails in turn."""
    try:
        signal.raise_signal(ALARM)
    except Exception:
        {}["no entry"]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_library_made_of_it_passes_as_it_was_raised(
    way: Callable[[], None], handle: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle(out_of_time)
    monkeypatch.setitem(globals(), "interrupted", interrupted_in_a_library)
    with pytest.raises(JobTimeout) as raised:
        way()
    assert raised.value.__context__ is None


class Unreadable(Exception):
    """Raises when it is asked where it was raised, or meanwhile what."""

    def refuse(self) -> None:
        raise RuntimeError

    __traceback__ = __context__ = property(refuse)  # type: ignore[assignment]


def raised_by(call: Callable[[], None]) -> type[Exception] | None:
    try:
        call()
    except Exception as error:
        return type(error)  # pytest cannot look at it either.
    return None


@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_the_programs_may_refuse_to_be_looked_at(
    way: Callable[[], None], handle: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit(number: int, frame: object) -> None:
        raise Unreadable

    handle(limit)
    monkeypatch.setitem(globals(), "interrupted", interrupted_in_a_library)
    assert raised_by(way) is Unreadable


def test_an_error_of_ours_is_swallowed_whatever_the_program_deals_with() -> None:
    def fails() -> None:
        try:
            raise Unreadable
        except Unreadable:
            fail("open a span", KeyError())

    assert raised_by(fails) is None


def test_an_error_of_ours_while_the_program_deals_with_a_limit_is_ours(
    handle: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A flow that runs in an `except` clause: each error in there has the limit for its context."""
    handle(out_of_time)
    try:
        interrupted()
    except JobTimeout:
        fail("open a span", ValueError())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_stop_iteration_that_a_generator_turns_into_another_error_passes(
    way: Callable[[], None], handle: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(number: int, frame: object) -> None:
        raise StopIteration("the limit")

    def lines() -> Iterator[None]:
        yield signal.raise_signal(ALARM)

    handle(stop)
    monkeypatch.setitem(globals(), "interrupted", lambda: list(lines()))
    with pytest.raises(StopIteration, match="the limit"):
        way()
