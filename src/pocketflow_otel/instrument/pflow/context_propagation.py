"""Hand the OpenTelemetry context into the pools that pflow runs steps in, and into no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach, get_current

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from opentelemetry.context import Context


def propagating_executor(executor: type[Executor]) -> type[Executor]:
    """Return a pool of the same name whose work runs in the context it was submitted in.

    The OpenTelemetry context alone goes along, not all of `contextvars`: pflow routes what a code
    step prints by a variable of its own.
    """

    class ContextExecutor(executor):  # type: ignore[misc,valid-type]
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(_run, get_current(), fn, *args, **kwargs)  # type: ignore[no-any-return]

    ContextExecutor.__name__ = executor.__name__
    ContextExecutor.__qualname__ = executor.__qualname__
    return ContextExecutor


def _run(context: Context, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    token = attach(context)
    try:
        return fn(*args, **kwargs)
    finally:
        detach(token)


class ContextBound:
    """A function with the context of the batch it is called for.

    The context is not entered: an item's span takes it as its parent's when it opens.

    Args:
        function: What pflow's pool calls for each item of a batch.
        context: The batch's, in whose step's thread it was current.
    """

    __slots__ = ("_function", "context")

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        self._function = function
        self.context = context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)
