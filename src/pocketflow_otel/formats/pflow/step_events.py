"""Read one event of a pflow trace: what a node did, and the items and workflows in it.

All formats are read alike, from 1.2 (pflow 0.8) to 2.8 (0.16). What differs: until 0.13 an event says
`success` and `cached`, from 0.14 on `status`; until 0.10 what a node wrote stands in `shared_after`,
from 0.11 on in `node_output`; only from 0.11 on are the items of a batch and the steps of a nested
workflow there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import pflow_names, semconv
from pocketflow_otel.fields import count, mapping, members
from pocketflow_otel.formats.pflow import trace_values
from pocketflow_otel.formats.pflow.recorded_run import (
    RecordedBatch,
    RecordedFailure,
    RecordedItem,
    RecordedStep,
    RecordedWorkflow,
)
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.usage.pflow_usage import read_pflow_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

Event = dict[str, Any]

_CODE: Final = "PythonCodeNode"
_RAISED: Final = re.compile(r"([A-Za-z_]\w*): ")
"""How the error of a code node begins that catches what the code raises: with the class of that."""
_DEEPEST: Final = 50
"""Workflows in workflows; pflow itself allows ten."""
_MOST_PLACES: Final = 1000


class RecordedScope:
    """One execution of a workflow, as far as its steps depend on each other.

    Args:
        blobs: Long strings by their ids.
        depth: How many workflows it lies in.
    """

    def __init__(self, blobs: Mapping[str, str], depth: int = 0) -> None:
        self.blobs = blobs
        self.depth = depth
        self._written: dict[str, dict[str, int]] = defaultdict(dict)

    def within(self, place: str) -> RecordedScope:
        """Return the scope of a workflow in this one.

        Raises:
            TraceError: It is too deep.
        """
        if self.depth == _DEEPEST:
            raise TraceError(f"{place} is nested too deeply")
        return RecordedScope(self.blobs, self.depth + 1)

    def changes(self, node_id: str, output: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the types of the names that a node has added, and has modified since it ran last."""
        added, modified, before = {}, {}, self._written[node_id]
        for name, (kind, mark) in trace_values.types_and_marks(output).items():
            known = before.get(name)
            if known is None:
                added[name] = kind
            elif known != mark:
                modified[name] = kind
            before[name] = mark
        return added, modified


def read_start(line: Mapping[str, Any], place: str) -> RecordedStep:
    """Read the line that pflow writes, from 0.14 on, when a step begins.

    Args:
        line: The line.
        place: What to call it in a sentence.

    Raises:
        TraceError: It is of no step.
    """
    node_id, node_type = _identity(line, place)
    begun = trace_values.moment(line.get("timestamp"))
    return RecordedStep(node_id=node_id, node_type=node_type, begun=begun, running=True)


def _identity(fields: Mapping[str, Any], place: str) -> tuple[str, str]:
    """Return the id and the type of a step's node."""
    node_id = trace_values.name(fields.get("node_id"))
    if not node_id:
        raise TraceError(f"{place} is no step: it has no node_id")
    return node_id, trace_values.name(fields.get("node_type"))


def read_step(event: object, place: str, scope: RecordedScope) -> RecordedStep:
    """Read an event, with all that lies in it.

    Args:
        event: The event.
        place: Where it stands, for the sentence that says what is wrong.
        scope: The workflow it is of; it takes note of what the step wrote.

    Raises:
        TraceError: It is no event.
    """
    fields = mapping(event)
    node_id, node_type = _identity(fields, place)
    output = _output(fields, node_id)
    status = _status(fields)
    step = RecordedStep(
        node_id=node_id,
        node_type=node_type,
        ended=trace_values.moment(fields.get("timestamp")),
        duration=trace_values.nanoseconds(fields.get("duration_ms")),
        cached=status == "cached",
        iteration=count(fields.get("iteration")),
        failure=_failure(fields, status, output, node_type, scope.blobs),
    )
    step.added, step.modified = scope.changes(node_id, output)
    inner = members(fields.get("sub_workflow_events"))
    is_workflow = node_type == pflow_names.SUB_WORKFLOW
    if inner or is_workflow:
        file = _workflow_file(fields, output, node_id)
        step.workflow = _workflow(file, inner, f"{place}.sub_workflow_events", scope)
    step.batch = _batch(fields, output, step, place, scope)
    if step.cached:
        step.cache_source = trace_values.name(_usage(fields, output).get(pflow_names.CACHE_SOURCE))
    elif not is_workflow and step.batch is None:
        step.usages = read_pflow_usage(_usage(fields, output))
    elif not is_workflow and not fields.get("batch_items"):
        # Of a batch that gave up at its first failure, 0.11 to 0.13 record the results alone.
        results = map(mapping, members(output.get("results")))
        step.usages = [call for result in results for call in read_pflow_usage(_usage({}, result))]
    return step


