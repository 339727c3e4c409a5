"""Put the lines of a streamed trace together: starts and ends of steps, gates, and the end of the run.

A step has one number (`id`) at its start and its end, and names the step that runs the workflow it is
in (`parent_id`). A gate is where somebody must agree that a step runs; it has neither a number nor a
time, so its place among the lines counts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import pflow_names
from pocketflow_otel.fields import mapping
from pocketflow_otel.formats.pflow import trace_values
from pocketflow_otel.formats.pflow.recorded_run import RecordedStep, RecordedWorkflow
from pocketflow_otel.formats.pflow.step_events import RecordedScope, read_start, read_step
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_APPROVAL: Final = "action_approval"
_APPROVED: Final = "approved"

Line = dict[str, Any]


@dataclass(slots=True)
class _Gate:
    """A gate that a step stands before."""

    node_type: str
    outcome: str = ""


class StreamedTrace:
    """A streamed trace, as far as its lines have been taken.

    Attributes:
        restored: Nodes whose outputs came from an earlier run.
        blobs: Long strings by their ids, shortened.
        trailer: The last line of a run that has come to its end.
    """

    def __init__(self) -> None:
        self.restored: list[str] = []
        self.trailer: Line | None = None
        self._steps: dict[int, RecordedStep] = {}
        self._parents: dict[int, int | None] = {}
        self.blobs: dict[str, str] = {}
        self._scopes: dict[int | None, RecordedScope] = {None: RecordedScope(self.blobs)}
        self._gates: dict[tuple[int | None, str], _Gate] = {}
        # What gates ask for, without looking at all steps: the last of a node, and those that run a
        # workflow, as a heap with the innermost at its top; one that has ended is taken off when met.
        self._last: dict[tuple[int | None, str], int] = {}
        self._running: list[int] = []

    def take(self, line: Line, place: str) -> None:
        """Take the next line.

        Args:
            line: The line.
            place: What to call it in a sentence.

        Raises:
            TraceError: It does not fit what came before it.
        """
        if self.trailer is not None:
            raise TraceError(f"{place} comes after the end of the run")
        kind = line.get("kind")
        if kind in ("node.start", "event"):
            self._take_step(line, place, ended=kind == "event")
        elif kind == "gate":
            self._take_gate(line)
        elif kind == "blob":
            self.blobs[trace_values.name(line.get("md5"))] = trace_values.words(line.get("value"), {})
        elif kind == "run.complete":
            self.trailer = line

    def steps(self) -> list[RecordedStep]:
        """Return the steps of the outermost workflow, each with those in it."""
        children: dict[int | None, list[RecordedStep]] = defaultdict(list)
        for number in sorted(self._steps):
            children[self._parents[number]].append(self._steps[number])
        for (parent, node_id), gate in self._gates.items():
            if gate.outcome != _APPROVED:
                waiting = not gate.outcome
                children[parent].append(
                    RecordedStep(
                        node_id=node_id, node_type=gate.node_type, gate=gate.outcome, running=waiting
                    )
                )
        for number, step in self._steps.items():
            if children[number]:
                step.workflow = RecordedWorkflow(
                    step.workflow.file if step.workflow is not None else "", children[number]
                )
        return children[None]

    def _take_step(self, line: Line, place: str, *, ended: bool) -> None:
        number, parent = line.get("id"), line.get("parent_id")
        if type(number) is not int:
            raise TraceError(f"{place} is no step: it has no id")
        if parent is not None and (type(parent) is not int or parent >= number or parent not in self._steps):
            raise TraceError(f"{place} is in a step that is not there")
        if line.get("restored") is True:
            self.restored.append(trace_values.name(line.get("node_id")))
            return
        scope = self._scope(parent, place)
        known = self._steps.get(number)
        if not ended:
            step = read_start(line, place)
            if step.node_type == pflow_names.SUB_WORKFLOW:
                heappush(self._running, -number)
        else:
            step = read_step(line, place, scope)
            if known is not None:
                _go_on(step, known)
        gate = self._gates.pop((parent, step.node_id), None)
        if gate is not None:
            step.gate = gate.outcome
        if known is None:
            self._last[parent, step.node_id] = number
        self._steps[number], self._parents[number] = step, parent

    def _scope(self, parent: int | None, place: str) -> RecordedScope:
        found = self._scopes.get(parent)
        if found is None:
            assert parent is not None
            found = self._scopes[parent] = self._scope(self._parents[parent], place).within(place)
        return found

    def _take_gate(self, line: Line) -> None:
        """Note a gate; it is in the workflow that is running, the innermost."""
        parent = self._innermost()
        node_id = trace_values.name(line.get("node_id"))
        outcome = trace_values.name(line.get("resolution"))
        if line.get("gate_kind") == _APPROVAL:
            gate = self._gates.setdefault((parent, node_id), _Gate(_type_of(line)))
            gate.outcome = outcome
            return
        # Somebody is asked for a decision after the step that needs it has ended.
        number = self._last.get((parent, node_id))
        if number is not None:
            self._steps[number].gate = outcome

    def _innermost(self) -> int | None:
        """Return the number of the step that runs the innermost workflow; `None` for the outermost one."""
        running = self._running
        while running and not self._steps[-running[0]].running:
            heappop(running)
        return -running[0] if running else None


def _go_on(step: RecordedStep, known: RecordedStep) -> None:
    """Take over into a step that has ended what was known of it before."""
    step.begun, step.gate = known.begun, known.gate
    if not known.running:
        # pflow writes a step again when its action turns out to lead nowhere.
        step.added, step.modified = known.added, known.modified
        if step.failure is not None and known.failure is None:
            step.failure = step.failure.as_category(pflow_names.ROUTING_ERROR)


def _type_of(line: Mapping[str, Any]) -> str:
    return trace_values.name(mapping(line.get("request")).get("node_type"))
