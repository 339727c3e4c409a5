"""The span of a workflow: from its runner, from its engine, or from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import pflow_names, semconv
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.exceptions import type_name
from pocketflow_otel.instrument.pflow import shared_state
from pocketflow_otel.instrument.pflow.pflow_scope import PflowScope, is_error
from pocketflow_otel.instrument.pflow.shared_state import WarningInfo, WorkflowStore
from pocketflow_otel.instrument.scopes.store_scope import StoreScope
from pocketflow_otel.instrument.wrapping import Watcher
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.runtime.scope import Scope

_LEAVING: Final = guard("leave a run that has ended")
_NOTICING: Final = guard("tell of pflow's warnings")

_FAILED: Final = "failed"


@dataclass(slots=True)
class WorkflowInfo:
    """The name, file and origin of a workflow that is about to run.

    Attributes:
        name: Its name, if it has one beside that of its file.
        file: The path of its file, if it has one.
        resumed_from: pflow's id of the run this one goes on with.
    """

    name: str | None = None
    file: str | None = None
    resumed_from: str | None = None


class WorkflowScope(StoreScope, PflowScope):
    """One execution of a workflow, from its runner's call or its engine's to the end.

    Attributes:
        visits: How often each node ran, by its id.
        awaits_engine: Whether its runner has begun, and its engine has not.
        engine_runs: Whether its engine has begun, and has not ended.
        engine_error: What its engine raised, which its runner makes a result of.
        failed_below: The `error.type` of the step that failed last, unless the workflow went on.
        execution_id: pflow's own id of the run, once it is known.
    """

    __slots__ = (
        "_info", "_left", "_reported_warnings", "awaits_engine", "engine_error", "engine_runs",
        "execution_id", "failed_below", "visits",
    )  # fmt: skip

    def __init__(self, owner: Any, info: WorkflowInfo, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("flow", owner, None, parent, flow_tracer)
        self._info = info
        self._reported_warnings: dict[str, object] = {}
        self._left = False
        self.visits: dict[str, int] = {}
        self.awaits_engine = False
        self.engine_runs = False
        self.engine_error: BaseException | None = None
        self.failed_below = ""
        self.execution_id: object = None

    def begin(self, context: Context | None, *, version: str) -> None:
        """Start the span.

        Args:
            context: Where the workflow is a run of its own; else `None`.
            version: pflow's.
        """
        info = self._info
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_WORKFLOW,
            semconv.FLOW_CLASS: pflow_names.WORKFLOW,
        }
        name = info.name or (pflow_names.stem(info.file) if info.file else None)
        if name:
            attributes[semconv.GEN_AI_WORKFLOW_NAME] = name = shorten(name, naming.MAX_NAME)
        self._describe_file(info.file, attributes)
        if info.resumed_from:
            attributes[semconv.RESUMED_FROM] = info.resumed_from
        if self.parent is None:
            attributes[semconv.PFLOW_VERSION] = version
        else:
            attributes[semconv.FLOW_NESTED] = True
            attributes[semconv.RUN_ID] = self.run.id
        self.open_span(
            f"{semconv.INVOKE_WORKFLOW} {name}" if name else semconv.INVOKE_WORKFLOW, attributes, context
        )

    def _describe_file(self, file: str | None, attributes: dict[str, AttributeValue]) -> None:
        if file:
            paths = "paths" in self.flow_tracer.config.pflow_details
            attributes[semconv.FLOW_FILE] = file if paths else pflow_names.base_name(file)

    def start_engine(self, shared: object, start: str | None, only: str | None) -> None:
        """Set what the engine begins with: the snapshot of the store, and the first node."""
        if self.awaits_engine:
            self.add_event(semconv.ENGINE_BEGAN, {})
        self.awaits_engine = False
        self.engine_runs = True
        self.shared = WorkflowStore(shared)
        attributes: dict[str, AttributeValue] = {}
        if not self._info.file:
            self._describe_file(shared_state.file_of(shared), attributes)
        if start is not None:
            attributes[semconv.FLOW_START_NODE] = start
        if only is not None:
            attributes[semconv.FLOW_ONLY_NODE] = only
        self.take_snapshot(attributes)
        self.set_attributes(attributes)
        self._reported_warnings = dict(shared_state.engine_records(shared, shared_state.WARNINGS))

    def mark_reported(self, node_id: str, warning: object) -> None:
        """Remember a warning that is an event of a step; nested workflows share pflow's warnings."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope, WorkflowScope):
                scope._reported_warnings[node_id] = warning
            scope = scope.parent

    def is_reported(self, node_id: str, warning: object) -> bool:
        """Return whether a warning is an event of a step, in this workflow or in one of its own."""
        return self._reported_warnings.get(node_id) is warning

    def end_engine(self) -> None:
        """Set what the engine left: steps, restored nodes, warnings, the changes of the store."""
        self.engine_runs = False
        attributes: dict[str, AttributeValue] = {semconv.FLOW_STEPS: self.steps}
        shared = self.shared
        if isinstance(shared, WorkflowStore):
            restored = shared_state.engine_records(shared, shared_state.EXECUTION).get("restored_nodes")
            if isinstance(restored, list) and restored:
                attributes[semconv.FLOW_RESTORED_NODES] = [str(node) for node in restored]
            with _NOTICING:
                for node_id, warning in shared_state.engine_records(shared, shared_state.WARNINGS).items():
                    if not self.is_reported(node_id, warning):
                        self.add_warning(warning, str(node_id))
        self.record_changes(attributes)
        self.set_attributes(attributes)

    def _count_usage(self, items: Mapping[Any, object]) -> None:
        """Count nothing: an output may be called `llm_usage`, and is that of a step."""

    def describe_end(self, error: BaseException | None) -> None:
        """Set the attributes of the end, by what the engine or the runner returned."""
        if self.engine_runs:
            self.end_engine()
        result = self.result
        if error is not None:
            self.propagate_failure(type_name(type(error)))
        elif isinstance(result, str) or result is None:
            self.set_attributes({semconv.FLOW_ACTION: self.action_text(result)})
            if is_error(result):
                self._fail(shared_state.category_of(self.shared, "", ""), "")
        else:
            self._describe_result(result.__dict__)
        if self.execution_id is not None:
            self.set_attributes({semconv.EXECUTION_ID: str(self.execution_id)})

    def _describe_result(self, result: Mapping[str, Any]) -> None:
        """Set the status a runner returned, whatever the status of the steps."""
        status = getattr(result.get("status"), "value", None)
        if isinstance(status, str):
            self.set_attributes({semconv.FLOW_STATUS: status})
        trace = getattr(result.get("trace"), "__dict__", {})
        self.execution_id = trace.get("execution_id", self.execution_id)
        if status == _FAILED:
            self._fail(*_first_problem(result))

    def _fail(self, kind: str, text: str) -> None:
        """Fail by what happened inside, or else by `kind`."""
        error = self.engine_error
        if self.failed_below:
            self.fail(self.failed_below, text, event=False)
        elif error is not None and self.fails_by(error):
            self.record_error(error)
            self.failure = type_name(type(error))
        else:
            self.fail(kind, text, event=True)

    def close(self) -> None:
        super().close()
        self.engine_error = None
        self._reported_warnings = {}

    def _let_go(self) -> None:
        super()._let_go()
        after_run = self.flow_tracer.after_run
        if self.parent is None and after_run is not None and not self._left:
            self._left = True  # First: who interrupts it does not want to wait for it once more.
            with _LEAVING:
                after_run()


def _first_problem(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return the category and the text of the first error of a runner's result."""
    for found in (result.get("diagnostics"), result.get("errors")):
        for problem in found if isinstance(found, list) else ():
            info = WarningInfo.read(problem)
            if info.severity != pflow_names.WARNING or isinstance(problem, dict):
                return (info.category if info.category != pflow_names.WARNING else _FAILED), info.text
    return _FAILED, ""


class EngineCall(Watcher):
    """The engine's call, in a workflow that its runner has opened."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: WorkflowScope) -> None:
        super().__init__()
        self._workflow = workflow

    def see_end(self, error: BaseException | None) -> None:
        workflow = self._workflow
        workflow.engine_error = error
        workflow.end_engine()
        if error is None:
            workflow.set_attributes({semconv.FLOW_ACTION: workflow.action_text(self.result)})
