"""The current OpenTelemetry context, changed by value.

To leave a context is to make current again what was current before. `opentelemetry.context.detach`
does that by a token, and swallows what is raised in it: the exception of a signal handler of the
user's, too.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as _api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context

_runtime: Final = _api._RUNTIME_CONTEXT
# The variable itself, where there is one: called twice a step, and nothing can come amid a call of C.
_variable: Final = getattr(_runtime, "_current_context", None)

current_context: Callable[[], Context]
make_current: Callable[[Context], Any]

if isinstance(_variable, ContextVar):
    current_context, make_current = _variable.get, _variable.set
else:  # An implementation of somebody else's, by `OTEL_PYTHON_CONTEXT`.
    current_context, make_current = _runtime.get_current, _runtime.attach

_SUPPRESSED: Final = frozenset({_api._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation"})


@contextmanager
def entered(context: Context) -> Iterator[None]:
    """Make a context current for the block.

    A generator that is closed from elsewhere ends in the context of who closes it, which is left alone.
    """
    before = current_context()
    make_current(context)
    closed = False
    try:
        yield
    except GeneratorExit:
        closed = True
        raise
    finally:
        if not closed or current_context() is context:
            make_current(before)


def is_suppressed(context: Context) -> bool:
    """Return whether the user has switched instrumentation off: `suppress_instrumentation`."""
    return not _SUPPRESSED.isdisjoint(context) and any(map(context.get, _SUPPRESSED))
