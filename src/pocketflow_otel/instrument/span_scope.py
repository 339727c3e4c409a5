"""The one call handler that makes a flow, node or item span.

A `TracedScope` is opened by a wrapper around the user's call, entered just before it, and ended when
the call is over, however it went. It ends part by part: one that fails costs no other, and one that
was interrupted is done once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from opentelemetry.context import set_value
from opentelemetry.trace import StatusCode, set_span_in_context

from pocketflow_otel import semconv
from pocketflow_otel.api import user_attributes
from pocketflow_otel.guard import failed, guard, let_through
from pocketflow_otel.instrument import backend_attributes
from pocketflow_otel.instrument.exceptions import (
    error_text,
    exception_attributes,
    is_clean_exit,
    place_of,
    type_name,
)
from pocketflow_otel.instrument.wrapping import CallHandler, Watcher, end_interrupted, interrupted
from pocketflow_otel.runtime.context import current_context, make_current
from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED, Kind, RecordedEvent, Scope, scope_of
from pocketflow_otel.usage import span_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.tracer import FlowTracer
    from pocketflow_otel.usage.totals import UsageTotals

MAX_ERRORS: Final = 16
"""Errors from below that a scope remembers: kept alive, they would keep frames and stores."""

S = TypeVar("S", bound="TracedScope")

_Parts = tuple[tuple[int, "Callable[[Any], None]"], ...]

_FITTING: Final = guard("choose what a small span takes")
_TRANSLATING: Final = guard("add attributes for other back ends")


class TracedScope(Scope, CallHandler):
    """A scope with a span, from `open_span` to the last part of `end`.

    Attributes:
        method: The user's method that opened it.
        started, ended: When the user's call began and when it was over, by the run's clock; 0 until then.
        name: The name of the flow or node, as its span has it.
        last: The name of the node that started in it last.
        failure: The `error.type` of a failure that is returned, not raised; empty without one.
    """

    __slots__ = (
        "_context", "_errors", "_part", "_parts", "_total", "ended", "error", "failure", "flow_tracer",
        "last", "method", "name", "result", "started",
    )  # fmt: skip

    def __init__(
        self, kind: Kind, owner: Any, shared: object, parent: Scope | None, flow_tracer: FlowTracer
    ) -> None:
        super().__init__(kind, owner, shared, parent, flow_tracer.new_run() if parent is None else parent.run)
        self.flow_tracer = flow_tracer
        self.method: object = None
        self.result: object = None
        self.error: BaseException | None = None
        self.started = self.ended = 0
        self.name = self.last = self.failure = ""
        self._context: Any = None
        self._errors: tuple[BaseException, ...] = ()
        self._total: UsageTotals | None = None
        self._part = 0
        self._parts: _Parts = ()

    def open_span(
        self, name: str, attributes: dict[str, AttributeValue], context: Context | None = None
    ) -> None:
        """Start the span, which becomes the current one when the scope is entered."""
        here = self.start_span(name, attributes, context)
        if self.span.is_recording():
            if self.parent is None:
                self._name_run()
        else:
            here = set_value(SCOPE_KEY, UNTRACED, here)
        self._context = set_span_in_context(self.span, here)

    def open_without_span(self, context: Context | None = None) -> None:
        """Have no span: what is in it lies below the span that is current."""
        self._context = set_value(SCOPE_KEY, self, context)

    def start_span(
        self,
        name: str,
        attributes: dict[str, AttributeValue],
        context: Context | None = None,
        start_time: int | None = None,
    ) -> Context:
        """Start the span; span processors find this scope in the context they are given, and returned."""
        here = current_context() if context is None else context
        flow_tracer = self.flow_tracer
        given = user_attributes(here)
        if given:
            attributes.update(given)
        self.name = str(
            attributes.get(semconv.NODE_NAME) or attributes.get(semconv.GEN_AI_WORKFLOW_NAME) or ""
        )
        if flow_tracer.config.compat:
            with _TRANSLATING:
                self._translate(attributes)
        assert flow_tracer.tracer is not None
        here = set_value(SCOPE_KEY, self, here)
        self.attributes = attributes
        limits = flow_tracer.limits
        taken = attributes if limits is None else limits.at_start(attributes)
        when = self.run.clock.now() if start_time is None else start_time
        self.span = flow_tracer.tracer.start_span(name, here, attributes=taken, start_time=when)
        return here

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Record attributes, and put them on the span; on a small one when it ends, and all are known."""
        self.attributes.update(attributes)
        if self.flow_tracer.limits is None:
            self.span.set_attributes(attributes)

    def _put_on_span(self, event: RecordedEvent) -> None:
        limits = self.flow_tracer.limits
        attributes = event.attributes if limits is None else limits.of_event(event.attributes)
        self.span.add_event(event.name, attributes, event.time)

    def _translate(self, attributes: dict[str, AttributeValue]) -> None:
        """Add the attributes under which other back ends look for the same."""
        above = self.parent
        while isinstance(above, TracedScope) and not (above.last or above.name):
            above = above.parent  # Items have no name.
        before = (above.last or above.name) if isinstance(above, TracedScope) else ""
        attributes.update(
            backend_attributes.of_start(
                self.flow_tracer.config.compat,
                attributes,
                name=self.name,
                before=before,
                root=self.parent is None,
            )
        )
        if isinstance(self.parent, TracedScope) and self.name:
            self.parent.last = self.name

    def _name_run(self) -> None:
        started = getattr(self.span, "start_time", None) or self.run.clock.now()
        self.run.id = make_run_id(started, self.span.get_span_context().span_id)
        self.set_attributes({semconv.RUN_ID: self.run.id})

    def enter(self) -> object | None:
        # Last before the user's call: whatever fails before leaves no context behind.
        self.outer = current_context()
        make_current(self._context)
        self.started = self.run.clock.now()  # Not before: what views do at a start is not `prep`.
        return self.stand_in()

    def stand_in(self) -> object | None:
        """Return what PocketFlow's own methods get for `self`; `None` for the user's object itself."""
        return None

    def end(self) -> None:
        if not self._parts:
            self.ended = self.ended or self.run.clock.now()
            usual = self.parent is not None and self.error is None and self.flow_tracer.metrics is None
            self._parts = _USUAL if usual else _PARTS
        # What is interrupted stays what is done next: `_part` counts on when another one begins.
        following = self._parts[self._part :] if self._part else self._parts
        for self._part, part in following:
            try:
                part(self)
            except RecursionError as error:
                let_through(error)
                interrupted.append(self)  # It goes on farther from the limit.
                return
            except Exception as error:
                failed(_PLACES[part], error)

    def _leave(self) -> None:
        """Make current again what was before; a context that this was not entered in is left alone."""
        if self.outer is not None:
            here = current_context() is self._context or not self.may_end_elsewhere()
            if here or self.is_around(scope_of()):
                make_current(self.outer)
                self.outer = None

    def _end_others(self) -> None:
        """End what was interrupted in the run, before its root ends."""
        if self.parent is None and self not in interrupted:
            end_interrupted()

    def now(self) -> int:
        return self.ended or super().now()  # What is found out when the call has ended was so when it did.

    def see_end(self) -> None:
        """Take note of how the call ended."""
        if self.span.is_recording():
            self.describe_end(self.error)

    def _measure(self) -> None:
        metrics = self.flow_tracer.metrics
        if metrics is not None:
            seconds = (self.ended - self.started) / 1e9
            metrics.record(self, seconds, self._error_type(self.error), self._total)

    def _record_failure(self) -> None:
        if self.error is not None and self.fails_by(self.error):
            self.record_error(self.error)

    def _end_span(self) -> None:
        if not self.span.is_recording():
            return  # The user has ended it, or the SDK was interrupted amid that.
        limits = self.flow_tracer.limits
        if limits is not None:
            with _FITTING:
                held = getattr(self.span, "attributes", None) or {}
                self.span.set_attributes(limits.at_end(self.attributes, held))
        before = current_context()
        try:
            self.span.end(self.ended)
        except BaseException:
            make_current(before)  # Exporters suppress instrumentation by it.
            raise

    def _let_go(self) -> None:
        """Let go of the user's objects, to die when they would without us.

        A thread or task that was started in here keeps its context, and by that this scope, maybe for
        long.
        """
        self._errors = ()
        self._context = self._total = self.method = self.result = self.error = None
        self.owner = self.shared = self.observation = None
        self.attributes = {}
        self.events = ()

    def close(self) -> None:
        """Let go of what it holds: its span ends next."""

    def _describe_usage(self) -> None:
        """Close the usage of the calls in this scope, and set its attributes."""
        if self.usage is None:
            self.closed = True
            return
        self._total = total = self.close_usage()
        if total is None or not total.models:
            return
        attributes = span_attributes.sums(total, by_model=self.parent is None)
        if self.usage.has_no_client_span:
            attributes |= span_attributes.of_calls(self.usage.explicit, self.run.prices)
            attributes |= backend_attributes.of_calls(self.flow_tracer.config.compat)
        elif not self.usage.explicit:
            attributes |= span_attributes.without_own_span(self.usage.without_own_span)
        self.set_attributes(attributes)

    def describe_end(self, error: BaseException | None) -> None:
        """Set the attributes known at the end. Each kind of scope has its own."""

    def fails_by(self, error: BaseException) -> bool:
        """Return whether what the user's call raised is a failure: `sys.exit(0)` is none."""
        return not is_clean_exit(error)

    def _error_type(self, error: BaseException | None) -> str:
        """Return the `error.type` of what it failed by, raised or returned; empty if it did not."""
        return type_name(type(error)) if error is not None and self.fails_by(error) else self.failure

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        """Return the attributes of a failure."""
        return {semconv.ERROR_TYPE: type_name(type(error))}

    def record_error(self, error: BaseException) -> None:
        """Record what the user's call raised; the innermost span alone has the event with the stack trace."""
        if not self.span.is_recording():
            return
        masked = self.flow_tracer.config.mask_errors
        self.set_attributes(self.describe_error(error))
        self.span.set_status(StatusCode.ERROR, error_text(error, masked=masked))
        if all(error is not known for known in self._errors):
            self.add_event(semconv.EXCEPTION_EVENT, exception_attributes(error, masked=masked), self.ended)
            self.set_attributes({semconv.ERROR_PLACE: place_of(error)})
        if isinstance(self.parent, TracedScope):
            self.parent._errors = (*self.parent._errors, error)[-MAX_ERRORS:]


