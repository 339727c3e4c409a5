"""The attempts of steps and batch items: their number, and events of those that failed.

PocketFlow swallows the exceptions of attempts it repeats, and its async nodes keep no number. Nor is
the last attempt known by counting: at the repository's head the items of a parallel batch share
one number. So a failed attempt becomes an event once it is known not to be the error of the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.instrument.exceptions import message_of, place_of, type_name
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.run_events import AttemptFailed
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.wrapping import Args, Kwargs

_MAX_EVENTS: Final = 32
"""Events of failed attempts on one span; the number of attempts is always whole."""


class Attempts:
    """What is known of the attempts of one step or item.

    Attributes:
        count: How many were begun.
        open: Whether one is under way.
        fallback: Whether `exec_fallback` gave the result in the end.
        failed: Failures with their times.
        error: What the last attempt raised, as long as PocketFlow holds on to it: it may yet be
            the error of the step.
    """

    __slots__ = ("count", "error", "failed", "fallback", "open")

    def __init__(self) -> None:
        self.count = 0
        self.open = False
        self.fallback = False
        self.failed: list[tuple[AttemptFailed, int]] = []
        self.error: BaseException | None = None

    def max_attempts(self, owner: Any) -> float:
        """Return how many attempts there may be."""
        return _number(owner, "max_retries", 1)

    def wait(self, owner: Any) -> float:
        """Return the seconds before the next attempt."""
        return _number(owner, "wait", 0)

    def is_last(self, owner: Any, error: Exception) -> bool:
        """Return whether no attempt follows the one that raised `error`."""
        return self.count >= self.max_attempts(owner)

    def describe(
        self, scope: AttemptedScope, attributes: dict[str, AttributeValue], error: BaseException | None
    ) -> None:
        """Add the attributes known at the end, and the events of what failed on the way.

        Args:
            scope: The step or item they were attempts of.
            attributes: Where to add.
            error: What it raised; the attempt that raised just that is its error, and no event.
        """
        last, self.error = self.error, None
        if self.count:
            attributes[semconv.NODE_ATTEMPTS] = self.count
        if self.fallback:
            attributes[semconv.NODE_FALLBACK] = True
        for failure, when in self.failed:
            if error is not None and error is last and failure.attempt == self.count:
                break
            scope.span.add_event(semconv.ATTEMPT_FAILED, _attributes(failure), when)


class AttemptedScope(TracedScope):
    """A scope whose node's `exec` is attempted: a step, or a batch item.

    Attributes:
        attempts: Those of the step or item.
    """

    __slots__ = ()

    attempts: Attempts

    @property
    def executing(self) -> bool:
        """Whether a call of its node's `exec` now is an attempt of it."""
        raise NotImplementedError


class Attempt(CallHandler):
    """One attempt: a call of `exec`."""

    __slots__ = ("_scope", "result")

    def __init__(self, scope: AttemptedScope) -> None:
        self._scope = scope
        scope.attempts.count += 1
        scope.attempts.open = True
        scope.attempts.error = None

    def end(self, error: BaseException | None) -> None:
        scope, attempts = self._scope, self._scope.attempts
        attempts.open = False
        if not isinstance(error, Exception):
            return
        attempts.error = error
        last = attempts.is_last(scope.owner, error)
        failure = AttemptFailed(
            attempt=attempts.count,
            max=int(attempts.max_attempts(scope.owner)),
            error_type=type_name(type(error)),
            message=message_of(error, masked=scope.flow_tracer.config.mask_errors),
            place=place_of(error),
            item=getattr(scope, "index", None),
            wait=0.0 if last else float(attempts.wait(scope.owner)),
        )
        del attempts.failed[_MAX_EVENTS - 1 :]  # The first ones, and always the last.
        attempts.failed.append((failure, scope.flow_tracer.time_ns()))
        if not last:
            scope.run.publish(scope, failure)


class Fallback(CallHandler):
    """A call of a user's `exec_fallback`: it gives a result, or raises."""

    __slots__ = ("_scope", "result")

    def __init__(self, scope: AttemptedScope) -> None:
        self._scope = scope

    def end(self, error: BaseException | None) -> None:
        scope, attempts = self._scope, self._scope.attempts
        if error is not None:
            return
        attempts.fallback = True
        attempts.error = None
        for failure, _ in attempts.failed[-1:]:
            if failure.attempt >= failure.max:  # Else it was published when it failed.
                scope.run.publish(scope, failure)


def open_attempt(node: Any, args: Args, kwargs: Kwargs) -> Attempt | None:
    """Open an attempt: `exec` is called on a node that is executing."""
    scope = _executing(node)
    return None if scope is None or scope.attempts.open else Attempt(scope)


def open_fallback(node: Any, args: Args, kwargs: Kwargs) -> Fallback | None:
    """Open a fallback: `exec_fallback` is called on a node that is executing."""
    scope = _executing(node)
    return None if scope is None else Fallback(scope)


def _executing(node: Any) -> AttemptedScope | None:
    scope = scope_of()
    if isinstance(scope, AttemptedScope) and scope.owner is node and scope.executing:
        return scope
    return None


def _attributes(failure: AttemptFailed) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.ATTEMPT: failure.attempt,
        semconv.ATTEMPT_MAX: failure.max,
        semconv.EXCEPTION_TYPE: failure.error_type,
        semconv.ATTEMPT_PHASE: semconv.EXEC,
        semconv.ATTEMPT_WAIT: failure.wait,
        semconv.ATTEMPT_PLACE: failure.place,
    }
    if failure.message:
        attributes[semconv.EXCEPTION_MESSAGE] = failure.message
    return attributes


def _number(owner: Any, name: str, default: float) -> float:
    value = owner.__dict__.get(name, default)
    return value if type(value) in (int, float) else default
