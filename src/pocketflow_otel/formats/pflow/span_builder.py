"""Turn a recorded run of pflow into spans, with the names that tracing it would have given them.

Ids follow from pflow's id of the run: the same trace always makes the same spans.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import __version__, pflow_names, semconv
from pocketflow_otel.formats.pflow import step_times
from pocketflow_otel.formats.pflow.step_times import Interval
from pocketflow_otel.runtime.run_id import make_run_id
from pocketflow_otel.store.snapshot import MAX_NAMES
from pocketflow_otel.traces.records import ERROR, UNSET, EventRecord, ScopeRecord, SpanRecord
from pocketflow_otel.usage import span_attributes
from pocketflow_otel.usage.totals import Call, UsageTotals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pocketflow_otel.formats.pflow.recorded_run import (
        RecordedBatch,
        RecordedItem,
        RecordedRun,
        RecordedStep,
        RecordedWarning,
        RecordedWork,
        RecordedWorkflow,
    )
    from pocketflow_otel.usage.payloads import Usage
    from pocketflow_otel.usage.pricing import PriceBook

_ERROR: Final = "error"
"""The action of a node that returns a failure."""
_FAILED: Final = "failed"
_INTERRUPTED: Final = "interrupted"
_UNKNOWN: Final = "unknown"
_FLAGS: Final = 0x100
"""OTLP's: it is known that the parent is not remote."""
_SCOPE: Final = ScopeRecord(semconv.SCOPE_NAME, __version__)


def spans(run: RecordedRun, prices: PriceBook, *, texts: bool = False) -> list[SpanRecord]:
    """Return the spans of a run, the root first; what never ended has no end.

    Args:
        run: The run.
        prices: For the calls of which pflow does not say what they cost.
        texts: Whether the texts of failures and warnings come along, which hold data.
    """
    builder = _SpanBuilder(run, prices, texts=texts)
    builder.build()
    return builder.spans[::-1]


def run_id(run: RecordedRun) -> str:
    """Return the id that a run gets."""
    return make_run_id(run.start, int(root_id(run), 16))


def root_id(run: RecordedRun) -> str:
    """Return the id of a run's root span."""
    return _span_id(run, 0)


def _span_id(run: RecordedRun, number: int) -> str:
    return _id(run, f"span {number}")[:16]


def _id(run: RecordedRun, what: str) -> str:
    return sha256(f"{what} of {run.identity}".encode()).hexdigest()[:32]


@dataclass(slots=True)
class _SpanDraft:
    """A span that is being built.

    Attributes:
        totals: The calls in it.
        steps: How many steps were executed in it, itself included.
        failure: Its `error.type`; empty if it has not failed.
        failed_below: That of what failed last in it; empty if it went on from there.
    """

    span_id: str
    when: Interval
    attributes: dict[str, Any]
    events: list[EventRecord] = field(default_factory=list)
    totals: UsageTotals = field(default_factory=UsageTotals)
    steps: int = 0
    failure: str = ""
    failed_below: str = ""
    message: str = ""

    def take(self, inner: _SpanDraft) -> None:
        """Take over the sums and the failure of a span in it, which is complete."""
        self.totals.add(inner.totals)
        self.steps += inner.steps
        self.failed_below = inner.failure