def _status(fields: Mapping[str, Any]) -> str:
    """Return `success`, `cached` or `failed`."""
    status = fields.get("status")
    if isinstance(status, str):
        return status
    if fields.get("cached") is True:
        return "cached"
    return "failed" if fields.get("success") is False else "success"


def _output(fields: Mapping[str, Any], node_id: str) -> Mapping[str, Any]:
    """Return what a node wrote."""
    output = fields.get("node_output")
    return mapping(mapping(fields.get("shared_after")).get(node_id) if output is None else output)


def _failure(
    fields: Mapping[str, Any],
    status: str,
    output: Mapping[str, Any],
    node_type: str,
    blobs: Mapping[str, str],
) -> RecordedFailure | None:
    if status != "failed":
        return None
    # What a node returned as an error, it wrote. Of what was raised, pflow keeps the text, and until
    # 0.11 of nothing else.
    returned = "error" in output or "error" not in fields
    category = pflow_names.returned_category(node_type) if returned else pflow_names.EXCEPTION
    text = trace_values.words(fields.get("error") or output.get("error"), blobs)
    raised = _RAISED.match(text) if returned and node_type == _CODE else None
    return RecordedFailure(
        category, category if raised is None else trace_values.name(raised[1]), text, returned
    )


def _batch(
    fields: Mapping[str, Any], output: Mapping[str, Any], step: RecordedStep, place: str, scope: RecordedScope
) -> RecordedBatch | None:
    metadata, listed = mapping(output.get("batch_metadata")), members(fields.get("batch_items"))
    if not metadata and not listed:
        return None
    items = [
        _item(item, number, f"{place}.batch_items[{number}]", step, scope)
        for number, item in enumerate(listed)
    ]
    size = count(output.get("count"))
    if size is None:
        size = sum(item.index >= 0 for item in items)
    parallel = metadata.get("parallel") is True
    places = (count(metadata.get("max_concurrent")) or size) if parallel else 1
    return RecordedBatch(size, parallel, max(1, min(places, _MOST_PLACES)), items)


def _item(fields: object, number: int, place: str, host: RecordedStep, scope: RecordedScope) -> RecordedItem:
    item = mapping(fields)
    output = mapping(item.get("node_output"))
    status = _status(item)
    index = item.get("index")
    # -1 is a call that warmed a cache up, before the items.
    index = -1 if index == -1 and type(index) is int else count(index)
    found = RecordedItem(
        index=number if index is None else index,
        duration=trace_values.nanoseconds(item.get("duration_ms")),
        failure=_failure(item, status, output, host.node_type, scope.blobs),
    )
    inner = members(item.get("events"))
    if inner:
        file = _workflow_file(item, output, host.node_id) or (
            host.workflow.file if host.workflow is not None else ""
        )
        found.workflow = _workflow(file, inner, f"{place}.events", scope)
    elif status != "cached" and host.node_type != pflow_names.SUB_WORKFLOW:
        found.usages = read_pflow_usage(_usage(item, output))
    return found


def _workflow(file: str, events: list[Any], place: str, scope: RecordedScope) -> RecordedWorkflow:
    within = scope.within(place)
    return RecordedWorkflow(
        file, [read_step(event, f"{place}[{n}]", within) for n, event in enumerate(events)]
    )


def _workflow_file(fields: Mapping[str, Any], output: Mapping[str, Any], node_id: str) -> str:
    """Return the file of the workflow in a step or an item, or the name it is saved under."""
    resolved = mapping(mapping(fields.get("template_resolutions")).get("workflow")).get("resolved")
    given = mapping(fields.get("node_params"))
    for path in (
        mapping(output.get("_pflow_child_workflow_paths")).get(node_id),
        fields.get("workflow_path"),
        resolved,
        given.get("workflow"),
        given.get("workflow_ref"),
        given.get("workflow_name"),
    ):
        found = trace_values.base_name(path)
        if found:
            return found
    return ""


def _usage(fields: Mapping[str, Any], output: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the usage that a step or an item reports.

    What it wrote has each call by itself. `llm_call` has the calls of an agent's retries added up,
    and them once more.
    """
    written = output.get(semconv.LLM_USAGE)
    if isinstance(written, dict):
        return written
    return {key: value for key, value in mapping(fields.get("llm_call")).items() if key != "retries"}
