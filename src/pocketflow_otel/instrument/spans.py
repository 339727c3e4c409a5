"""The one context manager that makes a flow, node or item span.

A `TracedScope` is opened by a wrapper around the user's call, entered with `with`, and closed when
the call ends, however it ends. Everything in here that could fail runs inside a `guard`.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.propagate import extract, get_global_textmap
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer_provider,
    set_span_in_context,
)

from pocketflow_otel import __version__, semconv
from pocketflow_otel.capture.redact import shorten
from pocketflow_otel.context import user_attributes
from pocketflow_otel.guard import guard
from pocketflow_otel.run import SCOPE_KEY, UNTRACED, Kind, Scope, run_id, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.config import Config

MAX_MESSAGE: Final = 1000
MAX_STACKTRACE: Final = 8000

_DESCRIBING: Final = guard("describe how a step ended")
_FAILING: Final = guard("record an error")
_ENDING: Final = guard("end a span")
_DETACHING: Final = guard("leave a span's context")
_ADOPTING: Final = guard("set up the tracer provider")
_OUR_PACKAGE: Final = __package__.rpartition(".")[0].replace(".", "/")


class Tracing:
    """One instrumentation: its tracer, its settings, and whether it is switched on.

    Args:
        config: The settings.
        provider: Where spans come from; by default the global provider, whenever it is set.
        adopt: Called with each provider before its first run.
        now: The clock of phases, in seconds.
    """

    def __init__(
        self,
        config: Config,
        provider: TracerProvider | None = None,
        *,
        adopt: Callable[[TracerProvider], None] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config = config
        self.enabled = True
        self.now = now
        self._given = provider
        self._adopt = adopt
        self._adopted: TracerProvider | None = None
        self.tracer: Tracer | None = None
        # Now if we can: `get_tracer` changes Python's warning filters, so not amid a flow.
        self.adopt_provider()

    def adopt_provider(self) -> bool:
        """Take the tracer of the present provider; `False` while there is no SDK."""
        provider = self._given or get_tracer_provider()
        if provider is self._adopted:
            return True
        if isinstance(provider, ProxyTracerProvider | NoOpTracerProvider):
            return False
        if self._adopt is not None:
            with _ADOPTING:
                self._adopt(provider)
        self.tracer = provider.get_tracer(semconv.SCOPE_NAME, __version__)
        self._adopted = provider
        return True

    def parent_of(self, owner: Any, shared: object) -> Scope | Context | None:
        """Decide whether a call of `owner` opens a span, and below what.

        Returns:
            The scope it runs in, the context in which it is a run of its own, or `None` when it
            opens none: switched off, suppressed, or a `super()` call of a step that is open.
        """
        if not self.enabled or not is_instrumentation_enabled():
            return None
        context = get_current()
        scope = scope_of(context)
        if scope is None:
            return context
        return None if scope.owner is owner and scope.continues(shared) else scope

    def with_remote_parent(self, context: Context) -> Context:
        """Add the parent that the environment names, for a run that has none in this process.

        So a CI job, or an outer run that started this process, adopts it. The names follow the
        specification's environment carrier: `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`.
        https://opentelemetry.io/docs/specs/otel/context/env-carriers/
        """
        if get_current_span(context).get_span_context().is_valid:
            return context
        carrier = {
            field: os.environ[variable]
            for field in get_global_textmap().fields
            if (variable := field.upper().replace("-", "_")) in os.environ
        }
        return extract(carrier, context) if carrier else context


class Pass:
    """Runs a call, and all below it, without spans: there is no SDK yet."""

    __slots__ = ("_token", "result")

    def __init__(self, context: Context) -> None:
        self.result: object = None
        self._token = attach(set_value(SCOPE_KEY, UNTRACED, context))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        detach(self._token)


class TracedScope(Scope):
    """A scope with a span, from `open_span` to the end of its `with` block.

    Attributes:
        result: What the user's call returned, once it did.
    """

    __slots__ = ("_context", "_errors", "_token", "result", "started", "tracing")

    def __init__(
        self, kind: Kind, owner: Any, shared: object, parent: Scope | None, tracing: Tracing
    ) -> None:
        super().__init__(kind, owner, shared, parent)
        self.tracing = tracing
        self.result: object = None
        self.started = 0.0
        self._errors: list[BaseException] = []

    def open_span(
        self, name: str, attributes: dict[str, AttributeValue], context: Context | None = None
    ) -> None:
        """Start the span and make it the current one: the last thing before the user's call."""
        self.started = self.tracing.now()
        self.start_span(name, attributes, context)
        here = get_current() if context is None else context
        recorded = self.span.is_recording()
        if recorded and self.parent is None:
            self._name_run()
        self._attach(
            set_span_in_context(self.span, set_value(SCOPE_KEY, self if recorded else UNTRACED, here))
        )

    def open_without_span(self) -> None:
        """Become the current scope below the span that is current."""
        self.started = self.tracing.now()
        self._attach(set_value(SCOPE_KEY, self))

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
        assert self.tracing.tracer is not None
        self.span = self.tracing.tracer.start_span(
            name, set_value(SCOPE_KEY, self, here), attributes=attributes, start_time=start_time
        )

    def _name_run(self) -> None:
        started = getattr(self.span, "start_time", None) or time.time_ns()
        self.run.id = run_id(started, self.span.get_span_context().span_id)
        self.span.set_attribute(semconv.RUN_ID, self.run.id)

    def _attach(self, context: Context) -> None:
        self._context = context
        self._token = attach(context)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.span.is_recording():
            with _DESCRIBING:
                self.describe_end(error)
            if error is not None:
                with _FAILING:
                    self.record_error(error)
        with _DETACHING:
            # A coroutine that is closed from elsewhere leaves in a context that is not ours.
            if not isinstance(error, GeneratorExit) or get_current() is self._context:
                detach(self._token)
        with _ENDING:
            self.close()
            self.add_up()
        self._errors.clear()

    def close(self) -> None:
        """End the span."""
        self.span.end()

    def describe_end(self, error: BaseException | None) -> None:
        """Set the attributes known at the end. Each kind of scope has its own."""

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        """Return the attributes that say where it failed."""
        return {semconv.ERROR_TYPE: type_name(type(error))}

    def record_error(self, error: BaseException) -> None:
        """Say that the user's call raised; the innermost span only tells the whole story."""
        masked = self.tracing.config.mask_errors
        span = self.span
        span.set_attributes(self.describe_error(error))
        span.set_status(StatusCode.ERROR, error_text(error, masked=masked))
        if all(error is not known for known in self._errors):
            span.add_event(semconv.EXCEPTION_EVENT, exception_attributes(error, masked=masked))
        if isinstance(self.parent, TracedScope):
            self.parent._errors.append(error)


