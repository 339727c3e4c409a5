"""The spans of a workflow's steps and batch items, whichever engine runs them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import pflow_names, semconv
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument import naming
from pocketflow_otel.instrument.exceptions import type_name
from pocketflow_otel.instrument.pflow import shared_state
from pocketflow_otel.instrument.pflow.pflow_scope import END, ERROR, PflowScope, gate_outcome, is_error
from pocketflow_otel.instrument.pflow.shared_state import EngineRecords, NodeStore
from pocketflow_otel.instrument.pflow.workflow_scope import WorkflowScope
from pocketflow_otel.instrument.scopes.attempts import Attempts
from pocketflow_otel.instrument.scopes.batch import BatchState, ItemScope
from pocketflow_otel.instrument.scopes.node import NodeScope
from pocketflow_otel.instrument.wrapping import Watcher
from pocketflow_otel.runtime.run_events import ActionUnmatched
from pocketflow_otel.store.redaction import shorten
from pocketflow_otel.usage.pflow_usage import read_pflow_usage
from pocketflow_otel.usage.totals import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.scopes.attempts import AttemptedScope
    from pocketflow_otel.runtime.scope import Scope

_NOTICING: Final = guard("tell of pflow's warnings")


class NodeAttempts(Attempts):
    """Attempts of a pflow node: its own, and in a batch those of the item.

    What `exec_fallback` returns may be an error, by which the step fails in the end: `settle` tells.

    Args:
        rounds: How often an item is tried, with all its node's attempts.
        pause: Seconds between two rounds.
    """

    __slots__ = ("_pause", "_rounds")

    def __init__(self, rounds: int = 1, pause: float = 0.0) -> None:
        super().__init__()
        self._rounds = rounds
        self._pause = pause

    def begin(self, scope: AttemptedScope) -> None:
        if "max_retries" in scope.owner.__dict__:  # A workflow in a step is not attempted.
            super().begin(scope)

    def succeed(self, scope: AttemptedScope) -> None:
        if not self.falling_back:
            super().succeed(scope)

    def settle(self, scope: AttemptedScope) -> None:
        """Take note that the step or item is well in the end."""
        super().succeed(scope)

    def max_attempts(self, owner: Any) -> float:
        return super().max_attempts(owner) * self._rounds

    def wait(self, owner: Any) -> float:
        ends_round = self.count % max(int(super().max_attempts(owner)), 1) == 0
        return self._pause if ends_round else super().wait(owner)

    def is_last(self, owner: Any, error: Exception) -> bool:
        return super().is_last(owner, error) or not getattr(error, "retriable", True)


@dataclass(slots=True)
class NodeInfo:
    """The facts of a node that an engine is about to execute.

    Attributes:
        node: The node itself, without wrappers.
        id, cls: Its id, and the name of its class.
        shared: The workflow's store.
        successors: Its successors, by action.
        parallel: How it runs its batch, if it has one.
        loops: Whether it is repeated by a condition; its iteration stands in the store then.
        routes: Whether an action without a successor fails the workflow.
    """

    node: Any
    id: str
    cls: str
    shared: object
    successors: Mapping[str, Any]
    parallel: bool | None = None
    loops: bool = False
    routes: bool = True


class StepScope(NodeScope, PflowScope):
    """One step of a workflow.

    Attributes:
        failed_below: The `error.type` of what failed in it: an item, or a workflow.
        cached: Whether its result came from a cache.
        answer: The outcome of a gate before it; empty without one.
    """

    __slots__ = ("_before", "_info", "answer", "cached", "failed_below")

    attempts: NodeAttempts

    def __init__(self, info: NodeInfo, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__(info.node, NodeStore(info.shared, info.id), parent, flow_tracer)
        self._info = info
        self._before = EngineRecords.read(info.shared, info.id)
        self.attempts = NodeAttempts()
        if info.parallel is not None:
            self.batch = BatchState(parallel=info.parallel)
        self.failed_below = ""
        self.cached = False
        self.answer = ""

    def begin(self, context: Context | None) -> None:
        info = self._info
        name = shorten(info.id, naming.MAX_NAME)
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE,
            semconv.NODE_NAME: name,
            semconv.NODE_CLASS: info.cls,
            semconv.NODE_VISIT: self._count_visit(),
        }
        max_retries = info.node.__dict__.get("max_retries")
        if type(max_retries) is int:
            attributes[semconv.NODE_MAX_RETRIES] = max_retries
        iteration = shared_state.peek(info.shared, shared_state.ITERATION) if info.loops else None
        if type(iteration) is int:
            attributes[semconv.LOOP_ITERATION] = iteration
        if self.batch is not None:
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.open_span(f"{semconv.INVOKE_NODE} {name}", attributes, context)

    def pass_failed(self, error: Exception) -> None:
        self.attempt_failed(error)  # What fails elsewhere pflow does not try again.

    def _count_visit(self) -> int:
        within = self.parent
        if not isinstance(within, WorkflowScope):
            return 1
        within.failed_below = ""  # What failed before has been recovered from.
        visit = within.visits[self._info.id] = within.visits.get(self._info.id, 0) + 1
        return visit

    def describe_end(self, error: BaseException | None) -> None:
        info, before = self._info, self._before
        attributes: dict[str, AttributeValue] = {}
        after = EngineRecords.read(info.shared, info.id)
        self.cached = after.cache_hits > before.cache_hits
        if self.cached:
            attributes[semconv.NODE_CACHED] = True
            if isinstance(after.usage, dict) and isinstance(after.usage.get(pflow_names.CACHE_SOURCE), str):
                attributes[semconv.NODE_CACHE_SOURCE] = after.usage[pflow_names.CACHE_SOURCE]
        self._describe_gate(error, attributes)
        failed = error is None and is_error(self.result)
        if error is None and not failed:
            self.attempts.settle(self)
        raised = self.attempts.error if failed else error
        if self.batch is None:
            self.attempts.describe(self, attributes, raised)
        else:
            self.batch.describe(attributes)
        if error is None:
            self._describe_action(attributes)
        if failed:
            kind = shared_state.category_of(info.shared, info.id, info.cls)
            attributes[semconv.FAILURE_CATEGORY] = kind
            self._fail(self.failed_below or (kind if raised is None else type_name(type(raised))))
        with _NOTICING:
            self._record_warnings(after)
        self._describe_phases(attributes)
        self.record_changes(attributes)
        self.set_attributes(attributes)

    def _describe_gate(self, error: BaseException | None, attributes: dict[str, AttributeValue]) -> None:
        outcome = (error is not None and gate_outcome(error)) or self.answer
        if outcome:
            attributes[semconv.GATE_OUTCOME] = outcome

    def _describe_action(self, attributes: dict[str, AttributeValue]) -> None:
        """Set the action and the next node; an action without one fails the workflow after this step."""
        info = self._info
        successors = info.successors
        name = naming.action_name(self.result)
        action = attributes[semconv.NODE_ACTION] = self.action_text(self.result, successors)
        following = successors.get(name)
        if following is not None:
            attributes[semconv.NODE_NEXT] = str(following.__dict__.get("node_id", ""))
        elif name != END and not is_error(name) and any(other != ERROR for other in successors):
            known = tuple(naming.action_name(other) for other in successors)
            self.add_event(
                semconv.ACTION_UNMATCHED, {semconv.UNMATCHED_ACTION: action, semconv.UNMATCHED_KNOWN: known}
            )
            self.run.publish(self, ActionUnmatched(action, known))
            if info.routes:
                attributes[semconv.FAILURE_CATEGORY] = pflow_names.ROUTING_ERROR
                self._fail(pflow_names.ROUTING_ERROR)

    def _fail(self, kind: str) -> None:
        text = shared_state.failure_of(self._info.shared, self._info.id).get("error")
        if text is None:
            text = shared_state.output_of(self._info.shared, self._info.id).get("error")
        self.fail(kind, str(text or ""), event=not self.failed_below)

    def _record_warnings(self, after: EngineRecords) -> None:
        node_id, before, within = self._info.id, self._before, self.parent
        if after.template_error is not None and after.template_error is not before.template_error:
            self.add_warning(after.template_error)
        warning = after.warning
        if warning is None or not isinstance(within, WorkflowScope):
            return
        # A step of the same name, in the workflow that this one ran, may have it as an event.
        if warning is not before.warning and not within.is_reported(node_id, warning):
            self.add_warning(warning)
        within.mark_reported(node_id, warning)

    def _count_usage(self, items: Mapping[Any, object]) -> None:
        info = self._info
        if self.cached or self.batch is not None or info.cls == pflow_names.SUB_WORKFLOW:
            return
        reported = shared_state.output_of(info.shared, info.id).get(semconv.LLM_USAGE)
        if reported is not self._before.usage:
            self.report(calls_in(reported))

    def record_error(self, error: BaseException) -> None:
        kind = type_name(type(error))
        if self.failed_below:
            self._errors += (error,)  # Its event is where it came from.
        super().record_error(error)
        self.propagate_failure(kind)

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        category = shared_state.failure_of(self._info.shared, self._info.id).get("category")
        if not isinstance(category, str):
            category = (
                pflow_names.TEMPLATE_ERROR
                if hasattr(error, "_partial_resolutions")
                else pflow_names.EXCEPTION
            )
        attributes = {**super().describe_error(error), semconv.FAILURE_CATEGORY: category}
        if self.phase == semconv.PREP:
            del attributes[semconv.ERROR_PHASE]  # Or before that: in pflow's own templates, or its batch.
        return attributes

    def close(self) -> None:
        super().close()
        # Contexts outlive steps: what was the user's is not to live by them.
        del self._info, self._before


class Gate(Watcher):
    """A question that pflow asks somebody about a step; it returns with an answer, or raises.

    Args:
        step: The step.
        answer: What it means that it returns.
    """

    __slots__ = ("_answer", "_step")

    def __init__(self, step: StepScope, answer: str) -> None:
        super().__init__()
        self._step = step
        self._answer = answer

    def see_end(self, error: BaseException | None) -> None:
        if error is None:
            self._step.answer = self._answer


class PflowItemScope(ItemScope, PflowScope):
    """One item of a batch.

    Attributes:
        failed_below: The `error.type` of the workflow in it that failed.
    """

    __slots__ = ("_cls", "failed_below")

    attempts: NodeAttempts

    def __init__(self, batch: BatchState, within: StepScope, node: Any, index: int) -> None:
        super().__init__(batch, within)
        self._cls = within._info.cls
        self.owner = node  # A copy, in a parallel batch.
        self.index = index
        self.failed_below = ""

    @property
    def _problem(self) -> Mapping[str, Any] | None:
        """What describes an item that failed: pflow returns it, behind the item's result."""
        found = self.result
        problem = found[1] if isinstance(found, tuple) and len(found) > 1 else None
        return problem if isinstance(problem, dict) else None

    def has_failed(self) -> bool:
        return self._problem is not None

    def describe_end(self, error: BaseException | None) -> None:
        problem = self._problem
        raised = error if problem is None else problem.get("exception")
        cause = None if problem is None else self.attempts.error
        attributes: dict[str, AttributeValue] = {}
        self.attempts.describe(self, attributes, raised or cause)
        self.set_attributes(attributes)
        if isinstance(raised, BaseException) and error is None:
            self.record_error(raised)
            self.failure = type_name(type(raised))
        elif problem is not None:
            category = shared_state.category_of(self.shared, "", self._cls)
            kind = self.failed_below or (category if cause is None else type_name(type(cause)))
            self.fail(kind, str(problem.get("error") or ""), event=not self.failed_below)

    def record_error(self, error: BaseException) -> None:
        super().record_error(error)
        self.propagate_failure(type_name(type(error)))

    def see_end(self) -> None:
        if self.error is None and not self.has_failed():
            self.attempts.settle(self)
        super().see_end()
        found = self.result if self.error is None and self._cls != pflow_names.SUB_WORKFLOW else None
        if isinstance(found, tuple) and found and isinstance(found[0], dict):
            self.report(calls_in(found[0].get(semconv.LLM_USAGE)))


def calls_in(reported: object) -> Iterator[Call]:
    """Yield the calls of a usage in pflow's store; none of one that a cache gave back."""
    now = datetime.now(UTC)
    for usage in read_pflow_usage(reported):
        yield Call(usage, now)
