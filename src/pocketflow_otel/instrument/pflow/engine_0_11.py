"""pflow 0.11 and later: its own engine, which walks a compiled workflow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from pocketflow_otel.instrument.pflow import shared_state
from pocketflow_otel.instrument.pflow.adapter import EngineAdapter, begin_batch, open_item
from pocketflow_otel.instrument.pflow.context_propagation import ContextBound
from pocketflow_otel.instrument.pflow.hooks import Hook
from pocketflow_otel.instrument.pflow.step_scope import Gate, NodeInfo, StepScope, calls_in
from pocketflow_otel.instrument.pflow.workflow_scope import WorkflowInfo
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pocketflow_otel.instrument.pflow.hooks import Arguments
    from pocketflow_otel.instrument.wrapping import CallHandler

RUNNER: Final = "pflow.execution.runner"


class Engine011Adapter(EngineAdapter):
    """The hooks into pflow's own engine."""

    def hooks(self) -> Mapping[str, Sequence[Hook]]:
        return {
            RUNNER: [Hook("WorkflowRunner.run", self._open_runner, needs=("workflow",))],
            "pflow.runtime.engine.engine": [
                Hook("WorkflowEngine.run", self._open_engine, needs=("workflow", "shared")),
                Hook("WorkflowEngine._execute_node", self._open_node, needs=("node", "config", "shared")),
                # From 0.14 on: may it run, and which way out does it choose.
                Hook("run_approval_gate", partial(_open_gate, "approved"), required=False),
                Hook("run_escalation_gate", partial(_open_gate, "choice"), required=False),
            ],
            "pflow.runtime.engine.batch_executor": [
                Hook("_execute_sequential", begin_batch, needs=("items",)),
                Hook("_execute_parallel", change=_begin_parallel, needs=("items", "execute_single_fn")),
                Hook("_execute_batch_item", _open_item, needs=("idx", "node", "execute_single_fn")),
                Hook("_execute_synthetic_warmup", _open_warmup, required=False),
            ],
        }

    def _open_runner(self, call: Arguments) -> CallHandler | None:
        workflow = call["workflow"]
        resolved = getattr(workflow, "__dict__", {})
        file = resolved.get("file_path")
        if file is None and isinstance(workflow, str) and workflow.endswith(".md") and "\n" not in workflow:
            file = workflow
        resumed = getattr(call["resume_source"], "__dict__", {})
        name = call["workflow_name"] or (None if file else resolved.get("title"))
        info = WorkflowInfo(name, file, resumed.get("execution_id"))
        return self.open_runner(call["self"], info)

    def _open_engine(self, call: Arguments) -> CallHandler | None:
        engine, shared = call["self"], call["shared"]
        file = shared_state.file_of(shared, engine.__dict__.get("workflow_path"))
        only = engine.__dict__.get("only_node")
        return self.open_engine(engine, WorkflowInfo(file=file), shared, call["workflow"].start_node, only)

    def _open_node(self, call: Arguments) -> CallHandler | None:
        node, config = call["node"], call["config"].__dict__
        batch = config.get("batch_config")
        loops = config.get("loop_config") is not None
        info = NodeInfo(
            node=node,
            id=config["node_id"],
            cls=config.get("node_type_name") or type(node).__name__,
            shared=call["shared"],
            successors=node.__dict__.get("successors") or {},
            parallel=None if batch is None else bool(batch.__dict__.get("parallel")),
            loops=loops,
            # A loop may go round before anybody asks where its action leads.
            routes=not loops and call["self"].__dict__.get("only_node") is None,
        )
        return self.open_step(info)


def _begin_parallel(call: Arguments) -> None:
    begin_batch(call)
    call["execute_single_fn"] = ContextBound(call["execute_single_fn"], current_context())


def _open_item(call: Arguments) -> CallHandler | None:
    bound = call["execute_single_fn"]
    context = bound.context if isinstance(bound, ContextBound) else None
    return open_item(call["node"], call["idx"], getattr(call["batch_config"], "__dict__", {}), context)


def _open_gate(answer: str, call: Arguments) -> CallHandler | None:
    step = scope_of()
    return Gate(step, answer) if isinstance(step, StepScope) else None


class _WarmupScope(TracedScope):
    """The call that fills a provider's cache before a batch: none of its items, so without a span.

    Its usage is added to that of the items, and is on the step's own span.
    """

    __slots__ = ()

    def __init__(self, step: StepScope) -> None:
        super().__init__("item", step.owner, step.shared, step, step.flow_tracer)

    def see_end(self) -> None:
        if self.error is None:
            self.report(calls_in(self.result))


def _open_warmup(call: Arguments) -> CallHandler | None:
    step = scope_of()
    if not isinstance(step, StepScope):
        return None
    warmup = _WarmupScope(step)
    warmup.open_without_span()
    return warmup
