"""What is told of an exception: the real error of a group, its place, and never more than is known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncFlow, AsyncNode, Flow

from pocketflow_otel.guard import set_strict
from pocketflow_otel.instrument.exceptions import (
    MAX_MESSAGE,
    error_text,
    exception_attributes,
    is_clean_exit,
    message_of,
    place_of,
)
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan


class Talk(Flow):
    pass


class Refusing(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Wordless(Exception):
    def __str__(self) -> Any:
        return None  # noqa: PLE0307 - as such code does


class Words(str):
    def __len__(self) -> int:
        raise AssertionError

    __getitem__ = __str__ = encode = isascii = __len__  # type: ignore[assignment]


class Odd(Exception):
    def __str__(self) -> str:
        return Words("odd")


class OwnGroup(ExceptionGroup[Exception]):
    exceptions = property(lambda self: 1 / 0)  # type: ignore[assignment]
    message = property(lambda self: 1 / 0)  # type: ignore[assignment]


def group(*errors: Exception, message: str = "unhandled errors in a TaskGroup") -> ExceptionGroup[Exception]:
    return ExceptionGroup(message, errors)


def doubled(levels: int) -> Exception:
    """Return groups that each hold the one below twice: 2 ** levels ways lead to one error."""
    error: Exception = ValueError("deep")
    for _ in range(levels):
        error = group(error, error)
    return error


TEXTS: dict[str, tuple[Callable[[], BaseException], str]] = {
    "an error": (lambda: KeyError("chunks"), "KeyError: 'chunks'"),
    "without a message": (ValueError, "ValueError"),
    "whose text is of its own class": (Odd, "Odd: odd"),
    "that refuses": (Refusing, "Refusing: <its __str__ raises>"),
    "that returns no text": (Wordless, "Wordless: <its __str__ raises>"),
    "a group of one": (lambda: group(ValueError("why")), "ExceptionGroup: ValueError: why"),
    "a group of three": (
        lambda: group(ValueError("why"), KeyError("a"), OSError()),
        "ExceptionGroup: ValueError: why (+2 more)",
    ),
    "a group in a group": (
        lambda: group(group(KeyError("a"), OSError()), ValueError("why")),
        "ExceptionGroup: KeyError: 'a' (+2 more)",
    ),
    "a group that says something": (
        lambda: group(ValueError("why"), message="1 of 2 failed"),
        "ExceptionGroup: 1 of 2 failed: ValueError: why",
    ),
    "a group of its own class": (
        lambda: OwnGroup("unhandled errors in a TaskGroup", [ValueError("why")]),
        "OwnGroup: ValueError: why",
    ),
    "a group of one that refuses": (
        lambda: group(Refusing(), ValueError()),
        "ExceptionGroup: Refusing: <its __str__ raises> (+1 more)",
    ),
    "a group of interrupts": (
        lambda: BaseExceptionGroup("unhandled errors in a TaskGroup", [KeyboardInterrupt()]),
        "BaseExceptionGroup: KeyboardInterrupt",
    ),
    "a group that holds one error in a thousand ways": (
        lambda: doubled(60),
        "ExceptionGroup: ValueError: deep",
    ),
}


@pytest.mark.parametrize(("make", "text"), TEXTS.values(), ids=TEXTS)
def test_the_text_of_an_error(make: Callable[[], BaseException], text: str) -> None:
    assert error_text(make(), masked=False) == text


def test_a_long_text_leaves_room_for_how_many_more_there_are() -> None:
    message = message_of(group(ValueError("x" * 10**6), OSError()), masked=False)
    assert (len(message), message[-11:]) == (MAX_MESSAGE, "… (+1 more)"[-11:])


def test_the_types_in_a_group_are_told_where_messages_are_masked() -> None:
    error = group(ValueError("secret"), KeyError("secret"), message="secret")
    assert (message_of(error, masked=True), error_text(error, masked=True)) == (
        "",
        "ExceptionGroup: ValueError (+1 more)",
    )


class Fetches(AsyncNode):
    """Fails in a task of its own."""

    async def exec_async(self, prepared: object) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.fetch())

    async def fetch(self) -> None:
        raise ValueError("the real reason")


def line_of(function: Any, offset: int) -> str:
    return f"test_exceptions_texts.py:{function.__code__.co_firstlineno + offset}"


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    (event,) = (event for event in span.events if event.name == "exception")
    return {**(span.attributes or {}), **(event.attributes or {})}


def test_the_error_in_a_task_is_told_with_its_own_line() -> None:
    with capture_spans() as captured, suppress(ExceptionGroup):
        asyncio.run(AsyncFlow(start=Fetches()).run_async({}))
    span = captured.one("invoke_node Fetches")
    found = attributes_of(span)
    assert (span.status.description, found["exception.message"], found["pocketflow.error.place"]) == (
        "ExceptionGroup: ValueError: the real reason",
        "ValueError: the real reason",
        line_of(Fetches.fetch, 1),
    )
    assert (found["error.type"], found["exception.type"]) == ("ExceptionGroup", "ExceptionGroup")
    assert "ValueError: the real reason" in found["exception.stacktrace"]


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_group_of_errors_that_nobody_raised_has_its_own_place() -> None:
    assert place_of(raised(group(ValueError()))) == line_of(raised, 2)


def test_what_is_left_of_a_group_by_an_except_clause_has_its_place() -> None:
    def handle() -> None:
        try:
            raise group(raised(ValueError("left")), OSError())  # type: ignore[arg-type]
        except* OSError:
            pass

    with pytest.raises(ExceptionGroup) as caught:
        handle()
    assert [error_text(caught.value, masked=False), place_of(caught.value)] == [
        "ExceptionGroup: ValueError: left",
        line_of(raised, 2),
    ]


class BadNotes(ValueError):
    __notes__ = property(lambda self: 1 / 0)


def test_notes_are_in_the_stack_trace_unless_messages_are_masked() -> None:
    error = ValueError("no answer")
    error.add_note("the third today")
    texts = [
        str(exception_attributes(raised(error), masked=masked)["exception.stacktrace"])
        for masked in (False, True)
    ]
    assert texts[0].endswith("ValueError: no answer\nthe third today\n")
    assert "third" not in texts[1]


def test_notes_that_raise_do_not_cost_the_stack_trace() -> None:
    set_strict(False)
    found = exception_attributes(raised(BadNotes("no answer")), masked=False)
    assert (found["exception.message"], "in raised" in str(found["exception.stacktrace"])) == (
        "no answer",
        True,
    )


EXITS: dict[str, tuple[SystemExit, bool]] = {
    "exit()": (SystemExit(), True),
    "exit(None)": (SystemExit(None), True),
    "exit(0)": (SystemExit(0), True),
    "exit(False)": (SystemExit(False), True),
    "exit(3)": (SystemExit(3), False),
    "exit('text')": (SystemExit("text"), False),
    "exit('')": (SystemExit(""), False),
    "exit(0.0)": (SystemExit(0.0), False),
}


@pytest.mark.parametrize(("error", "clean"), EXITS.values(), ids=EXITS)
def test_an_exit_is_clean_where_the_process_ends_with_0(error: SystemExit, clean: bool) -> None:
    assert is_clean_exit(error) is clean


def test_nothing_else_is_a_clean_exit() -> None:
    errors = KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), ValueError(0), group(OSError())
    assert [is_clean_exit(error) for error in errors] == [False] * 5
