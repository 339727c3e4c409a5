"""What workflows, steps and items have in common: they fail by what they return, as pflow has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.trace import StatusCode

from pocketflow_otel import semconv
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.exceptions import MAX_MESSAGE
from pocketflow_otel.instrument.pflow.shared_state import WarningInfo
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from collections.abc import Container

    from opentelemetry.util.types import AttributeValue

ERROR: Final = "error"
END: Final = "end"
UNKNOWN_ACTION: Final = "<unknown>"
"""Stands for an action that no author has written down: it may be what a model answered."""
_GATES: Final = {
    "GateDenied": "denied",
    "GateNotInteractiveError": "non_interactive",
    "GateResolverError": "error",
}
"""What pflow raises when a gate stops a run, and what its trace calls that."""


def is_error(action: object) -> bool:
    """Return whether an action says that the step failed: `error`, or one that begins with it."""
    return isinstance(action, str) and action.startswith(ERROR)


def gate_outcome(error: BaseException) -> str | None:
    """Return how a gate was answered, where that is what stopped the run."""
    cls = type(error)
    return _GATES.get(cls.__name__) if cls.__module__.startswith("pflow.") else None


class PflowScope(TracedScope):
    """A scope of a workflow: it may fail by what it returns.

    Attributes:
        failed_below: The `error.type` of what failed in it last, and was not recovered from.
    """

    __slots__ = ()

    failed_below: str

    def fails_by(self, error: BaseException) -> bool:
        return gate_outcome(error) is None and super().fails_by(error)

    def fail(self, kind: str, text: str, *, event: bool) -> None:
        """Record a failure that was returned, not raised.

        Args:
            kind: The `error.type`: an exception's type, or pflow's category.
            text: pflow's text, which holds data.
            event: Whether to add an `exception` event: not where a span below has it.
        """
        self.failure = kind
        self.set_attributes({semconv.ERROR_TYPE: kind})
        shown = "" if self.flow_tracer.config.mask_errors else shorten(text, MAX_MESSAGE)
        self.span.set_status(StatusCode.ERROR, shown or kind)
        if event:
            attributes: dict[str, AttributeValue] = {semconv.EXCEPTION_TYPE: kind}
            if shown:
                attributes[semconv.EXCEPTION_MESSAGE] = shown
            self.add_event(semconv.EXCEPTION_EVENT, attributes)
        self.propagate_failure(kind)

    def propagate_failure(self, kind: str) -> None:
        """Leave the failure with the parent, which may yet recover."""
        if isinstance(self.parent, PflowScope):
            self.parent.failed_below = kind  # type: ignore[misc]  # a slot of each subclass

    def action_text(self, returned: object, known: Container[object] = ()) -> str:
        """Return the name of an action; of one that may be data, only where texts may be recorded.

        Args:
            returned: What a step or an engine returned.
            known: The actions that lead on.
        """
        action = naming.action_name(returned)
        if not self.flow_tracer.config.mask_errors or action in known:
            return action
        if is_error(action):
            return ERROR
        return action if action in (semconv.DEFAULT_ACTION, END) else UNKNOWN_ACTION

    def add_warning(self, warning: object, node_id: str | None = None) -> None:
        """Add the event of a warning of pflow."""
        found = WarningInfo.read(warning)
        attributes: dict[str, AttributeValue] = {
            semconv.WARNING_CATEGORY: found.category,
            semconv.WARNING_SEVERITY: found.severity,
        }
        if node_id is not None:
            attributes[semconv.WARNING_NODE] = node_id
        if found.text and not self.flow_tracer.config.mask_errors:
            attributes[semconv.WARNING_MESSAGE] = shorten(found.text, MAX_MESSAGE)
        self.add_event(semconv.WARNING, attributes)
