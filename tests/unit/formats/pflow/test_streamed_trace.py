"""The lines of a streamed trace: what they take, and the gates among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.pflow_traces import LINEAR, documents, imported, steps_of, write

from pocketflow_otel import semconv
from pocketflow_otel.formats.pflow.streamed_trace import StreamedTrace
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_long_run_takes_no_more_than_its_steps(tmp_path: Path) -> None:
    meta, *_, trailer = documents(LINEAR)
    event = {
        "kind": "event", "node_type": "ShellNode", "status": "success", "duration_ms": 1, "parent_id": None,
        "timestamp": "2026-11-25T23:00:09.540000", "node_output": {"stdout": "x" * 20_000},
    }  # fmt: skip
    lines = [event | {"id": number, "node_id": f"node-{number % 50}"} for number in range(1_000)]
    (made,) = imported(tmp_path, write(tmp_path / "workflow-trace-long.json", [meta, *lines, trailer]))[:1]
    assert (reader.read_summary(made).steps, made.stat().st_size < 2_000_000) == (1_000, True)


class Counting(dict[Any, Any]):
    """A dict that counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[Any]:
        Counting.passes += 1
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        Counting.passes += 1
        return super().__reversed__()

    def items(self) -> Any:
        Counting.passes += 1
        return super().items()


@pytest.mark.parametrize("kind", ["action_approval", "escalation"])
def test_a_gate_does_not_look_at_all_steps(kind: str) -> None:
    lines = StreamedTrace()
    lines._steps = Counting()
    step = {"node_type": "ShellNode", "parent_id": None}
    gate = {"kind": "gate", "gate_kind": kind, "resolution": "approved"}
    Counting.passes = 0
    for number in range(100):
        said = step | {"id": number, "node_id": f"node-{number}"}
        lines.take({"kind": "node.start", **said}, "a line")
        lines.take({"kind": "event", **said}, "a line")
        lines.take(gate | {"node_id": f"node-{number}"}, "a line")
    assert Counting.passes == 0


def test_a_gate_is_in_the_innermost_workflow_that_is_running(tmp_path: Path) -> None:
    meta, *_, trailer = documents(LINEAR)
    call = {"node_type": "WorkflowExecutor", "status": "success"}
    task = {"node_type": "ShellNode", "status": "success"}
    gate = {"kind": "gate", "gate_kind": "action_approval", "node_id": "deliver"}
    lines = [
        {"kind": "node.start", "id": 0, "parent_id": None, "node_id": "outer", **call},
        {"kind": "node.start", "id": 1, "parent_id": 0, "node_id": "inner", **call},
        gate | {"resolution": "approved"},
        {"kind": "node.start", "id": 2, "parent_id": 1, "node_id": "deliver", **task},
        {"kind": "event", "id": 2, "parent_id": 1, "node_id": "deliver", **task},
        {"kind": "event", "id": 1, "parent_id": 0, "node_id": "inner", **call},
        gate | {"resolution": "denied"},
        {"kind": "event", "id": 0, "parent_id": None, "node_id": "outer", **call},
        gate | {"resolution": "non_interactive"},
        {"kind": "gate", "gate_kind": "escalation", "node_id": "outer", "resolution": "choice"},
    ]
    assert sorted(
        (step.depth, step.span.title, step.span.attributes.get(semconv.GATE_OUTCOME, ""))
        for step in steps_of(write(tmp_path / "trace", [meta, *lines, trailer]))
        if step.span.role == "node"
    ) == [
        (1, "deliver", "non_interactive"), (1, "outer", "choice"), (3, "deliver", "denied"), (3, "inner", ""),
        (5, "deliver", "approved"),
    ]  # fmt: skip
