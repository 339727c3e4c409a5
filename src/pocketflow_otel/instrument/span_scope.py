"""The one context manager that makes a flow, node or item span.

A `TracedScope` is opened by a wrapper around the user's call, entered with `with`, and closed when
the call ends, however it ends. Everything in here that could fail runs inside a `guard`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, get_current, set_value
from opentelemetry.trace import StatusCode, set_span_in_context

from pocketflow_otel import semconv
from pocketflow_otel.api import user_attributes
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument import backend_attributes
from pocketflow_otel.instrument.exceptions import error_text, exception_attributes, place_of, type_name
from pocketflow_otel.instrument.wrapping import CallHandler, leave
from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED, Kind, Scope
from pocketflow_otel.usage import span_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.tracer import FlowTracer
    from pocketflow_otel.usage.totals import UsageTotals

MAX_ERRORS: Final = 16
"""Errors from below that a scope remembers: kept alive, they would keep frames and stores."""

_ADDING: Final = guard("add a step to its flow")
_COUNTING: Final = guard("add up usage and cost")
_DESCRIBING: Final = guard("describe how a step ended")
_FAILING: Final = guard("record an error")
_CLOSING: Final = guard("let go of a step")
_ENDING: Final = guard("end a span")
_ENTERING: Final = guard("enter a span's context")
_DETACHING: Final = guard("leave a span's context")
_MEASURING: Final = guard("record metrics")
_TRANSLATING: Final = guard("add attributes for other back ends")


class TracedScope(Scope, CallHandler):
    """A scope with a span, from `open_span` to the end of its `with` block.

    Attributes:
        method: The user's method that opened it.
        started: When, by `FlowTracer.now`.
        name: The name of the flow or node, as its span has it.
        last: The name of the node that started in it last.
        failure: The `error.type` of a failure that is returned, not raised; empty without one.
    """

    __slots__ = (
        "_context", "_errors", "_token", "failure", "flow_tracer", "last", "method", "name", "result",
        "started",
    )  # fmt: skip

    def __init__(
        self, kind: Kind, owner: Any, shared: object, parent: Scope | None, flow_tracer: FlowTracer
    ) -> None:
        super().__init__(kind, owner, shared, parent, flow_tracer.new_run() if parent is None else parent.run)
        self.flow_tracer = flow_tracer
        self.method: object = None
        self.result: object = None
        self.started = 0.0
        self.name = self.last = self.failure = ""
        self._context: Any = None
        self._token: Any = None
        self._errors: list[BaseException] = []

    def open_span(
        self, name: str, attributes: dict[str, AttributeValue], context: Context | None = None
    ) -> None:
        """Start the span, which becomes the current one when the scope is entered."""
        self.start_span(name, attributes, context)
        here = get_current() if context is None else context
        recorded = self.span.is_recording()
        if recorded and self.parent is None:
            self._name_run()
        scope = self if recorded else UNTRACED
        self._context = set_span_in_context(self.span, set_value(SCOPE_KEY, scope, here))

    def open_without_span(self, context: Context | None = None) -> None:
        """Have no span: what is in it lies below the span that is current."""
        self._context = set_value(SCOPE_KEY, self, context)

    def start_span(
        self,
        name: str,
        attributes: dict[str, AttributeValue],
        context: Context | None = None,
        start_time: int | None = None,
    ) -> None:
        """Start the span; span processors find this scope in the context they are given."""
        here = get_current() if context is None else context
        attributes.update(user_attributes(here))
        self.name = str(
            attributes.get(semconv.NODE_NAME) or attributes.get(semconv.GEN_AI_WORKFLOW_NAME) or ""
        )
        if self.flow_tracer.config.compat:
            with _TRANSLATING:
                self._translate(attributes)
        assert self.flow_tracer.tracer is not None
        self.span = self.flow_tracer.tracer.start_span(
            name, set_value(SCOPE_KEY, self, here), attributes=attributes, start_time=start_time
        )

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
        started = getattr(self.span, "start_time", None) or time.time_ns()
        self.run.id = make_run_id(started, self.span.get_span_context().span_id)
        self.span.set_attribute(semconv.RUN_ID, self.run.id)

    def __enter__(self) -> None:
        # The last thing before the user's call: whatever fails before leaves no context behind.
        with _ENTERING:
            self._token = attach(self._context)
            self.started = self.flow_tracer.now()  # Not before: what views do at a start is not `prep`.

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # The order matters. First comes what the span is to have, for an ended span takes nothing: its
        # description (which counts the usage found in the store), then the usage, which that closes
        # (what a client reports later goes to the parent), the metrics and the error. The context is
        # left before the span ends: what span processors do then is no part of the step. Each part
        # has a guard of its own, since the rest is due whatever fails: a context that stayed would
        # put the next step below this one, and a span that did not end would never be exported.
        with _DESCRIBING:
            self.end(error)
        total = None
        with _COUNTING:
            total = self._describe_usage()
        metrics = self.flow_tracer.metrics
        if metrics is not None:
            with _MEASURING:
                seconds = self.flow_tracer.now() - self.started
                metrics.record(self, seconds, self._error_type(error), total)
        if error is not None:
            with _FAILING:
                if self.fails_by(error):
                    self.record_error(error)
        with _DETACHING:
            leave(self._context, self._token, error)
        with _ADDING:
            self.add_to_parent()
        with _ENDING:
            self.finish()
        # A thread or task that was started in here keeps its context, and by that this scope, maybe for
        # long: the user's objects are let go, to die when they would without us.
        self._errors.clear()
        self._context = self._token = self.method = self.result = None
        self.owner = self.shared = self.observation = None

    def end(self, error: BaseException | None) -> None:
        if self.span.is_recording():
            self.describe_end(error)

    def finish(self) -> None:
        """Let go of what it holds, and end the span; also that of a call that could not begin."""
        with _CLOSING:
            self.close()
        self.span.end()

    def close(self) -> None:
        """Let go of what it holds: its span ends next."""

    def _describe_usage(self) -> UsageTotals | None:
        """Close the usage of the calls in this scope, and set its attributes."""
        total = self.close_usage()
        if total is None or self.usage is None or not total.models:
            return total
        attributes = span_attributes.sums(total, by_model=self.parent is None)
        if self.usage.has_no_client_span:
            attributes |= span_attributes.of_calls(self.usage.explicit, self.run.prices)
            attributes |= backend_attributes.of_calls(self.flow_tracer.config.compat)
        elif not self.usage.explicit:
            attributes |= span_attributes.without_own_span(self.usage.without_own_span)
        self.span.set_attributes(attributes)
        return total

    def describe_end(self, error: BaseException | None) -> None:
        """Set the attributes known at the end. Each kind of scope has its own."""

    def fails_by(self, error: BaseException) -> bool:
        """Return whether what the user's call raised is a failure."""
        return True

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
        span = self.span
        span.set_attributes(self.describe_error(error))
        span.set_status(StatusCode.ERROR, error_text(error, masked=masked))
        if all(error is not known for known in self._errors):
            span.add_event(semconv.EXCEPTION_EVENT, exception_attributes(error, masked=masked))
            span.set_attribute(semconv.ERROR_PLACE, place_of(error))
        if isinstance(self.parent, TracedScope):
            self.parent._errors.append(error)
            del self.parent._errors[:-MAX_ERRORS]
