"""The spans of flows, and of the rounds of batch flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pocketflow_otel import semconv
from pocketflow_otel.api import given_run_name
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.scopes.batch import BatchItem, BatchState
from pocketflow_otel.instrument.scopes.sequencer import Sequencer, count_visit
from pocketflow_otel.instrument.scopes.store_scope import StoreScope
from pocketflow_otel.instrument.wrapping import CallHandler
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
        in_prep: Whether the `prep` of a batch flow is running.
    """

    __slots__ = ("batch", "framework_loop_only", "in_prep", "visits")

    def __init__(self, owner: Any, shared: object, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("flow", owner, shared, parent, flow_tracer)
        self.batch: BatchState | None = None
        self.in_prep = False
        self.framework_loop_only = False
        self.visits: dict[int, int] = {}

    def is_super_call(self, method: object) -> bool:
        # A flow that runs itself again, from its own `post`, makes a new span.
        return self.method is not method

    def open(
        self,
        context: Context | None,
        *,
        is_framework_class: bool,
        framework_loop_only: bool,
        parallel: bool | None,
    ) -> None:
        """Start the span.

        Args:
            context: Where the flow is a run of its own; else `None`.
            is_framework_class: Whether its class is one of PocketFlow's.
            framework_loop_only: Whether its class orchestrates nodes by PocketFlow's own code.
            parallel: How a batch flow runs its rounds; `None` for other flows.
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
            attributes[semconv.FLOW_VISIT] = count_visit(flow, self.parent)
            attributes[semconv.RUN_ID] = self.run.id
        if parallel is not None:
            self.batch = BatchState(parallel=parallel)
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.framework_loop_only = framework_loop_only
        span_name = f"{semconv.INVOKE_WORKFLOW} {name}" if name else semconv.INVOKE_WORKFLOW
        self.open_span(span_name, attributes, context)

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {semconv.FLOW_STEPS: self.steps}
        if error is None:
            action = attributes[semconv.FLOW_ACTION] = naming.action_name(self.result)
            self.next_node(action)
        if self.batch is not None:
            self.batch.describe(attributes)
        self.record_changes(attributes)
        self.span.set_attributes(attributes)


class RoundScope(BatchItem, Sequencer):
    """One round of a batch flow: it runs the nodes of the flow once, with its own params."""

    __slots__ = ("framework_loop_only", "visits")

    def __init__(self, batch: BatchState, within: FlowScope) -> None:
        super().__init__(batch, within)
        self.framework_loop_only = within.framework_loop_only
        self.visits: dict[int, int] = {}


class PrepPhase(CallHandler):
    """The prep phase of a batch flow: what it returns is the batch."""

    __slots__ = ("_flow", "result")

    def __init__(self, flow: FlowScope) -> None:
        self._flow = flow
        flow.in_prep = True

    def end(self, error: BaseException | None) -> None:
        flow = self._flow
        flow.in_prep = False
        if error is None and flow.batch is not None:
            flow.batch.begin(flow, self.result)


def open_round(flow: Any, args: Args, kwargs: Kwargs) -> RoundScope | None:
    """Open a round: `_orch` is called on a batch flow that is open."""
    scope = scope_of()
    if not isinstance(scope, FlowScope) or scope.owner is not flow or scope.batch is None:
        return None
    round_ = RoundScope(scope.batch, scope)
    round_.open(args[1] if len(args) > 1 else kwargs.get("params"))
    return round_


def open_prep(flow: Any, args: Args, kwargs: Kwargs) -> PrepPhase | None:
    """Open the prep phase of a batch flow: `prep` is called on it, and not by a `super()` call."""
    scope = scope_of()
    if not isinstance(scope, FlowScope) or scope.owner is not flow or scope.in_prep:
        return None
    return PrepPhase(scope)
