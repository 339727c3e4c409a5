"""What a flow and a node say about themselves: attributes, events, the diff of the store."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from pocketflow_otel import semconv
from pocketflow_otel.api import given_run_name
from pocketflow_otel.guard import guard
from pocketflow_otel.instrument import backend_attributes, naming
from pocketflow_otel.instrument.scopes.attempts import Attempts
from pocketflow_otel.instrument.scopes.batch import BatchItem, BatchState, ItemScope
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.run_events import ActionUnmatched
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.store.introspection import name_text, type_text
from pocketflow_otel.store.observation import StoreObservation
from pocketflow_otel.store.redaction import value_text
from pocketflow_otel.store.snapshot import MAX_NAMES, Diff
from pocketflow_otel.usage.totals import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

    from pocketflow_otel.instrument.wrapping import Args, Kwargs
    from pocketflow_otel.runtime.scope import Scope

_COUNTING: Final = guard("count the usage in the shared store")
_VALUES: Final = guard("record the values of chosen keys")
_LOOKING: Final = guard("look at the shared store")
_TIMING: Final = guard("time the phases of a step")


def orchestrates(scope: Scope | None) -> TypeGuard[FlowScope | RoundScope]:
    """Tell whether a scope runs nodes one after the other, by their actions."""
    return isinstance(scope, FlowScope | RoundScope)


def visit_of(node: Any, within: Scope | None) -> int:
    """Count a visit of a node or nested flow, from 1, in the flow or round it runs in.

    Flows run copies; `copy.copy` shares the successors of the original, which tell it apart.
    """
    if not orchestrates(within):
        return 1
    key = id(node.__dict__.get("successors", node))
    visit = within.visits[key] = within.visits.get(key, 0) + 1
    return visit


def _model_in(items: Mapping[Any, object]) -> str | None:
    model = items.get(semconv.LLM_MODEL)
    return model if type(model) is str else None


def _names(keys: tuple[object, ...]) -> list[str]:
    return [name_text(key) for key in keys[:MAX_NAMES]]


def _types(keys: tuple[object, ...], items: Mapping[Any, object]) -> list[str]:
    return [type_text(items[key]) for key in keys[:MAX_NAMES]]


class StoreScope(TracedScope):
    """A flow or node: it is given a store, and its span says what became of that."""

    __slots__ = ("_own_observation",)

    def __init__(self, kind: Any, owner: Any, shared: object, parent: Any, flow_tracer: Any) -> None:
        super().__init__(kind, owner, shared, parent, flow_tracer)
        self._own_observation: StoreObservation | None = None

    def take_snapshot(self, attributes: dict[str, AttributeValue]) -> None:
        """Take a snapshot before the step; its names and types go on the span."""
        with _LOOKING:
            sequencer = self.parent if orchestrates(self.parent) and self.parent.framework_loop_only else None
            observation = StoreObservation(self.shared, self.observation, sequencer)
            self.observation = self._own_observation = observation
            snapshot = observation.snapshot
            if snapshot is not None:
                items = snapshot.items
                self.run.counted_usages.open(self.shared, items.get(semconv.LLM_USAGE), _model_in(items))
                attributes[semconv.SHARED_SCHEMA] = snapshot.schema()
                if snapshot.truncated:
                    attributes[semconv.SHARED_TRUNCATED] = True
                config = self.flow_tracer.config
                if config.compat and config.capture_values:
                    with _VALUES:
                        values = self._values(items, items)
                        attributes.update(
                            backend_attributes.of_input(config.compat, values) if values else {}
                        )

    def record_changes(self, attributes: dict[str, AttributeValue]) -> None:
        """Compare the store with what it was."""
        observation, self._own_observation = self._own_observation, None
        if observation is None:
            return
        with _LOOKING:
            snapshot, diff = observation.snapshot, observation.close()
            if observation.concurrent:
                attributes[semconv.SHARED_CONCURRENT] = True
            if snapshot is not None and diff is not None:
                self._describe(diff, snapshot.items, attributes)
                with _COUNTING:
                    self._count_usage(snapshot.items)

    def _count_usage(self, items: Mapping[Any, object]) -> None:
        """Count the usage that came into the store during the step."""
        if semconv.LLM_USAGE in items:
            now = datetime.now(UTC)
            new = self.run.counted_usages.take(self.shared, items[semconv.LLM_USAGE], _model_in(items))
            if new:
                self.report(Call(usage, now) for usage in new)

    def _describe(
        self, diff: Diff, items: Mapping[Any, object], attributes: dict[str, AttributeValue]
    ) -> None:
        if diff.added:
            attributes[semconv.SHARED_ADDED_KEYS] = _names(diff.added)
            attributes[semconv.SHARED_ADDED_TYPES] = _types(diff.added, items)
        if diff.modified:
            attributes[semconv.SHARED_MODIFIED_KEYS] = _names(diff.modified)
            attributes[semconv.SHARED_MODIFIED_TYPES] = _types(diff.modified, items)
        if diff.removed:
            attributes[semconv.SHARED_REMOVED_KEYS] = _names(diff.removed)
        if max(len(diff.added), len(diff.modified), len(diff.removed)) > MAX_NAMES:
            attributes[semconv.SHARED_TRUNCATED] = True
        if diff.bounded:
            attributes[semconv.SHARED_BOUNDED] = True
        if self.flow_tracer.config.capture_values:
            values = ""
            with _VALUES:  # A mask that fails lets nothing through.
                values = self._values((*diff.added, *diff.modified), items)
            if values:
                attributes[semconv.SHARED_VALUES] = values
                attributes.update(backend_attributes.of_output(self.flow_tracer.config.compat, values))

    def _values(self, keys: Iterable[object], items: Mapping[Any, object]) -> str:
        """Return the values of the keys a user asked to see, as a JSON object; empty without any."""
        config = self.flow_tracer.config
        named = ((name_text(key), items[key]) for key in keys)
        members = [
            f"{value_text('', name, None)}:{value_text(name, value, config.mask)}"
            for name, value in named
            if any(fnmatchcase(name, pattern) for pattern in config.capture_values)
        ][:MAX_NAMES]
        return "{" + ",".join(members) + "}" if members else ""

    def next_node(self, action: str) -> Any | None:
        """Return the node the action leads to; tell when the flow knows no way for it."""
        if not orchestrates(self.parent):
            return None
        successors, key = naming.successors(self.owner), naming.successor_key(self.result)
        if successors and key not in successors and key is not naming.UNKNOWN:
            known = tuple(naming.action_name(other) for other in successors)
            self.span.add_event(
                semconv.ACTION_UNMATCHED,
                {semconv.UNMATCHED_ACTION: action, semconv.UNMATCHED_KNOWN: known},
            )
            self.run.publish(self, ActionUnmatched(action, known))
        return successors.get(key)

    def close(self) -> None:
        observation, self._own_observation = self._own_observation, None
        if observation is not None:  # The description failed half-way.
            observation.close()


class FlowScope(StoreScope):
    """One execution of a flow.

    Attributes:
        batch: The rounds of a batch flow.
        framework_loop_only: Whether nothing but PocketFlow's own code runs between two nodes.
        visits: How often each node ran, for `visit_of`.
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
            attributes[semconv.FLOW_VISIT] = visit_of(flow, self.parent)
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


