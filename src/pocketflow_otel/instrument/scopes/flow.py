"""The spans of flows, and of the rounds of batch flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow_otel import semconv
from pocketflow_otel.api import given_run_name
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.scopes.batch import BatchItem, BatchState
from pocketflow_otel.instrument.scopes.sequencer import Sequencer, count_visit
from pocketflow_otel.instrument.scopes.stand_in import BatchFlowStandIn, real
from pocketflow_otel.instrument.scopes.store_scope import StoreScope
from pocketflow_otel.instrument.wrapping import Watcher, opened
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.wrapping import Args, Kwargs
    from pocketflow_otel.runtime.scope import Scope


class FlowScope(StoreScope, Sequencer):
    """One execution of a flow.

    Attributes:
        batch: The rounds of a batch flow.
    """

    __slots__ = ("batch", "framework_loop_only", "framework_routing", "visits")

    def __init__(self, owner: Any, shared: object, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("flow", owner, shared, parent, flow_tracer)
        self.batch: BatchState | None = None
        self.framework_loop_only = self.framework_routing = False
        self.visits: dict[int, int] = {}

    def is_super_call(self, method: object) -> bool:
        # A flow that runs itself again, from its own `post`, makes a new span.
        return self.method is not method

    def begin(
        self,
        context: Context | None,
        *,
        is_framework_class: bool,
        framework_loop_only: bool,
        framework_routing: bool,
    ) -> None:
        """Start the span.

        Args:
            context: Where the flow is a run of its own; else `None`.
            is_framework_class: Whether its class is one of PocketFlow's.
            framework_loop_only: Whether it orchestrates nodes by PocketFlow's own code.
            framework_routing: Whether nothing but PocketFlow's own code finds the next node.
        """
        flow = self.owner
        name = given_run_name() if self.parent is None else None
        name = name or naming.flow_name(flow, is_framework_class=is_framework_class)
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_WORKFLOW,
            semconv.FLOW_CLASS: type(flow).__name__,
        }
        if name:
            attributes[semconv.GEN_AI_WORKFLOW_NAME] = name
        start = naming.start_node(flow)
        if start is not None:
            attributes[semconv.FLOW_START_NODE] = naming.node_name(start)
        if self.parent is not None:
            attributes[semconv.FLOW_NESTED] = True
            attributes[semconv.FLOW_VISIT] = count_visit(flow, naming.attributes_of(flow), self.parent)
            attributes[semconv.RUN_ID] = self.run.id
        if self.batch is not None:
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.framework_loop_only = framework_loop_only
        self.framework_routing = framework_routing
        span_name = f"{semconv.INVOKE_WORKFLOW} {name}" if name else semconv.INVOKE_WORKFLOW
        self.open_span(span_name, attributes, context)

    def stand_in(self) -> BatchFlowStandIn | None:
        return None if self.batch is None else BatchFlowStandIn(self.owner, self)

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {semconv.FLOW_STEPS: self.steps}
        if error is None:
            action = attributes[semconv.FLOW_ACTION] = naming.action_name(self.result)
            self.next_node(action)
        if self.batch is not None:
            self.batch.describe(attributes)
        self.record_changes(attributes)
        self.set_attributes(attributes)


class RoundScope(BatchItem, Sequencer):
    """One round of a batch flow: it runs the nodes of the flow once, with its own params."""

    __slots__ = ("framework_loop_only", "framework_routing", "visits")

    def __init__(self, batch: BatchState, within: FlowScope) -> None:
        super().__init__(batch, within)
        self.framework_loop_only = within.framework_loop_only
        self.framework_routing = within.framework_routing
        self.visits: dict[int, int] = {}


class PrepPhase(Watcher):
    """The prep phase of a batch flow whose `_run` is the user's: what it returns is the batch."""

    __slots__ = ("_batch", "_flow")

    def __init__(self, flow: FlowScope, batch: BatchState) -> None:
        super().__init__()
        self._flow = flow
        self._batch = batch

    def see_end(self, error: BaseException | None) -> None:
        if error is None:
            self._batch.begin(self._flow, self.result)


def open_prep(args: Args, kwargs: Kwargs) -> PrepPhase | None:
    """Open the prep phase of a batch flow: `prep` is called on it."""
    scope = _scope_of_flow(args)
    return None if scope is None or scope.batch is None else PrepPhase(scope, scope.batch)


def open_round(args: Args, kwargs: Kwargs) -> RoundScope | None:
    """Open a round: `_orch` is called on a batch flow that is open."""
    scope = _scope_of_flow(args)
    if scope is None or scope.batch is None:
        return None
    round_ = RoundScope(scope.batch, scope)
    # By position from PocketFlow's releases, by name from the head of its repository.
    params = kwargs["params"] if "params" in kwargs else next(iter(args[2:]), None)
    return opened(round_, round_.open, params)


def _scope_of_flow(args: Args) -> FlowScope | None:
    scope = scope_of()
    flow = real(args[0]) if args else None
    return scope if isinstance(scope, FlowScope) and scope.owner is flow else None
