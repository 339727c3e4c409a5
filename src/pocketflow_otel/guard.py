"""Keep our own failures away from the user's flow, and nothing of the user's away from it.

Every piece of our code around a user's call runs inside a `guard`, or has an `except Exception` that
ends in `failed`: an `Exception` of ours is logged once per place and forgotten. What is not ours
passes: `BaseException` (interrupts, cancellation), and the `Exception` that a signal handler of the
program raised while our code ran (a time limit).
"""

from __future__ import annotations

import logging
import signal
from inspect import CO_VARARGS, getattr_static
from itertools import pairwise
from traceback import walk_tb
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, TracebackType
    from typing import TypeGuard

logger: Final = logging.getLogger("pocketflow_otel")

_SIGNALS: Final = frozenset(map(int, signal.valid_signals()))
# The function of C: the one around it makes members of an enumeration, and swallows a ValueError meanwhile.
_getsignal: Final[Callable[[int], object]] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_INNER: Final = ("__func__", "func", "__wrapped__", "_self_wrapper")
"""Where methods, partials, wrappers and those of wrapt keep the function they call."""

# A user's exception may have members of these names, which may raise.
traceback_of: Final[Callable[[BaseException], TracebackType | None]] = BaseException.__dict__[
    "__traceback__"
].__get__
_context_of: Final = BaseException.__dict__["__context__"].__get__
_cause_of: Final = BaseException.__dict__["__cause__"].__get__
_set_context: Final = BaseException.__dict__["__context__"].__set__

_reported: set[str] = set()


class PassThroughError(Exception):
    """An exception of ours that a user asked for: guards let it through."""


_strict = False


class guard:  # noqa: N801 - reads as a statement: `with guard("open a span"):`
    """Swallow and report what our code raises in the block; never what is the user's.

    Stateless, so one instance per place serves every thread, task and nesting.

    Args:
        place: What our code was doing, in words that finish "could not ...".
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return exc is not None and swallowed(self.place, exc)


class quiet:  # noqa: N801 - reads as a statement, too: `with quiet(OSError):`
    """Swallow errors that are of no account and that nobody need be told of; never what is the user's.

    Takes the place of `contextlib.suppress` wherever a flow may be running: `TimeoutError`, which time
    limits raise, is an `OSError`.

    Args:
        types: Of the errors; every `Exception` by default.
    """

    __slots__ = ("_types",)

    def __init__(self, *types: type[Exception]) -> None:
        self._types = types or (Exception,)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return exc is not None and issubclass(type(exc), self._types) and not _is_of_program(exc)


def swallowed(place: str, error: BaseException) -> bool:
    """Report an error that an `except` clause caught, as a `guard` does; `False` where it is the user's.

    For a clause that raises it again by itself then, and adds no frame to its traceback.

    Args:
        place: What our code was doing, in words that finish "could not ...".
        error: Caught in the function that calls this.
    """
    if not is_exception(error) or _is_of_program(error) or _strict:
        return False
    _report(place, error)
    return True


def failed(place: str, error: Exception) -> None:
    """Report an error that an `except` clause caught, as a `guard` does; raise it again if it is the user's.

    A `try` costs nothing as long as all goes well, which a `with` does.

    Args:
        place: What our code was doing, in words that finish "could not ...".
        error: Caught in the function that calls this.
    """
    if not swallowed(place, error):
        raise error


def let_through(error: Exception) -> None:
    """Raise an error again if it is the user's: for an `except` clause that knows what else it may be."""
    if _is_of_program(error):
        raise error


def is_exception(error: BaseException | None) -> TypeGuard[Exception]:
    """Return whether `except Exception` catches it; `isinstance` would ask its `__class__`."""
    return issubclass(type(error), Exception)


def set_strict(strict: bool) -> None:
    """Let guards re-raise (tests) or swallow (the default), and forget what was reported."""
    global _strict
    _strict = strict
    _reported.clear()


def _report(place: str, error: Exception) -> None:
    if place not in _reported:
        _reported.add(place)
        with quiet():  # A logging handler is user code too: it may raise.
            logger.warning(
                "pocketflow-otel could not %s; the flow goes on (reported once)", place, exc_info=error
            )


def _is_of_program(error: BaseException) -> bool:
    """Return whether the program is to see an error: it asked for it, or a signal handler raised it.

    Where a library dealt with what the handler raised, and failed meanwhile, that is raised in its place.
    """
    if issubclass(type(error), PassThroughError):
        return True
    found = _error_of_handler(error)
    if found is not None and found is not error:
        context = _context_of(found)
        try:
            raise found
        finally:
            _set_context(found, context)  # As it was: `error` is none of the program's.
    return found is not None


def _error_of_handler(error: BaseException) -> BaseException | None:
    """Return what a signal handler raised below the frame that caught `error`: that, or what led to it."""
    found: BaseException | None = error
    outer: list[FrameType] = []
    made_from: BaseException | None = None
    while found is not None and (trace := traceback_of(found)) is not None:
        frames = [frame for frame, _ in walk_tb(trace)]
        # What a generator makes of a StopIteration has no frame of the generator.
        if outer and found is not made_from and not _contains(outer, frames[0]):
            return None  # It was caught above us: `error` only came while the program dealt with it.
        if _has_handler(frames):
            return found
        outer, made_from, found = frames, _cause_of(found), _context_of(found)
    return None


def _has_handler(frames: list[FrameType]) -> bool:
    """Return whether one of the frames is a signal handler's, entered from one before it.

    It is known by how Python calls it, or, if it has let go of its arguments, by its code. The first
    alone finds one that has put another in its place before it raised.
    """
    if len(frames) == 1:
        return False
    codes = {code for number in _SIGNALS for code in _codes(_getsignal(number))}
    return any(
        frame.f_code in codes or _is_given_one_of(frames[:depth], frame)
        for depth, frame in enumerate(frames)
        if depth
    )


def _contains(frames: list[FrameType], wanted: object) -> bool:
    return any(frame is wanted for frame in frames)


def _is_given_one_of(outer: list[FrameType], frame: FrameType) -> bool:
    """Return whether a call was given the number of a signal and the frame that it interrupted."""
    code, values = frame.f_code, frame.f_locals
    arguments = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & CO_VARARGS:
        arguments += values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    return any(
        type(number) is int and number in _SIGNALS and _contains(outer, interrupted)
        for number, interrupted in pairwise(arguments)
    )


def _codes(handler: object, depth: int = 8) -> Iterator[CodeType]:
    """Yield the code of a handler and of what it calls, without running any."""
    if handler is None or type(handler) in (int, signal.Handlers) or not depth:
        return
    function = handler if type(handler) is FunctionType else getattr_static(type(handler), "__call__", None)
    if type(function) is FunctionType:
        yield function.__code__
    for name in _INNER:
        inner = getattr_static(handler, name, None)
        if type(inner) in (MemberDescriptorType, GetSetDescriptorType):
            inner = inner.__get__(handler)
        yield from _codes(inner, depth - 1)
