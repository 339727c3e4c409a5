"""The span of a step, one execution of a node, and the bounds of its phases."""

from __future__ import annotations

import sys
from types import MethodType
from typing import TYPE_CHECKING, Any

from pocketflow_otel import semconv
from pocketflow_otel.guard import is_exception
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.scopes.attempts import AttemptedScope, Attempts, Retry, on_stand_in
from pocketflow_otel.instrument.scopes.batch import BatchState, ItemScope
from pocketflow_otel.instrument.scopes.sequencer import count_visit
from pocketflow_otel.instrument.scopes.stand_in import NodeStandIn, real
from pocketflow_otel.instrument.scopes.store_scope import StoreScope
from pocketflow_otel.instrument.span_scope import Continuation
from pocketflow_otel.instrument.wrapping import CallHandler, Watcher, opened
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.wrapping import Args, Kwargs
    from pocketflow_otel.runtime.scope import Scope


class NodeScope(StoreScope, AttemptedScope):
    """One step: one execution of a node.

    Attributes:
        attempts: Of a node that is no batch node.
        batch: The items of a batch node.
        phase: `prep`, `exec` or `post`: what runs now, or ran last.
        pass_started: When `_run` began once more, by the run's clock; 0 where it has not.
        exec_started, exec_ended: The bounds of `exec`; 0 until then.
    """

    __slots__ = ("attempts", "batch", "exec_ended", "exec_started", "pass_started", "phase")

    def __init__(self, owner: Any, shared: object, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("node", owner, shared, parent, flow_tracer)
        self.attempts = Attempts()
        self.batch: BatchState | None = None
        self.phase = semconv.PREP
        self.pass_started = self.exec_started = self.exec_ended = 0

    def is_super_call(self, method: object) -> bool:
        # A node that runs itself again, from its own `exec` or `post`, makes a new step.
        return self.method is not method and not self.attempts.open

    @property
    def executing(self) -> bool:
        return self.phase == semconv.EXEC and self.batch is None

    def begin(self, context: Context | None) -> None:
        """Start the span: in a context, where the node is a run of its own."""
        node = self.owner
        own = naming.attributes_of(node)
        name = naming.node_name(node, own)
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE,
            semconv.NODE_NAME: name,
            semconv.NODE_CLASS: type(node).__name__,
            semconv.NODE_VISIT: count_visit(node, own, self.parent),
        }
        max_retries = own.get("max_retries")
        if type(max_retries) is int and max_retries <= sys.maxsize:
            attributes[semconv.NODE_MAX_RETRIES] = max_retries
        if self.batch is not None:
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.open_span(f"{semconv.INVOKE_NODE} {name}", attributes, context)

    def begin_pass(self) -> None:
        super().begin_pass()
        self.phase = semconv.PREP
        self.pass_started = self.run.clock.now()
        self.exec_started = self.exec_ended = 0

    def begin_exec(self, method: Any, stand_in: NodeStandIn) -> Any:
        self.exec_started = self.run.clock.now()
        self.phase = semconv.EXEC
        if self.batch is not None:  # Its size is not known yet: the wrapper is given the items.
            return MethodType(method.__func__, stand_in) if type(method) is MethodType else method
        return on_stand_in(method, stand_in)

    def begin_post(self) -> None:
        if self.phase == semconv.EXEC:
            self.exec_ended = self.run.clock.now()
            self.phase = semconv.POST
        self.attempts.succeed(self)

    def pass_failed(self, error: Exception) -> None:
        attempts = self.attempts
        if self.batch is None and error is not attempts.error:
            if not attempts.open:  # In `prep` or `post`: the whole of the node is what is tried.
                attempts.count += self.phase == semconv.PREP
            attempts.fail(self, error, self.phase)

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {}
        self._describe_phases(attributes)
        if self.batch is None:
            if self.attempts.open and is_exception(error):
                self.attempts.fail(self, error)
            self.attempts.describe(self, attributes, error)
        else:
            self.batch.describe(attributes)
        if error is None:
            action = attributes[semconv.NODE_ACTION] = naming.action_name(self.result)
            following = self.next_node(action)
            if following is not None:
                attributes[semconv.NODE_NEXT] = naming.node_name(following)
        self.record_changes(attributes)
        self.set_attributes(attributes)

    def _describe_phases(self, attributes: dict[str, AttributeValue]) -> None:
        # To the microsecond by division: `round` takes ten times as long.
        began, ended = self.exec_started, self.exec_ended
        if began:
            prep_began = self.pass_started or self.started
            attributes[semconv.NODE_PREP_DURATION] = (began - prep_began) // 1_000 / 1_000_000
            attributes[semconv.NODE_EXEC_DURATION] = ((ended or self.ended) - began) // 1_000 / 1_000_000
        if self.phase == semconv.POST:
            attributes[semconv.NODE_POST_DURATION] = (self.ended - ended) // 1_000 / 1_000_000

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        return {**super().describe_error(error), semconv.ERROR_PHASE: self.phase}


class ExecPhase(Watcher):
    """The exec phase of a step, where it is not its stand-in that is asked for it."""

    __slots__ = ("_step",)

    def __init__(self, step: NodeScope) -> None:
        super().__init__()
        self._step = step
        step.exec_started = step.run.clock.now()
        step.phase = semconv.EXEC

    def enter(self) -> NodeStandIn:
        return self._step.stand_in()

    def see_end(self, error: BaseException | None) -> None:
        if error is None:  # Else the step failed in exec, and that is where it stays.
            self._step.begin_post()


def open_exec(args: Args, kwargs: Kwargs) -> CallHandler | None:
    """Open what a call of `_exec` is: the exec phase of a step, or an item of its batch."""
    step = _step_of(args)
    if step is None:
        return None
    if step.batch is not None:
        item = ItemScope(step.batch, step)
        return opened(item, item.open)
    return Retry(step) if step.executing else ExecPhase(step)


def open_batch(args: Args, kwargs: Kwargs) -> CallHandler | None:
    """Open the exec phase of a batch node, which begins its batch; of others, what `open_exec` does."""
    step = _step_of(args)
    if step is None or step.batch is None:
        return open_exec(args, kwargs)
    if step.batch.begun:
        return Continuation(step)
    phase = ExecPhase(step)
    step.batch.begin(step, args[1] if len(args) > 1 else kwargs.get("prep_res", kwargs.get("items")))
    return phase


def _step_of(args: Args) -> NodeScope | None:
    """Return the innermost open step, if it is that of the node a method is called on."""
    scope = scope_of()
    node = real(args[0]) if args else None
    return scope if isinstance(scope, NodeScope) and scope.owner is node else None
