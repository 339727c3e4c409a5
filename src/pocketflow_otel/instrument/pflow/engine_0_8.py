"""pflow 0.8 to 0.10: a changed copy of PocketFlow, whose nodes are wrapped in one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from pocketflow_otel.instrument.pflow import shared_state
from pocketflow_otel.instrument.pflow.adapter import EngineAdapter, begin_batch, open_item
from pocketflow_otel.instrument.pflow.hooks import Hook
from pocketflow_otel.instrument.pflow.pflow_scope import PflowScope
from pocketflow_otel.instrument.pflow.step_scope import NodeInfo
from pocketflow_otel.instrument.pflow.workflow_scope import WorkflowInfo
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.pflow.hooks import Arguments
    from pocketflow_otel.instrument.wrapping import CallHandler

RUNNER: Final = "pflow.execution.executor_service"
MAX_WRAPPERS: Final = 16

_contexts: Final[WeakKeyDictionary[Any, Context]] = WeakKeyDictionary()
"""What the items of a parallel batch belong to, by the node that runs it."""


class Engine08Adapter(EngineAdapter):
    """The hooks into PocketFlow's changed copy, and the wrappers of its nodes."""

    def hooks(self) -> Mapping[str, Sequence[Hook]]:
        return {
            RUNNER: [Hook("WorkflowExecutorService.execute_workflow", self._open_runner)],
            "pflow.pocketflow": [Hook("Flow._run", self._open_flow, needs=("shared",))],
            "pflow.runtime.instrumented_wrapper": [
                Hook("InstrumentedNodeWrapper._run", self._open_node, needs=("shared",)),
            ],
            "pflow.runtime.batch_node": [
                Hook("PflowBatchNode._exec", begin_batch, needs=("items",)),
                Hook("PflowBatchNode._exec_parallel", _begin_parallel),
                Hook("PflowBatchNode._exec_single", _open_item, needs=("idx",)),
                Hook("PflowBatchNode._exec_single_with_node", _open_item, needs=("idx", "thread_node")),
            ],
        }

    def _open_runner(self, call: Arguments) -> CallHandler | None:
        info = WorkflowInfo(call["workflow_name"], shared_state.file_of(call["shared_store"]))
        trace = getattr(call["trace_collector"], "__dict__", {})
        return self.open_runner(call["self"], info, trace.get("execution_id"))

    def _open_flow(self, call: Arguments) -> CallHandler | None:
        flow, shared = call["self"], call["shared"]
        if not isinstance(scope_of(), PflowScope):
            return None  # A flow of pflow's own: its planner.
        info = WorkflowInfo(file=shared_state.file_of(shared))
        return self.open_engine(flow, info, shared, flow.__dict__.get("start_node"))

    def _open_node(self, call: Arguments) -> CallHandler | None:
        wrapper = call["self"]
        chain = list(_chain(wrapper))
        node = chain[-1]
        batch = next((link for link in chain if "item_alias" in link.__dict__), None)
        info = NodeInfo(
            node=node,
            id=wrapper.__dict__["node_id"],
            cls=type(node).__name__,
            shared=call["shared"],
            successors=next((found for link in chain if (found := link.__dict__.get("successors"))), {}),
            parallel=None if batch is None else bool(batch.__dict__.get("parallel")),
            routes=False,  # The workflow just ends there.
        )
        return self.open_step(info)


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


def _begin_parallel(call: Arguments) -> None:
    _contexts[call["self"]] = current_context()


def _open_item(call: Arguments) -> CallHandler | None:
    batch, copy = call["self"], call["thread_node"]
    *_, node = _chain(batch if copy is None else copy)
    context = None if copy is None else _contexts.get(batch)
    return open_item(node, call["idx"], batch.__dict__, context)
