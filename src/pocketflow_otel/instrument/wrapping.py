"""Wrappers around the user's calls, and the handlers that see how each call ends."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import detach, get_current

from pocketflow_otel.guard import guard
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.context import Context

_OPENING: Final = guard("open a span")
_CLOSING: Final = guard("see how a call ended")

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class CallHandler:
    """A context manager around one call of the user's, which sees how it ended.

    Attributes:
        result: What the call returned, once it did.
    """

    __slots__ = ()

    result: object

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with _CLOSING:
            self.end(error)

    def end(self, error: BaseException | None) -> None:
        """Take note of how the call ended."""


def call_wrapper(
    open_: Callable[[Any, Args, Kwargs], CallHandler | None],
) -> Callable[[Any], Callable[..., Any]]:
    """Return a decorator of methods: its wrappers put the handler that `open_` returns around each call.

    Inside a run that is not recorded nothing is opened at all.

    Args:
        open_: Called with the object, the arguments and the keyword arguments of a call; `None` lets
            the call pass.
    """

    def make(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            if get_current().get(SCOPE_KEY) is UNTRACED:
                if len(args) == 1 and not kwargs:  # PocketFlow's own calls: spreading costs more than we do.
                    return function(self, args[0])
                return function(self, *args, **kwargs)
            opened = None
            with _OPENING:
                opened = open_(self, args, kwargs)
            if opened is None:
                return function(self, *args, **kwargs)
            with opened:
                result = opened.result = function(self, *args, **kwargs)  # type: ignore[misc]  # a slot
                return result

        async def async_wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            if get_current().get(SCOPE_KEY) is UNTRACED:
                return await function(self, *args, **kwargs)
            opened = None
            with _OPENING:
                opened = open_(self, args, kwargs)
            if opened is None:
                return await function(self, *args, **kwargs)
            with opened:
                result = opened.result = await function(self, *args, **kwargs)  # type: ignore[misc]
                return result

        return async_wrapper if iscoroutinefunction(function) else wrapper

    return make


def leave(context: Context, token: Any, error: BaseException | None) -> None:
    """Leave a context that was entered, if this is still it.

    A coroutine that is closed from elsewhere runs in the context of who closes it: to detach there
    would change that one, or log an error.
    """
    if token is not None and (not isinstance(error, GeneratorExit) or get_current() is context):
        detach(token)
