"""The attempts of steps and batch items: their number, and events of those that failed.

PocketFlow swallows the exceptions of attempts it repeats, and its async nodes keep no number. Nor is
the last attempt known by counting: at the repository's head the items of a parallel batch share
one number, and a node may repeat the whole of itself. So a failed attempt becomes an event once it is
known not to be the error of the step.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from inspect import getattr_static
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import is_exception
from pocketflow_otel.instrument.exceptions import message_of, place_of, type_name
from pocketflow_otel.instrument.scopes.stand_in import NodeStandIn, real
from pocketflow_otel.instrument.span_scope import Continuation, TracedScope
from pocketflow_otel.instrument.wrapping import Watcher, bare
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
        falling_back: Whether it has been asked for one.
        failed: Failures with their times.
        untold: Whether the views have not heard of the last one: it seemed to be the last.
        error: What the last attempt raised, as long as PocketFlow holds on to it: it may yet be
            the error of the step.
    """

    __slots__ = ("count", "error", "failed", "fallback", "falling_back", "open", "untold")

    def __init__(self) -> None:
        self.count = 0
        self.open = False
        self.fallback = self.falling_back = False
        self.failed: list[tuple[AttemptFailed, int]] = []
        self.untold = False
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

    def begin(self, scope: AttemptedScope) -> None:
        """Take note of an attempt that begins; a fallback that asks once more is still the fallback."""
        if self.falling_back:
            return
        if self.untold:
            self.go_on(scope)
        self.count += 1
        self.open = True
        self.error = None

    def go_on(self, scope: AttemptedScope) -> None:
        """Take note that what seemed to be the last attempt was not."""
        self.falling_back = False
        if self.untold:  # The node repeats itself, in a way of its own: nobody knows how often.
            failure, when = self.failed[-1]
            self.failed[-1] = replace(failure, max=0), when
            self._publish_last(scope)

    def fail(self, scope: AttemptedScope, error: Exception, phase: str = semconv.EXEC) -> None:
        """Take note of an attempt that failed."""
        self.open = False
        self.error = error
        # PocketFlow tries `exec` again, and nothing else: where the node does, nobody knows how often.
        limit = self.max_attempts(scope.owner) if phase == semconv.EXEC else 0
        last = not limit or self.is_last(scope.owner, error)
        failure = AttemptFailed(
            attempt=self.count,
            max=int(limit) if self.count <= limit <= sys.maxsize else 0,
            error_type=type_name(type(error)),
            message=message_of(error, masked=scope.flow_tracer.config.mask_errors),
            place=place_of(error),
            item=getattr(scope, "index", None),
            wait=0.0 if last else _seconds(self.wait(scope.owner)),
            phase=phase,
        )
        del self.failed[_MAX_EVENTS - 1 :]  # The first ones, and always the last.
        self.failed.append((failure, scope.run.clock.now()))
        self.untold = True
        if not last:
            self._publish_last(scope)

    def succeed(self, scope: AttemptedScope) -> None:
        """Take note that there is a result: from the last attempt, or from the fallback."""
        self.open = False
        self.error = None
        if self.falling_back:
            self.falling_back = False
            self.fallback = True
            if self.untold:
                self._publish_last(scope)

    def _publish_last(self, scope: AttemptedScope) -> None:
        self.untold = False
        scope.run.publish(scope, self.failed[-1][0])

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
        if self.failed:
            failed, self.failed, self.untold = self.failed, [], False
            for failure, when in failed:
                if error is not None and error is last and failure.attempt == self.count:
                    break
                scope.add_event(semconv.ATTEMPT_FAILED, _attributes(failure), when)


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

    def stand_in(self) -> NodeStandIn:
        """Return what PocketFlow's own methods get for `self`."""
        return NodeStandIn(self.owner, self)

    def begin_exec(self, method: Any, stand_in: NodeStandIn) -> Any:
        """Take note that `exec` begins; return what runs it: the node's `_exec`, perhaps on its stand-in."""
        return on_stand_in(method, stand_in)

    def begin_attempt(self) -> None:
        """Take note that `exec` is called."""
        self.attempts.begin(self)

    def attempt_failed(self, error: Exception) -> None:
        """Take note of what `exec` raised."""
        if self.attempts.open:
            self.attempts.fail(self, error)

    def attempt_caught(self, error: Exception) -> None:
        """Take note of what PocketFlow caught: that of an attempt, also where a copy's helper made it."""
        if self.executing and not self.attempts.open and error is not self.attempts.error:
            self.begin_attempt()
        self.attempt_failed(error)

    def begin_fallback(self) -> None:
        """Take note that `exec_fallback` is called."""
        self.attempts.falling_back = True

    def begin_post(self) -> None:
        """Take note that `exec` has ended well."""
        self.attempts.succeed(self)

    def begin_pass(self) -> None:
        """Take note that the node's `_run` begins, perhaps once more."""
        self.attempts.go_on(self)

    def pass_failed(self, error: Exception) -> None:
        """Take note of what the node's `_run` raised, which may be repeated."""
        self.attempt_failed(error)