class Continuation(Watcher, Generic[S]):
    """A call that goes on with an open scope: `super()._exec`, or `_run` of a flow.

    Args:
        scope: The scope, whose stand-in the call gets.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: S) -> None:
        super().__init__()
        self._scope = scope

    def enter(self) -> object | None:
        return self._scope.stand_in()


# The order matters. First the context is left: what comes next is no part of the step. Then comes what
# the span is to have, for an ended span takes nothing: its description (which counts the usage found in
# the store), then the usage, which that closes (what a client reports later goes to the parent), the
# metrics and the error.
_PLACES: Final[dict[Callable[[Any], None], str]] = {
    lambda scope: scope._leave(): "leave a span's context",
    lambda scope: scope._end_others(): "end what was interrupted",
    lambda scope: scope.see_end(): "describe how a step ended",
    lambda scope: scope._describe_usage(): "add up usage and cost",
    lambda scope: scope._measure(): "record metrics",
    lambda scope: scope._record_failure(): "record an error",
    lambda scope: scope.add_to_parent(): "add a step to its flow",
    lambda scope: scope.close(): "let go of a step",
    lambda scope: scope._end_span(): "end a span",
    lambda scope: scope._let_go(): "let go of what a step held",
}
_OTHERS: Final = frozenset({"end what was interrupted", "record metrics", "record an error"})
_PARTS: Final[_Parts] = tuple(enumerate(_PLACES))
_USUAL: Final[_Parts] = tuple(enumerate(part for part, place in _PLACES.items() if place not in _OTHERS))
"""What a step that went well has, in a run without metrics."""
