"""Count the attempts of a node or batch item, and tell of those that failed.

PocketFlow swallows the exceptions of attempts it repeats, and its async nodes keep no number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.spans import TracedScope, message_of, type_name
from pocketflow_otel.run import AttemptFailed

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.util.types import AttributeValue

_COUNTING: Final = guard("count an attempt")
_MAX_EVENTS: Final = 32
"""Events of failed attempts on one span; the number of attempts is always whole."""


class Attempts:
    """The attempts of one step or item; `with` it, one attempt is made.

    Attributes:
        made: How many were begun.
        open: Whether one is under way.
        fallback: Whether `exec_fallback` gave the result in the end.
    """

    __slots__ = ("_last", "_scope", "fallback", "made", "open", "result")

    def __init__(self, scope: TracedScope) -> None:
        self._scope = scope
        self._last: tuple[AttemptFailed, int] | None = None
        self.made = 0
        self.open = False
        self.fallback = False
        self.result: object = None

    def __enter__(self) -> None:
        self.made += 1
        self.open = True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.open = False
        self.result = None
        if isinstance(error, Exception):
            with _COUNTING:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        scope = self._scope
        allowed = _number(scope.owner, "max_retries", 1)
        last = self.made >= allowed
        failure = AttemptFailed(
            attempt=self.made,
            max=int(allowed),
            error_type=type_name(type(error)),
            message=message_of(error, masked=scope.tracing.config.mask_errors),
            wait=0.0 if last else float(_number(scope.owner, "wait", 0)),
        )
        if last:  # An error, unless a fallback takes over.
            self._last = failure, time.time_ns()
            return
        self._tell(failure, time.time_ns())
        scope.run.publish(scope, failure)

    def falling_back(self) -> Fallback:
        """Return what stands around a call of `exec_fallback`."""
        return Fallback(self)

    def fell_back(self) -> None:
        """Note that the fallback gave the result: the last failure was no error of the step."""
        self.fallback = True
        last, self._last = self._last, None
        if last is not None:
            self._tell(*last)

    def _tell(self, failure: AttemptFailed, when: int) -> None:
        if failure.attempt > _MAX_EVENTS:
            return
        attributes: dict[str, AttributeValue] = {
            semconv.ATTEMPT: failure.attempt,
            semconv.ATTEMPT_MAX: failure.max,
            semconv.EXCEPTION_TYPE: failure.error_type,
            semconv.ATTEMPT_PHASE: semconv.EXEC,
            semconv.ATTEMPT_WAIT: failure.wait,
        }
        if failure.message:
            attributes[semconv.EXCEPTION_MESSAGE] = failure.message
        self._scope.span.add_event(semconv.ATTEMPT_FAILED, attributes, when)

    def describe(self, attributes: dict[str, AttributeValue]) -> None:
        """Add the attributes that are known at the end."""
        if self.made:
            attributes[semconv.NODE_ATTEMPTS] = self.made
        if self.fallback:
            attributes[semconv.NODE_FALLBACK] = True


class Fallback:
    """A call of `exec_fallback`. PocketFlow's own raises; a user's may give a result instead."""

    __slots__ = ("_attempts", "result")

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self.result: object = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, exc_type: type[BaseException] | None, error: object, tb: TracebackType | None
    ) -> None:
        if exc_type is None:
            with _COUNTING:
                self._attempts.fell_back()


def _number(owner: Any, name: str, default: float) -> float:
    value = owner.__dict__.get(name, default)
    return value if type(value) in (int, float) else default
