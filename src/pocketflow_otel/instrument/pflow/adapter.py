"""What the adapters of pflow's two engines share: a runner, in it an engine, in that steps and items."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.pflow.step_scope import NodeAttempts, NodeInfo, PflowItemScope, StepScope
from pocketflow_otel.instrument.pflow.workflow_scope import EngineCall, WorkflowInfo, WorkflowScope
from pocketflow_otel.instrument.wrapping import opened
from pocketflow_otel.runtime.scope import Scope, scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.pflow.hooks import Arguments, Hook
    from pocketflow_otel.instrument.tracer import FlowTracer
    from pocketflow_otel.instrument.wrapping import CallHandler

_STARTING: Final = guard("say what a workflow begins with")


class EngineAdapter:
    """The hooks into the releases of pflow that have the same engine.

    Args:
        flow_tracer: Where spans come from.
        version: pflow's.
    """

    def __init__(self, flow_tracer: FlowTracer, version: str) -> None:
        self._flow_tracer = flow_tracer
        self._version = version

    def hooks(self) -> Mapping[str, Sequence[Hook]]:
        """Return the hooks by the module they are installed in."""
        raise NotImplementedError

    def open_runner(self, runner: Any, info: WorkflowInfo, execution_id: object = None) -> CallHandler | None:
        """Open a workflow whose engine is still to come."""

        def begin(scope: WorkflowScope, context: Context | None) -> None:
            scope.awaits_engine = True
            scope.execution_id = execution_id
            scope.begin(context, version=self._version)

        return self._flow_tracer.open_below(runner, None, partial(self._make_workflow, runner, info), begin)

    def _make_workflow(self, owner: Any, info: WorkflowInfo, parent: Scope | None) -> WorkflowScope:
        return WorkflowScope(owner, info, parent, self._flow_tracer)

    def open_engine(
        self, engine: Any, info: WorkflowInfo, shared: object, start: Any, only: str | None = None
    ) -> CallHandler | None:
        """Open what an engine runs: the workflow that its runner began, or one of its own.

        Args:
            engine: The engine.
            info: What is known of the workflow.
            shared: Its store.
            start: Its first node.
            only: The id of the one node to be executed, if there is just one.
        """
        first = getattr(start, "__dict__", {}).get("node_id")
        scope = scope_of()
        if isinstance(scope, WorkflowScope) and scope.awaits_engine:
            with _STARTING:
                scope.start_engine(shared, first, only)
            return EngineCall(scope)

        def begin(scope: WorkflowScope, context: Context | None) -> None:
            scope.begin(context, version=self._version)
            with _STARTING:
                scope.start_engine(shared, first, only)

        return self._flow_tracer.open_below(engine, None, partial(self._make_workflow, engine, info), begin)

    def open_step(self, info: NodeInfo) -> CallHandler | None:
        """Open a step."""

        def make(parent: Scope | None) -> StepScope:
            return StepScope(info, parent, self._flow_tracer)

        return self._flow_tracer.open_below(info.node, None, make, StepScope.begin)


def begin_batch(call: Arguments) -> None:
    """Publish the number of items in the batch of the current step; open nothing."""
    scope = scope_of()
    if isinstance(scope, StepScope) and scope.batch is not None:
        scope.batch.begin(scope, call["items"])


def open_item(
    node: Any, index: int, settings: Mapping[str, Any], context: Context | None
) -> PflowItemScope | None:
    """Open an item of the current step's batch.

    Args:
        node: What executes it: a copy, in a parallel batch.
        index: Its place, from 0.
        settings: The batch's; `max_retries` and `retry_wait` are read.
        context: The batch's, where that is not the current one: in a thread of a pool.
    """
    scope = scope_of(context)
    if not isinstance(scope, StepScope) or scope.batch is None:
        return None
    item = PflowItemScope(scope.batch, scope, node, index)
    item.attempts = NodeAttempts(settings.get("max_retries", 1), settings.get("retry_wait", 0.0))
    return opened(item, item.open, None, context)