class RoundScope(BatchItem):
    """One round of a batch flow: it runs the nodes of the flow once, with its own params."""

    __slots__ = ("framework_loop_only", "visits")

    def __init__(self, batch: BatchState, within: FlowScope) -> None:
        super().__init__(batch, within)
        self.framework_loop_only = within.framework_loop_only
        self.visits: dict[int, int] = {}


class NodeScope(StoreScope):
    """One step: one execution of a node.

    Attributes:
        attempts: Of a node that is no batch node.
        batch: The items of a batch node.
        phase: `prep`, `exec` or `post`: what runs now, or ran last.
        exec_started, exec_ended: The borders of `exec`, by `FlowTracer.now`; 0.0 until then.
    """

    __slots__ = ("attempts", "batch", "exec_ended", "exec_started", "phase")

    def __init__(self, owner: Any, shared: object, parent: Scope | None, flow_tracer: Any) -> None:
        super().__init__("node", owner, shared, parent, flow_tracer)
        self.attempts = Attempts()
        self.batch: BatchState | None = None
        self.phase = semconv.PREP
        self.exec_started = 0.0
        self.exec_ended = 0.0

    def is_super_call(self, method: object) -> bool:
        # A node that runs itself again, from its own `exec` or `post`, makes a new step.
        return self.method is not method and self.phase != semconv.EXEC

    @property
    def executing(self) -> bool:
        return self.phase == semconv.EXEC and self.batch is None

    def open(self, context: Context | None, *, parallel: bool | None) -> None:
        """Start the span; `parallel` says how a batch node runs its items, `None` for others."""
        node = self.owner
        name = naming.node_name(node)
        attributes: dict[str, AttributeValue] = {
            semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE,
            semconv.NODE_NAME: name,
            semconv.NODE_CLASS: type(node).__name__,
            semconv.NODE_VISIT: visit_of(node, self.parent),
        }
        max_retries = node.__dict__.get("max_retries")
        if type(max_retries) is int:
            attributes[semconv.NODE_MAX_RETRIES] = max_retries
        if parallel is not None:
            self.batch = BatchState(parallel=parallel)
            attributes[semconv.BATCH_MODE] = self.batch.mode
        self.take_snapshot(attributes)
        self.open_span(f"{semconv.INVOKE_NODE} {name}", attributes, context)

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {}
        if self.batch is None:
            self.attempts.describe(self, attributes, error)
        else:
            self.batch.describe(attributes)
        if error is None:
            action = attributes[semconv.NODE_ACTION] = naming.action_name(self.result)
            following = self.next_node(action)
            if following is not None:
                attributes[semconv.NODE_NEXT] = naming.node_name(following)
        with _TIMING:
            self._describe_phases(attributes)
        self.record_changes(attributes)
        self.span.set_attributes(attributes)

    def _describe_phases(self, attributes: dict[str, AttributeValue]) -> None:
        began, ended = self.exec_started, self.exec_ended
        if began:
            attributes[semconv.NODE_PREP_DURATION] = round(began - self.started, 6)
            attributes[semconv.NODE_EXEC_DURATION] = round(ended - began, 6)
        if self.phase == semconv.POST:
            attributes[semconv.NODE_POST_DURATION] = round(self.flow_tracer.now() - ended, 6)

    def describe_error(self, error: BaseException) -> Mapping[str, AttributeValue]:
        return {**super().describe_error(error), semconv.ERROR_PHASE: self.phase}


