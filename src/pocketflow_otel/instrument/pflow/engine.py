"""pflow 0.11 and later: its own engine, which walks a compiled workflow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import get_current

from pocketflow_otel.instrument.around import Around
from pocketflow_otel.instrument.pflow import store
from pocketflow_otel.instrument.pflow.hooks import Hook
from pocketflow_otel.instrument.pflow.steps import NodeAttempts, NodeFacts, PflowItem, StepScope, calls_in
from pocketflow_otel.instrument.pflow.threads import Carried
from pocketflow_otel.instrument.pflow.workflow import About, EngineRun, WorkflowScope
from pocketflow_otel.run import Scope, scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.pflow.hooks import Arguments
    from pocketflow_otel.instrument.spans import Tracing

RUNNER: Final = "pflow.execution.runner"


class Engine:
    """What is put around pflow's engine.

    Args:
        tracing: Where spans come from.
        version: pflow's.
    """

    def __init__(self, tracing: Tracing, version: str) -> None:
        self._tracing = tracing
        self._version = version

    def hooks(self) -> Mapping[str, Sequence[Hook]]:
        """Return the hooks by the module they are placed in."""
        return {
            RUNNER: [Hook("WorkflowRunner.run", self._open_runner, needs=("workflow",))],
            "pflow.runtime.engine.engine": [
                Hook("WorkflowEngine.run", self._open_engine, needs=("workflow", "shared")),
                Hook("WorkflowEngine._execute_node", self._open_node, needs=("node", "config", "shared")),
            ],
            "pflow.runtime.engine.batch_executor": [
                Hook("_execute_sequential", change=_begin_batch, needs=("items",)),
                Hook("_execute_parallel", change=_begin_parallel, needs=("items", "execute_single_fn")),
                Hook("_execute_batch_item", _open_item, needs=("idx", "node", "execute_single_fn")),
                Hook("_execute_synthetic_warmup", _open_warmup, required=False),
            ],
        }

    def _open_runner(self, call: Arguments) -> Around | None:
        workflow, resumed = call["workflow"], call["resume_source"]
        resolved = getattr(workflow, "__dict__", {})
        file = resolved.get("file_path")
        if file is None and isinstance(workflow, str) and workflow.endswith(".md") and "\n" not in workflow:
            file = workflow
        about = About(
            name=call["workflow_name"] or resolved.get("title"),
            file=file,
            resumed_from=getattr(resumed, "__dict__", {}).get("execution_id"),
        )
        return self._tracing.open_below(call["self"], None, partial(self._opened_runner, call["self"], about))

    def _opened_runner(
        self, runner: Any, about: About, parent: Scope | None, context: Context | None
    ) -> WorkflowScope:
        scope = WorkflowScope(runner, about, parent, self._tracing)
        scope.awaits_engine = True
        scope.begin(context, version=self._version)
        return scope

    def _open_engine(self, call: Arguments) -> Around | None:
        engine, workflow, shared = call["self"], call["workflow"], call["shared"]
        start = getattr(workflow.start_node, "__dict__", {}).get("node_id")
        only = engine.__dict__.get("only_node")
        scope = scope_of()
        if isinstance(scope, WorkflowScope) and scope.awaits_engine:
            scope.start_engine(shared, start, only)
            return EngineRun(scope)
        about = About(file=store.peek(shared, store.WORKFLOW_FILE) or engine.__dict__.get("workflow_path"))
        return self._tracing.open_below(
            engine, None, partial(self._opened_engine, engine, about, shared, start, only)
        )

    def _opened_engine(
        self,
        engine: Any,
        about: About,
        shared: object,
        start: str | None,
        only: str | None,
        parent: Scope | None,
        context: Context | None,
    ) -> WorkflowScope:
        scope = WorkflowScope(engine, about, parent, self._tracing)
        scope.begin(context, version=self._version)
        scope.start_engine(shared, start, only)
        return scope

    def _open_node(self, call: Arguments) -> Around | None:
        node, config = call["node"], call["config"].__dict__
        batch = config.get("batch_config")
        loops = config.get("loop_config") is not None
        facts = NodeFacts(
            node=node,
            id=config["node_id"],
            cls=config.get("node_type_name") or type(node).__name__,
            shared=call["shared"],
            successors=node.__dict__.get("successors") or {},
            parallel=None if batch is None else bool(batch.__dict__.get("parallel")),
            loops=loops,
            gated=bool(config.get("approval")),
            # A loop may go round before anybody asks where its action leads.
            routes=not loops and call["self"].__dict__.get("only_node") is None,
        )
        return self._tracing.open_below(node, None, partial(self._opened_node, facts))

    def _opened_node(self, facts: NodeFacts, parent: Scope | None, context: Context | None) -> StepScope:
        scope = StepScope(facts, parent, self._tracing)
        scope.begin(context)
        return scope


def _begin_batch(call: Arguments) -> None:
    scope = scope_of()
    if isinstance(scope, StepScope) and scope.batch is not None:
        scope.batch.begin(scope, call["items"])


def _begin_parallel(call: Arguments) -> None:
    _begin_batch(call)
    call["execute_single_fn"] = Carried(call["execute_single_fn"], get_current())


def _open_item(call: Arguments) -> Around | None:
    carried = call["execute_single_fn"]
    context = carried.context if isinstance(carried, Carried) else None
    scope = scope_of(context)
    if not isinstance(scope, StepScope) or scope.batch is None:
        return None
    item = PflowItem(scope.batch, scope, call["node"], call["idx"])
    batch = getattr(call["batch_config"], "__dict__", {})
    item.attempts = NodeAttempts(batch.get("max_retries", 1), batch.get("retry_wait", 0.0))
    item.open(context=context)
    return item


class _Warmup(Around):
    """The call that fills a provider's cache before a batch: no item's, so the step's."""

    __slots__ = ("_step", "result")

    def __init__(self, step: StepScope) -> None:
        self._step = step

    def end(self, error: BaseException | None) -> None:
        if error is None:
            self._step.record(calls_in(self.result))


def _open_warmup(call: Arguments) -> Around | None:
    scope = scope_of()
    return _Warmup(scope) if isinstance(scope, StepScope) else None
