"""pflow 0.8 to 0.10: a changed copy of PocketFlow, whose nodes are wrapped in one another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.context import get_current

from pocketflow_otel.instrument.pflow import store
from pocketflow_otel.instrument.pflow.hooks import Hook
from pocketflow_otel.instrument.pflow.steps import NodeAttempts, NodeFacts, PflowItem, StepScope
from pocketflow_otel.instrument.pflow.workflow import About, EngineRun, WorkflowScope
from pocketflow_otel.run import Scope, scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.around import Around
    from pocketflow_otel.instrument.pflow.hooks import Arguments
    from pocketflow_otel.instrument.spans import Tracing

RUNNER: Final = "pflow.execution.executor_service"
MAX_WRAPPERS: Final = 16

_contexts: Final[WeakKeyDictionary[Any, Context]] = WeakKeyDictionary()
"""What the items of a parallel batch belong to, by the node that runs it."""


class Wrappers:
    """What is put around pflow's wrappers.

    Args:
        tracing: Where spans come from.
        version: pflow's.
    """

    def __init__(self, tracing: Tracing, version: str) -> None:
        self._tracing = tracing
        self._version = version

    def hooks(self) -> Mapping[str, Sequence[Hook]]:
        """Return the hooks by the module they are placed in."""
        item = Hook("PflowBatchNode._exec_single", _open_item, needs=("idx",))
        own_node = Hook("PflowBatchNode._exec_single_with_node", _open_item, needs=("idx", "thread_node"))
        return {
            RUNNER: [Hook("WorkflowExecutorService.execute_workflow", self._open_runner)],
            "pflow.pocketflow": [Hook("Flow._run", self._open_flow, needs=("shared",))],
            "pflow.runtime.instrumented_wrapper": [
                Hook("InstrumentedNodeWrapper._run", self._open_node, needs=("shared",)),
            ],
            "pflow.runtime.batch_node": [
                Hook("PflowBatchNode._exec", change=_begin_batch, needs=("items",)),
                Hook("PflowBatchNode._exec_parallel", change=_begin_parallel),
                item,
                own_node,
            ],
        }

    def _open_runner(self, call: Arguments) -> Around | None:
        name = call["workflow_name"]
        about = About(name=name, file=store.peek(call["shared_store"], store.WORKFLOW_FILE))
        trace = getattr(call["trace_collector"], "__dict__", {})
        return self._tracing.open_below(
            call["self"], None, partial(self._opened_runner, call["self"], about, trace.get("execution_id"))
        )

    def _opened_runner(
        self, service: Any, about: About, execution_id: object, parent: Scope | None, context: Context | None
    ) -> WorkflowScope:
        scope = WorkflowScope(service, about, parent, self._tracing)
        scope.awaits_engine = True
        scope.execution_id = execution_id
        scope.begin(context, version=self._version)
        return scope

    def _open_flow(self, call: Arguments) -> Around | None:
        flow, shared = call["self"], call["shared"]
        start = getattr(flow.__dict__.get("start_node"), "__dict__", {}).get("node_id")
        scope = scope_of()
        if isinstance(scope, WorkflowScope) and scope.awaits_engine:
            scope.start_engine(shared, start, None)
            return EngineRun(scope)
        if not isinstance(scope, StepScope | PflowItem):
            return None  # A flow of pflow's own: its planner.
        about = About(file=store.peek(shared, store.WORKFLOW_FILE))
        return self._tracing.open_below(flow, None, partial(self._opened_flow, flow, about, shared, start))

    def _opened_flow(
        self,
        flow: Any,
        about: About,
        shared: object,
        start: str | None,
        parent: Scope | None,
        context: Context | None,
    ) -> WorkflowScope:
        scope = WorkflowScope(flow, about, parent, self._tracing)
        scope.begin(context, version=self._version)
        scope.start_engine(shared, start, None)
        return scope

    def _open_node(self, call: Arguments) -> Around | None:
        wrapper = call["self"]
        chain = list(_chain(wrapper))
        node = chain[-1]
        batch = next((link for link in chain if "item_alias" in link.__dict__), None)
        facts = NodeFacts(
            node=node,
            id=wrapper.__dict__["node_id"],
            cls=type(node).__name__,
            shared=call["shared"],
            successors=next((found for link in chain if (found := link.__dict__.get("successors"))), {}),
            parallel=None if batch is None else bool(batch.__dict__.get("parallel")),
            routes=False,  # The workflow just ends there.
        )
        return self._tracing.open_below(node, None, partial(self._opened_node, facts))

    def _opened_node(self, facts: NodeFacts, parent: Scope | None, context: Context | None) -> StepScope:
        scope = StepScope(facts, parent, self._tracing)
        scope.begin(context)
        return scope


def _chain(wrapper: Any) -> Iterator[Any]:
    """Yield a wrapper and what it wraps, down to the node; each keeps that under a name of its own."""
    link = wrapper
    for _ in range(MAX_WRAPPERS):
        yield link
        inside = link.__dict__
        inner = inside.get("inner_node", inside.get("_inner_node"))
        if inner is None:
            return
        link = inner


def _begin_batch(call: Arguments) -> None:
    scope = scope_of()
    if isinstance(scope, StepScope) and scope.batch is not None:
        scope.batch.begin(scope, call["items"])


def _begin_parallel(call: Arguments) -> None:
    _contexts[call["self"]] = get_current()


def _open_item(call: Arguments) -> Around | None:
    batch, copy = call["self"], call["thread_node"]
    context = None if copy is None else _contexts.get(batch)
    scope = scope_of(context)
    if not isinstance(scope, StepScope) or scope.batch is None:
        return None
    *_, node = _chain(copy or batch)
    item = PflowItem(scope.batch, scope, node, call["idx"])
    item.attempts = NodeAttempts(batch.__dict__.get("max_retries", 1), batch.__dict__.get("retry_wait", 0.0))
    item.open(context=context)
    return item