class _SpanBuilder:
    """Makes the spans of one run.

    Attributes:
        spans: The spans, each after what it contains.
    """

    def __init__(self, run: RecordedRun, prices: PriceBook, *, texts: bool) -> None:
        self.spans: list[SpanRecord] = []
        self._run, self._prices, self._texts = run, prices, texts
        self._trace_id = _id(run, "trace")
        self._begun = 0
        self._warnings: dict[str, list[RecordedWarning]] = {}
        for warning in run.warnings:
            if not warning.late:
                self._warnings.setdefault(warning.node_id, []).append(warning)

    def build(self) -> None:
        run = self._run
        end = step_times.last_moment(run.steps, run.start) if run.end is None else run.end
        flow = self._begin(semconv.INVOKE_WORKFLOW, Interval(run.start, end))
        # A run that goes on begins where the first one did; whether `--only` skips nodes is not known.
        nodes = [*run.restored, *(step.node_id for step in run.steps[:1])]
        self._describe_flow(flow, run.name, run.file, nodes[0] if nodes and not run.only_node else "")
        optional: dict[str, Any] = {
            semconv.EXECUTION_ID: run.execution_id,
            semconv.RESUMED_FROM: run.resumed_from,
            semconv.FLOW_ONLY_NODE: run.only_node,
            semconv.FLOW_STATUS: run.status,
            semconv.FLOW_RESTORED_NODES: tuple(run.restored)[:MAX_NAMES],
            semconv.SHARED_SCHEMA: _schema(run.inputs) if run.inputs else "",
        }
        flow.attributes |= {name: value for name, value in optional.items() if value}
        self._add_steps(run.steps, flow, outermost=True)
        if run.strays:
            flow.totals.add(self._totals(run.strays, flow.when.end))
        left = [warning for warnings in self._warnings.values() for warning in warnings]
        left += [warning for warning in run.warnings if warning.late]
        flow.events += [self._warning(warning, end, warning.node_id) for warning in left]
        if run.failed:
            self._fail(flow, flow.failed_below or _FAILED, reported=bool(flow.failed_below))
        self._end(flow, None, is_open=run.end is None)

    def _add_steps(self, steps: Sequence[RecordedStep], flow: _SpanDraft, *, outermost: bool = False) -> None:
        visits: Counter[str] = Counter()
        last = {step.node_id: number for number, step in enumerate(steps)}
        for number, (step, when) in enumerate(step_times.of_steps(steps, flow.when)):
            visits[step.node_id] += 1
            warnings = (
                self._warnings.pop(step.node_id, ()) if outermost and last[step.node_id] == number else ()
            )
            flow.take(self._add_step(step, when, flow, visits[step.node_id], warnings))
        flow.attributes[semconv.FLOW_STEPS] = flow.steps

    def _add_step(
        self,
        step: RecordedStep,
        when: Interval,
        flow: _SpanDraft,
        visit: int,
        warnings: Sequence[RecordedWarning],
    ) -> _SpanDraft:
        draft = self._begin(semconv.INVOKE_NODE, when)
        draft.attributes |= {
            semconv.NODE_NAME: step.node_id,
            semconv.NODE_CLASS: step.node_type or _UNKNOWN,
            semconv.NODE_VISIT: visit,
            **_of_step(step),
        }
        is_open = step.running and self._run.end is None
        self._add_inside(step, draft, is_open=is_open)
        if step.batch is not None:
            self._add_batch(step.batch, draft, cached=step.cached)
        if step.failure is not None:
            draft.attributes[semconv.FAILURE_CATEGORY] = step.failure.category
            kind = step.failure.kind
            if step.failure.returned:
                draft.attributes[semconv.NODE_ACTION] = _ERROR
                kind = draft.failed_below or kind
            self._fail(draft, kind, step.failure.text, reported=bool(draft.failed_below))
        elif step.running and not is_open:
            self._fail(draft, _INTERRUPTED)
        draft.steps += 1
        draft.events += [self._warning(warning, when.end) for warning in warnings]
        self._end(draft, flow, is_open=is_open)
        return draft

    def _add_batch(self, batch: RecordedBatch, draft: _SpanDraft, *, cached: bool) -> None:
        draft.attributes[semconv.BATCH_MODE] = semconv.PARALLEL if batch.parallel else semconv.SEQUENTIAL
        if cached:  # Its items did not run.
            return
        draft.attributes[semconv.BATCH_SIZE] = batch.size
        if batch.size and not batch.items:
            draft.attributes[semconv.BATCH_UNTRACED] = batch.size
        failed = ""
        for item, when in step_times.of_items(batch, draft.when):
            inner = self._add_item(item, when, batch, draft)
            draft.take(inner)
            failed = inner.failure or failed
        draft.failed_below = failed

    def _add_item(
        self, item: RecordedItem, when: Interval, batch: RecordedBatch, host: _SpanDraft
    ) -> _SpanDraft:
        draft = self._begin(semconv.BATCH_ITEM, when)
        draft.attributes |= {semconv.BATCH_INDEX: item.index, semconv.BATCH_SIZE: batch.size}
        self._add_inside(item, draft)
        if item.failure is not None:
            kind = draft.failed_below or item.failure.kind
            self._fail(draft, kind, item.failure.text, reported=bool(draft.failed_below))
        self._end(draft, host)
        return draft

    def _add_inside(self, work: RecordedWork, draft: _SpanDraft, *, is_open: bool = False) -> None:
        """Tell of the calls and the workflow in a step or an item."""
        if work.usages:
            draft.totals.add(self._totals(work.usages, draft.when.end))
            draft.attributes |= span_attributes.of_calls(_calls(work.usages, draft.when.end), self._prices)
        if work.workflow is not None and work.workflow.steps:
            draft.take(
                self._add_workflow(work.workflow, draft, failed=work.failure is not None, is_open=is_open)
            )

    def _add_workflow(
        self, workflow: RecordedWorkflow, host: _SpanDraft, *, failed: bool, is_open: bool
    ) -> _SpanDraft:
        flow = self._begin(semconv.INVOKE_WORKFLOW, host.when)
        flow.attributes[semconv.FLOW_NESTED] = True
        self._describe_flow(flow, pflow_names.stem(workflow.file), workflow.file, workflow.steps[0].node_id)
        self._add_steps(workflow.steps, flow)
        if failed and flow.failed_below:
            self._fail(flow, flow.failed_below)
        self._end(flow, host, is_open=is_open)
        return flow

    def _describe_flow(self, flow: _SpanDraft, name: str, file: str, first: str) -> None:
        optional = {
            semconv.GEN_AI_WORKFLOW_NAME: name,
            semconv.FLOW_CLASS: pflow_names.WORKFLOW,
            semconv.FLOW_FILE: file,
            semconv.RUN_ID: run_id(self._run),
            semconv.FLOW_START_NODE: first,
        }
        flow.attributes |= {name: value for name, value in optional.items() if value}

    def _totals(self, usages: Sequence[Usage], at: int) -> UsageTotals:
        """Add up calls, with their prices; the first that needs the table waits for it."""
        prices = self._prices
        if not all(map(prices.knows_without_table, usages)):
            prices.wait()
        totals = UsageTotals()
        for call in _calls(usages, at):
            totals.count(call, prices)
        totals.price_waiting(prices)
        return totals

    def _fail(self, draft: _SpanDraft, kind: str, text: str = "", *, reported: bool = True) -> None:
        """Mark it as failed; add an exception, unless a span in it has reported that."""
        text = text if self._texts else ""
        draft.failure = draft.attributes[semconv.ERROR_TYPE] = kind
        draft.message = text or kind
        if not reported:
            attributes = {semconv.EXCEPTION_TYPE: kind} | ({semconv.EXCEPTION_MESSAGE: text} if text else {})
            draft.events.append(EventRecord(semconv.EXCEPTION_EVENT, draft.when.end, attributes))

    def _warning(self, warning: RecordedWarning, at: int, node_id: str = "") -> EventRecord:
        attributes = {semconv.WARNING_CATEGORY: warning.category, semconv.WARNING_SEVERITY: warning.severity}
        if node_id:
            attributes[semconv.WARNING_NODE] = node_id
        if warning.text and self._texts:
            attributes[semconv.WARNING_MESSAGE] = warning.text
        return EventRecord(semconv.WARNING, at, attributes)

    def _begin(self, operation: str, when: Interval) -> _SpanDraft:
        span_id = _span_id(self._run, self._begun)
        self._begun += 1
        return _SpanDraft(span_id, when, {semconv.GEN_AI_OPERATION_NAME: operation})

    def _end(self, draft: _SpanDraft, parent: _SpanDraft | None, *, is_open: bool = False) -> None:
        attributes = draft.attributes
        if draft.totals.models:
            attributes |= span_attributes.sums(draft.totals, by_model=parent is None)
        operation = attributes[semconv.GEN_AI_OPERATION_NAME]
        title = attributes.get(semconv.NODE_NAME) or attributes.get(semconv.GEN_AI_WORKFLOW_NAME)
        span = SpanRecord(
            trace_id=self._trace_id,
            span_id=draft.span_id,
            parent_id="" if parent is None else parent.span_id,
            name=f"{operation} {title}" if title else operation,
            start=draft.when.start,
            end=0 if is_open else draft.when.end,
            flags=_FLAGS,
            attributes=attributes,
            events=tuple(draft.events),
            status=ERROR if draft.failure else UNSET,
            status_message=draft.message,
            scope=_SCOPE,
        )
        self.spans.append(span)


