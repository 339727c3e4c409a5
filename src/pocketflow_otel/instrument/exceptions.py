"""Put exceptions of the user's code into attributes, without running into trouble of their own."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import quiet
from pocketflow_otel.store.redaction import shorten
from pocketflow_otel.user_code import own_place, place_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.util.types import AttributeValue

MAX_MESSAGE: Final = 1000
MAX_STACKTRACE: Final = 8000

_PACKAGE: Final = f"{os.sep}pocketflow_otel{os.sep}"
_OURS: Final = (f"{_PACKAGE}instrument{os.sep}", f"{_PACKAGE}runtime{os.sep}")


def type_name(cls: type) -> str:
    """Return the value of `error.type` and `exception.type`: the qualified name of a class."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def message_of(error: BaseException, *, masked: bool) -> str:
    """Return what `str` makes of an exception, shortened; its `__str__` may raise."""
    if masked:
        return ""
    message = "<its __str__ raises>"
    with quiet():
        message = str(error)
    return shorten(message, MAX_MESSAGE)


def error_text(error: BaseException, *, masked: bool) -> str:
    """Return `KeyError: 'chunks'`; without a message the type alone."""
    message = message_of(error, masked=masked)
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def exception_attributes(error: BaseException, *, masked: bool) -> dict[str, AttributeValue]:
    """Return an `exception` event's attributes, as the convention for exceptions on spans has it.

    https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
    """
    attributes: dict[str, AttributeValue] = {semconv.EXCEPTION_TYPE: type_name(type(error))}
    if masked:
        lines: Iterable[str] = _without_ours(traceback.extract_tb(error.__traceback__)).format()
    else:
        attributes[semconv.EXCEPTION_MESSAGE] = message_of(error, masked=False)
        lines = _own_traceback(error).format()
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
    return traceback.StackSummary.from_list([frame for frame in stack if not _is_ours(frame.filename)])


def _is_ours(file: str) -> bool:
    return any(part in file for part in _OURS)


def place_of(error: BaseException) -> str:
    """Return where an exception was raised, for people: `nodes.py:42`, the user's own line if there is one.

    That is the innermost frame outside of installed packages, else the innermost of all.
    """
    frames = [
        (file, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not _is_ours(file := frame.f_code.co_filename)
    ]
    place = own_place(frames) or (place_name(*frames[-1]) if frames else "")
    return shorten(place, MAX_MESSAGE)
