"""One frame of ours is left in a traceback, above the program's; all else of the exception stays."""

from __future__ import annotations

import asyncio
import sys
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import pytest

from pocketflow_otel.instrument.tracebacks import clear_traceback
from pocketflow_otel.instrument.wrapping import Watcher, call_wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "traced_by_pocketflow_otel"
AWAITED = "awaited_by_pocketflow_otel"

traced = call_wrapper(lambda args, kwargs: Watcher())


def raised_by(function: Callable[..., Any], *args: Any) -> BaseException:
    """Return what a call raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError


def frames(error: BaseException | None) -> list[str]:
    """Return the functions in an exception's traceback, outermost first, without the test's own."""
    assert error is not None
    return [frame.name for frame in extract_tb(error.__traceback__) if frame.name != "raised_by"]


@traced
def divide() -> float:
    return 1 / 0


@traced
def within() -> Any:
    return divide()


@traced
def around() -> Any:
    return within()


def test_of_calls_within_calls_the_outermost_leaves_its_frame() -> None:
    assert frames(raised_by(around)) == [OURS, "around", "within", "divide"]


def test_who_catches_it_within_sees_one_frame_too() -> None:
    caught: list[list[str]] = []

    @traced
    def catches() -> None:
        try:
            within()
        except ZeroDivisionError as error:
            caught.append(frames(error)[1:])
            raise

    error = raised_by(catches)

    assert caught == [[OURS, "within", "divide"]]
    assert frames(error) == [OURS, "catches", "within", "divide"]


def test_an_error_that_is_raised_anew_keeps_the_programs_frames() -> None:
    kept = raised_by(within)

    @traced
    def raises_anew() -> None:
        raise kept

    assert frames(raised_by(raises_anew)) == [OURS, "raises_anew", "within", "divide"]


def test_causes_and_contexts_stay_each_with_a_frame_at_most() -> None:
    @traced
    def chains() -> None:
        try:
            within()
        except ZeroDivisionError as error:
            raise LookupError from error

    @traced
    def follows() -> None:
        try:
            chains()
        except LookupError:
            raise KeyError

    error = raised_by(follows)
    context = error.__context__
    assert context is not None

    assert frames(error) == [OURS, "follows"]
    assert frames(context) == ["follows", OURS, "chains"]
    assert frames(context.__cause__) == ["chains", OURS, "within", "divide"]


def test_each_error_of_a_group_has_a_frame_at_most() -> None:
    @traced
    def groups() -> None:
        raise ExceptionGroup("two", [raised_by(around), raised_by(divide)])

    error = raised_by(groups)
    assert isinstance(error, ExceptionGroup)

    assert frames(error) == [OURS, "groups"]
    assert [frames(each) for each in error.exceptions] == [
        [OURS, "around", "within", "divide"],
        [OURS, "divide"],
    ]


def test_an_async_call_leaves_one_frame_whatever_is_called_within_it() -> None:
    @traced
    async def awaits() -> Any:
        await asyncio.sleep(0)
        return around()

    @traced
    async def outer() -> Any:
        return await awaits()

    assert frames(raised_by(lambda: asyncio.run(outer())))[-6:] == [
        AWAITED, "outer", "awaits", "around", "within", "divide",
    ]  # fmt: skip


def test_the_object_and_its_notes_and_line_numbers_stay() -> None:
    error = KeyError("key")
    error.add_note("of the program's")

    def raises() -> None:
        raise error

    bare = extract_tb(raised_by(raises).__traceback__)[-1]
    error.__traceback__ = None
    seen = raised_by(traced(traced(raises)))

    assert seen is error
    assert (seen.__notes__, extract_tb(seen.__traceback__)[-1]) == (["of the program's"], bare)


def dives(depth: int) -> Any:
    return traced(dives)(depth + 1)


def test_an_error_of_recursion_says_once_what_allows_more() -> None:
    error = raised_by(dives, 0)
    (note,) = error.__notes__

    assert isinstance(error, RecursionError)
    assert note == (
        "pocketflow-otel takes one frame of the stack for each flow and node that runs inside another; "
        f"sys.setrecursionlimit() allows more ({sys.getrecursionlimit()} now)"
    )


def test_an_error_of_recursion_with_a_note_of_the_programs_gets_no_other() -> None:
    error = RecursionError()
    error.add_note("of the program's")
    clear_traceback(error)

    assert error.__notes__ == ["of the program's"]


@pytest.mark.parametrize("error", [KeyError(), ZeroDivisionError()])
def test_an_error_that_was_raised_nowhere_stays_as_it_is(error: BaseException) -> None:
    clear_traceback(error)

    assert (error.__traceback__, getattr(error, "__notes__", [])) == (None, [])
