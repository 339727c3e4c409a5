"""Hand the OpenTelemetry context into the pools that pflow runs steps in, and into no others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pocketflow_otel.instrument.tracebacks import clear_traceback
from pocketflow_otel.runtime.context import current_context, make_current

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
            return super().submit(  # type: ignore[no-any-return]
                traced_by_pocketflow_otel, current_context(), fn, *args, **kwargs
            )

    ContextExecutor.__name__ = executor.__name__
    ContextExecutor.__qualname__ = executor.__qualname__
    return ContextExecutor


def traced_by_pocketflow_otel(context: Context, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in a context: the one frame of ours in the tracebacks of a pool's thread."""
    __tracebackhide__ = True
    outer = current_context()
    make_current(context)
    try:
        return fn(*args, **kwargs)
    except BaseException as error:
        clear_traceback(error)
        raise
    finally:
        make_current(outer)


class ContextBound(partial[Any]):
    """A function with the context of the batch it is called for; it is called without a frame of ours.

    The context is not entered: an item's span takes it as its parent's when it opens.

    Args:
        function: What pflow's pool calls for each item of a batch.
        context: The batch's, in whose step's thread it was current.
    """

    context: Context

    def __new__(cls, function: Callable[..., Any], context: Context) -> Self:
        bound = super().__new__(cls, function)
        bound.context = context
        return bound
