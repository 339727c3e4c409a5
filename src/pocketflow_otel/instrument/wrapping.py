"""Wrappers around the calls of a flow, and the handlers that see how each call ends.

A wrapper is the one frame of ours between two calls of the program's. What stands around the call is
a `CallHandler`: opened and entered before it, ended after it, however it ends. Nothing of ours is
raised into the flow, and what comes amid our code all the same (an interrupt, the exception of a
signal handler) passes, once the handler has ended.
"""

from __future__ import annotations

import atexit
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pocketflow_otel.guard import failed, quiet, swallowed
from pocketflow_otel.instrument.self_use import asks_in_order, uses_self_for_attributes
from pocketflow_otel.instrument.tracebacks import clear_traceback
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable

_OPENING: Final = "open a span"
_CLOSING: Final = "see how a call ended"
_BARE: Final = "__pocketflow_otel_bare__"

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class CallHandler:
    """What stands around one call of the program's.

    Attributes:
        result: What the call returned, once it did.
        error: What it raised, if it did.
    """

    __slots__ = ()

    result: object
    error: BaseException | None

    def enter(self) -> object | None:
        """Begin, just before the call; return what PocketFlow's own methods get for `self`, if anything."""
        return None

    def end(self) -> None:
        """Take note of how the call ended; called again where something came amid it."""
        raise NotImplementedError

    def may_end_elsewhere(self) -> bool:
        """Return whether it may be ended in another context than it was entered in.

        A coroutine that is closed from elsewhere runs in the context of who closes it, and what was
        interrupted may be ended from anywhere.
        """
        return issubclass(type(self.error), GeneratorExit) or self in interrupted


class Watcher(CallHandler):
    """A handler without a span of its own: it only looks at how a call ends."""

    __slots__ = ("_seen", "error", "result")

    def __init__(self) -> None:
        self.result: object = None
        self.error: BaseException | None = None
        self._seen = False

    def end(self) -> None:
        if not self._seen:
            try:
                self.see_end(self.error)
            except Exception as error:
                failed(_CLOSING, error)
            self._seen = True
            self.error = self.result = None

    def see_end(self, error: BaseException | None) -> None:
        """Take note of how the call ended."""


H = TypeVar("H", bound=CallHandler)

interrupted: Final[list[CallHandler]] = []
"""Handlers that something came amid the end of. They end at once, or if that is interrupted, too, later."""


def end_interrupted() -> None:
    """End what was interrupted: at once, before the next call opens, and when the program ends."""
    for call in interrupted[:]:
        try:
            call.end()
        except Exception as error:
            failed(_CLOSING, error)
        with quiet(ValueError):  # Another thread was here.
            interrupted.remove(call)


atexit.register(end_interrupted)


def opened(call: H, open_: Callable[..., None], *args: Any) -> H:
    """Open a handler by `open_(*args)` and return it; end it if anything comes amid that."""
    try:
        open_(*args)
    except BaseException:
        interrupted.append(call)
        end_interrupted()
        raise
    return call


def call_wrapper(  # noqa: C901, PLR0915 - two functions that must be one frame each
    open_: Callable[[Args, Kwargs], CallHandler | None], *, takes_stand_in: bool = False
) -> Callable[[Any], Callable[..., Any]]:
    """Return a decorator of functions: its wrappers put the handler that `open_` returns around each call.

    Inside a run that is not recorded nothing is opened at all.

    Args:
        open_: Called with the arguments of a call; `None` lets the call pass. A function of Python:
            what a callable of C returned would be lost if an interrupt came just then.
        takes_stand_in: Whether functions get another `self`, where the handler has one, and where they
            ask it for attributes alone, in the order in which a step goes.
    """

    # Two functions that differ by `await`, and whose names stand in tracebacks. On the good path a
    # `try` costs nothing; whatever else stands here is paid for at each step.
    def make(function: Callable[..., Any]) -> Callable[..., Any]:  # noqa: C901, PLR0915
        replaces_self = takes_stand_in and uses_self_for_attributes(function) and asks_in_order(function)

        def traced_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:  # noqa: C901
            __tracebackhide__ = True
            if current_context().get(SCOPE_KEY) is UNTRACED and not interrupted:
                return function(*args, **kwargs)
            call = None
            try:
                try:
                    call = open_(args, kwargs)
                    if call is not None:
                        stand_in = call.enter()
                        if replaces_self and stand_in is not None:
                            args = (stand_in, *args[1:])
                except Exception as error:
                    failed(_OPENING, error)
                result = function(*args, **kwargs)
                if call is not None:
                    call.result = result  # type: ignore[misc]  # a slot of each handler
                return result  # noqa: TRY300 - as near to the call as can be
            except BaseException as error:
                if call is not None:
                    call.error = error  # type: ignore[misc]
                clear_traceback(error)
                raise
            finally:
                if call is not None:
                    try:
                        call.end()
                    except BaseException as error:
                        interrupted.append(call)
                        end_interrupted()
                        if not swallowed(_CLOSING, error):
                            clear_traceback(error)
                            raise

        async def awaited_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:  # noqa: C901
            __tracebackhide__ = True
            if current_context().get(SCOPE_KEY) is UNTRACED and not interrupted:
                return await function(*args, **kwargs)
            call = None
            try:
                try:
                    call = open_(args, kwargs)
                    if call is not None:
                        stand_in = call.enter()
                        if replaces_self and stand_in is not None:
                            args = (stand_in, *args[1:])
                except Exception as error:
                    failed(_OPENING, error)
                result = await function(*args, **kwargs)
                if call is not None:
                    call.result = result  # type: ignore[misc]  # a slot of each handler
                return result  # noqa: TRY300 - as near to the call as can be
            except BaseException as error:
                if call is not None:
                    call.error = error  # type: ignore[misc]
                clear_traceback(error)
                raise
            finally:
                if call is not None:
                    try:
                        call.end()
                    except BaseException as error:
                        interrupted.append(call)
                        end_interrupted()
                        if not swallowed(_CLOSING, error):
                            clear_traceback(error)
                            raise

        wrapper = awaited_by_pocketflow_otel if iscoroutinefunction(function) else traced_by_pocketflow_otel
        if replaces_self:
            wrapper.__dict__[_BARE] = function
        return wrapper

    return make


def bare(wrapper: Any) -> Any | None:
    """Return the function that a wrapper is around, where another `self` may be given to it without us.

    Not of what others have wrapped around ours: `functools.wraps` gives that our attributes.
    """
    attributes = getattr(wrapper, "__dict__", {})
    function = attributes.get(_BARE)
    return function if function is not None and attributes.get("__wrapped__") is function else None