class ExecPhase(CallHandler):
    """The exec phase of a step: its borders give the times of all three phases."""

    __slots__ = ("_step", "result")

    def __init__(self, step: NodeScope) -> None:
        self._step = step
        step.exec_started = step.flow_tracer.now()
        step.phase = semconv.EXEC

    def end(self, error: BaseException | None) -> None:
        self._step.exec_ended = self._step.flow_tracer.now()
        if error is None:  # Else the step failed in exec, and that is where it stays.
            self._step.phase = semconv.POST


class PrepPhase(CallHandler):
    """The `prep` of a batch flow: what it returns is the batch."""

    __slots__ = ("_flow", "result")

    def __init__(self, flow: FlowScope) -> None:
        self._flow = flow
        flow.in_prep = True

    def end(self, error: BaseException | None) -> None:
        flow = self._flow
        flow.in_prep = False
        if error is None and flow.batch is not None:
            flow.batch.begin(flow, self.result)


def open_exec(node: Any, args: Args, kwargs: Kwargs) -> CallHandler | None:
    """Open what a call of `_exec` is: the exec phase of a step, or an item of its batch."""
    scope = step_of(node)
    if scope is None:
        return None
    if scope.batch is not None:
        item = ItemScope(scope.batch, scope)
        item.open()
        return item
    return None if scope.executing else ExecPhase(scope)


def step_of(node: Any) -> NodeScope | None:
    """Return the innermost open step, if it is the node's."""
    scope = scope_of()
    return scope if isinstance(scope, NodeScope) and scope.owner is node else None