def on_stand_in(method: Any, stand_in: NodeStandIn) -> Any:
    """Return a method of a node without our wrapper, bound to its stand-in; others as they are."""
    function = bare(method.__func__) if type(method) is MethodType else None
    return method if function is None else MethodType(function, stand_in)


class Pass(Continuation[AttemptedScope]):
    """A call of a node's `_run` within an open step or item: `super()._run`, or by pflow's engine."""

    __slots__ = ()

    def enter(self) -> object | None:
        self._scope.begin_pass()
        return super().enter()

    def see_end(self, error: BaseException | None) -> None:
        if is_exception(error):
            self._scope.pass_failed(error)


class Retry(Continuation[AttemptedScope]):
    """A call of a node's `_exec` within its exec phase: `super()._exec`, or by its own fallback."""

    __slots__ = ("_falling_back",)

    def __init__(self, scope: AttemptedScope) -> None:
        super().__init__(scope)
        self._falling_back = scope.attempts.falling_back

    def see_end(self, error: BaseException | None) -> None:
        if error is not None:  # The fallback in it gave no result; it may be repeated.
            self._scope.attempts.falling_back = self._falling_back


class Attempt(Watcher):
    """One attempt: a call of `exec` by an `_exec` of the user's own."""

    __slots__ = ("_scope",)

    def __init__(self, scope: AttemptedScope) -> None:
        super().__init__()
        self._scope = scope
        scope.begin_attempt()

    def see_end(self, error: BaseException | None) -> None:
        if is_exception(error):
            self._scope.attempt_failed(error)
        self._scope.attempts.open = False


class Fallback(Watcher):
    """A call of the user's `exec_fallback` by an `_exec` of the user's own."""

    __slots__ = ("_scope",)

    def __init__(self, scope: AttemptedScope) -> None:
        super().__init__()
        self._scope = scope
        scope.begin_fallback()

    def see_end(self, error: BaseException | None) -> None:
        if error is None:
            self._scope.attempts.succeed(self._scope)
        else:
            self._scope.attempts.falling_back = False


def open_attempt(args: Args, kwargs: Kwargs) -> Attempt | None:
    """Open an attempt: `exec` is called on a node that is executing."""
    scope = _executing(args)
    idle = scope is not None and not (scope.attempts.open or scope.attempts.falling_back)
    return Attempt(scope) if scope is not None and idle else None


def open_fallback(args: Args, kwargs: Kwargs) -> Fallback | None:
    """Open a fallback: `exec_fallback` is called on a node that is executing."""
    scope = _executing(args)
    return None if scope is None or scope.attempts.falling_back else Fallback(scope)


def open_pass(args: Args, kwargs: Kwargs) -> Pass | None:
    """Open a pass: `_run` is called on the node of an open step or item."""
    scope = _scope_of_node(args)
    return None if scope is None else Pass(scope)


def _executing(args: Args) -> AttemptedScope | None:
    scope = _scope_of_node(args)
    return scope if scope is not None and scope.executing else None


def _scope_of_node(args: Args) -> AttemptedScope | None:
    scope = scope_of()
    node = real(args[0]) if args else None
    return scope if isinstance(scope, AttemptedScope) and scope.owner is node else None


def _attributes(failure: AttemptFailed) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.ATTEMPT: failure.attempt,
        semconv.ATTEMPT_MAX: failure.max,
        semconv.EXCEPTION_TYPE: failure.error_type,
        semconv.ATTEMPT_PHASE: failure.phase,
        semconv.ATTEMPT_WAIT: failure.wait,
        semconv.ATTEMPT_PLACE: failure.place,
    }
    if failure.message:
        attributes[semconv.EXCEPTION_MESSAGE] = failure.message
    return attributes


def _number(owner: Any, name: str, default: float) -> float:
    value = getattr_static(owner, name, default)  # A class may have it; a property is never run.
    return value if type(value) in (int, float) else default


def _seconds(wait: float) -> float:
    """Return the seconds of a wait that ends; 0 of any other."""
    return float(wait) if 0 < wait <= sys.float_info.max else 0.0