def type_name(cls: type) -> str:
    """Return the value of `error.type` and `exception.type`: the qualified name of a class."""
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def message_of(error: BaseException, *, masked: bool) -> str:
    """Return what `str` makes of an exception, shortened; its `__str__` may raise."""
    if masked:
        return ""
    message = "<its __str__ raises>"
    with suppress(Exception):
        message = str(error)
    return shorten(message, MAX_MESSAGE)


def error_text(error: BaseException, *, masked: bool) -> str:
    """Return `KeyError: 'chunks'`; without a message the type alone."""
    message = message_of(error, masked=masked)
    name = type(error).__name__
    return f"{name}: {message}" if message else name


def exception_attributes(error: BaseException, *, masked: bool) -> dict[str, AttributeValue]:
    """Return an `exception` event's attributes, as the convention for exceptions on spans has it.

    https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
    """
    attributes: dict[str, AttributeValue] = {semconv.EXCEPTION_TYPE: type_name(type(error))}
    if masked:
        lines: Iterable[str] = _without_ours(traceback.extract_tb(error.__traceback__)).format()
    else:
        attributes[semconv.EXCEPTION_MESSAGE] = message_of(error, masked=False)
        lines = _story(error).format()
    stacktrace = shorten("".join(lines)[-MAX_STACKTRACE:], MAX_STACKTRACE)
    return {**attributes, semconv.EXCEPTION_STACKTRACE: stacktrace}


def _story(error: BaseException) -> traceback.TracebackException:
    story = traceback.TracebackException.from_exception(error, compact=True)
    told: traceback.TracebackException | None = story
    while told is not None:
        told.stack = _without_ours(told.stack)
        told = told.__cause__ or told.__context__
    return story


def _without_ours(stack: traceback.StackSummary) -> traceback.StackSummary:
    """Leave our wrappers out of what is shown: they are in every frame, and never the cause."""
    return traceback.StackSummary.from_list(
        [frame for frame in stack if f"/{_OUR_PACKAGE}/instrument/" not in frame.filename]
    )