def _calls(usages: Sequence[Usage], at: int) -> list[Call]:
    moment = datetime.fromtimestamp(at // 1_000_000_000, UTC)
    return [Call(usage, moment) for usage in usages]


def _of_step(step: RecordedStep) -> dict[str, Any]:
    """Return the attributes of a step that it has by itself."""
    optional: dict[str, Any] = {
        semconv.NODE_CACHED: step.cached,
        semconv.NODE_CACHE_SOURCE: step.cache_source,
        semconv.LOOP_ITERATION: step.iteration,
        semconv.GATE_OUTCOME: step.gate,
        semconv.SHARED_ADDED_KEYS: tuple(step.added)[:MAX_NAMES],
        semconv.SHARED_ADDED_TYPES: tuple(step.added.values())[:MAX_NAMES],
        semconv.SHARED_MODIFIED_KEYS: tuple(step.modified)[:MAX_NAMES],
        semconv.SHARED_MODIFIED_TYPES: tuple(step.modified.values())[:MAX_NAMES],
        semconv.SHARED_TRUNCATED: max(len(step.added), len(step.modified)) > MAX_NAMES,
    }
    return {name: value for name, value in optional.items() if value}


def _schema(types: Mapping[str, str]) -> str:
    """Return names and types as `pocketflow.shared.schema` has them."""
    return json.dumps(dict(list(types.items())[:MAX_NAMES]), ensure_ascii=False, separators=(",", ":"))
