"""Put exceptions of the user's code into attributes, without running into trouble of their own."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import guard, quiet, traceback_of
from pocketflow_otel.instrument.tracebacks import is_ours
from pocketflow_otel.store.redaction import shorten
from pocketflow_otel.user_code import own_place, place_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AttributeValue

MAX_MESSAGE: Final = 1000
MAX_STACKTRACE: Final = 8000

# A subclass may have members of these names.
_ERRORS_OF_GROUP: Final = BaseExceptionGroup.__dict__["exceptions"].__get__
_MESSAGE_OF_GROUP: Final = BaseExceptionGroup.__dict__["message"].__get__
_CODE_OF_EXIT: Final = SystemExit.__dict__["code"].__get__
_SAYS_NOTHING: Final = ("unhandled errors in a TaskGroup", "Exceptions from Trio nursery")
"""Messages of groups that a library made."""

_CHAINING: Final = guard("tell the causes of an error")


def type_name(cls: type) -> str:
    """Return the value of `error.type` and `exception.type`: the qualified name of a class."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def message_of(error: BaseException, *, masked: bool) -> str:
    """Return what `str` makes of an exception, shortened; its `__str__` may raise.

    Of a group, what it says itself, the first error in it and how many more there are:
    `2 of 5 failed: ValueError: no answer (+1 more)`.
    """
    if masked:
        return ""
    if _is_group(error):
        own = _MESSAGE_OF_GROUP(error)
        own = "" if own.startswith(_SAYS_NOTHING) else f"{str.__str__(own)}: "
        return _of_first(error, own, masked=False)
    message = "<its __str__ raises>"
    with quiet():
        message = str.__str__(str(error))  # Which may be of a class of its own.
    return shorten(message, MAX_MESSAGE)


def error_text(error: BaseException, *, masked: bool) -> str:
    """Return `KeyError: 'chunks'`; without a message the type alone.

    Of a group, the types of the errors in it are no message: `ExceptionGroup: KeyError (+1 more)`.
    """
    message = message_of(error, masked=masked)
    if masked and _is_group(error):
        message = _of_first(error, "", masked=True)
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def _of_first(group: BaseException, own: str, *, masked: bool) -> str:
    first, *others = _leaves(group)
    more = f" (+{len(others):,} more)" if others else ""
    return shorten(own + error_text(first, masked=masked), MAX_MESSAGE - len(more)) + more


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, and in the groups in it, each once; of another error, itself."""
    found, known, waiting = [], set(), [error]
    while waiting:
        part = waiting.pop()
        if id(part) in known:
            continue
        known.add(id(part))
        if _is_group(part):
            waiting += reversed(_ERRORS_OF_GROUP(part))
        else:
            found.append(part)
    return found


def _is_group(error: BaseException) -> bool:
    return issubclass(type(error), BaseExceptionGroup)


def is_clean_exit(error: BaseException) -> bool:
    """Return whether an exception ends the program, and well: `sys.exit()`, `sys.exit(0)`."""
    if not issubclass(type(error), SystemExit):
        return False
    code = _CODE_OF_EXIT(error)
    return code is None or (issubclass(type(code), int) and int.__eq__(code, 0))


def exception_attributes(error: BaseException, *, masked: bool) -> dict[str, AttributeValue]:
    """Return an `exception` event's attributes, as the convention for exceptions on spans has it.

    https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
    """
    attributes: dict[str, AttributeValue] = {semconv.EXCEPTION_TYPE: type_name(type(error))}
    lines: Iterable[str] = ()
    if not masked:
        attributes[semconv.EXCEPTION_MESSAGE] = message_of(error, masked=False)
        with _CHAINING:  # Its cause and its notes are the user's, and may raise.
            lines = list(_own_traceback(error).format())
    lines = lines or _without_ours(traceback.extract_tb(traceback_of(error))).format()
    stacktrace = shorten("".join(lines)[-MAX_STACKTRACE:], MAX_STACKTRACE)
    return {**attributes, semconv.EXCEPTION_STACKTRACE: stacktrace}


def _own_traceback(error: BaseException) -> traceback.TracebackException:
    whole = traceback.TracebackException.from_exception(error, compact=True)
    pending = [whole]
    while pending:
        part = pending.pop()
        part.stack = _without_ours(part.stack)
        pending += filter(None, [part.__cause__, part.__context__, *(part.exceptions or ())])
    return whole


def _without_ours(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Leave our wrappers out of what is shown: they are in every frame, and never the cause."""
    return traceback.StackSummary.from_list([frame for frame in stack if not is_ours(frame.filename)])


def place_of(error: BaseException) -> str:
    """Return where an exception was raised, for people: `nodes.py:42`, the user's own line if there is one.

    That is the innermost frame outside of installed packages, else the innermost of all. Of a group,
    it is where the first error in it was raised, and not where the group was.
    """
    raised = [_frames(part) for part in (_leaves(error)[0], error)]
    # Each to its end: what interrupts a generator that is closed before is lost.
    places = [*map(own_place, raised), *(place_name(*frames[-1]) for frames in raised if frames)]
    place = next(filter(None, places), "")
    return shorten(place, MAX_MESSAGE)


def _frames(error: BaseException) -> list[tuple[str, int]]:
    """Return file and line of each frame but ours, the innermost last."""
    return [
        (file, line)
        for frame, line in traceback.walk_tb(traceback_of(error))
        if not is_ours(file := frame.f_code.co_filename)
    ]
