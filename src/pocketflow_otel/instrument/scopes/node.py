"""The span of a step, one execution of a node, and the bounds of its phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.scopes.attempts import AttemptedScope, Attempts
from pocketflow_otel.instrument.scopes.batch import BatchState, ItemScope
from pocketflow_otel.instrument.scopes.sequencer import count_visit
from pocketflow_otel.instrument.scopes.store_scope import StoreScope
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.wrapping import Args, Kwargs
    from pocketflow_otel.runtime.scope import Scope

_TIMING: Final = guard("time the phases of a step")


class NodeScope(StoreScope, AttemptedScope):
    """One step: one execution of a node.

    Attributes:
        attempts: Of a node that is no batch node.
        batch: The items of a batch node.
        phase: `prep`, `exec` or `post`: what runs now, or ran last.
        exec_started, exec_ended: The bounds of `exec`, by `FlowTracer.now`; 0.0 until then.
    """

    __slots__ = ("attempts", "batch", "exec_ended", "exec_started", "phase")

    def __init__(self, owner: Any, shared: object, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("node", owner, shared, parent, flow_tracer)
        self.attempts = Attempts()
        self.batch: BatchState | None = None
        self.phase = semconv.PREP
        self.exec_started = 0.0
        self.exec_ended = 0.0

    def is_super_call(self, method: object) -> bool:
        # A node that runs itself again, from its own `exec` or `post`, makes a new step.
        return self.method is not method and self.phase != semconv.EXEC

    @property
    def executing(self) -> bool:
        return self.phase == semconv.EXEC and self.batch is None

    def open(self, context: Context | None, *, parallel: bool | None) -> None:
        """Start the span; `parallel` is how a batch node runs its items, `None` for others."""
        node = self.owner
        name = naming.node_name(node)
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE,
            semconv.NODE_NAME: name,
            semconv.NODE_CLASS: type(node).__name__,
            semconv.NODE_VISIT: count_visit(node, self.parent),
        }
        max_retries = node.__dict__.get("max_retries")
        if type(max_retries) is int:
            attributes[semconv.NODE_MAX_RETRIES] = max_retries
        if parallel is not None:
            self.batch = BatchState(parallel=parallel)
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.open_span(f"{semconv.INVOKE_NODE} {name}", attributes, context)

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {}
        if self.batch is None:
            self.attempts.describe(self, attributes, error)
        else:
            self.batch.describe(attributes)
        if error is None:
            action = attributes[semconv.NODE_ACTION] = naming.action_name(self.result)
            following = self.next_node(action)
            if following is not None:
                attributes[semconv.NODE_NEXT] = naming.node_name(following)
        with _TIMING:
            self._describe_phases(attributes)
        self.record_changes(attributes)
        self.span.set_attributes(attributes)

    def _describe_phases(self, attributes: dict[str, AttributeValue]) -> None:
        began, ended = self.exec_started, self.exec_ended
        if began:
            attributes[semconv.NODE_PREP_DURATION] = round(began - self.started, 6)
            attributes[semconv.NODE_EXEC_DURATION] = round(ended - began, 6)
        if self.phase == semconv.POST:
            attributes[semconv.NODE_POST_DURATION] = round(self.flow_tracer.now() - ended, 6)

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        return {**super().describe_error(error), semconv.ERROR_PHASE: self.phase}


class ExecPhase(CallHandler):
    """The exec phase of a step: its bounds give the durations of all three phases."""

    __slots__ = ("_step", "result")

    def __init__(self, step: NodeScope) -> None:
        self._step = step
        step.exec_started = step.flow_tracer.now()
        step.phase = semconv.EXEC

    def end(self, error: BaseException | None) -> None:
        self._step.exec_ended = self._step.flow_tracer.now()
        if error is None:  # Else the step failed in exec, and that is where it stays.
            self._step.phase = semconv.POST


def open_exec(node: Any, args: Args, kwargs: Kwargs) -> CallHandler | None:
    """Open what a call of `_exec` is: the exec phase of a step, or an item of its batch."""
    scope = step_of(node)
    if scope is None:
        return None
    if scope.batch is not None:
        item = ItemScope(scope.batch, scope)
        item.open()
        return item
    return None if scope.executing else ExecPhase(scope)


def open_batch(node: Any, args: Args, kwargs: Kwargs) -> CallHandler | None:
    """Open the exec phase of a batch node, which begins its batch; of others, what `open_exec` does."""
    scope = step_of(node)
    if scope is None or scope.batch is None:
        return open_exec(node, args, kwargs)
    if scope.phase == semconv.EXEC:
        return None
    phase = ExecPhase(scope)
    scope.batch.begin(scope, args[0] if args else kwargs.get("prep_res", kwargs.get("items")))
    return phase


def step_of(node: Any) -> NodeScope | None:
    """Return the innermost open step, if it is the node's."""
    scope = scope_of()
    return scope if isinstance(scope, NodeScope) and scope.owner is node else None
