"""Whatever of ours breaks, pflow does what it does, and a warning a place says so; nothing stays behind."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.pflow.environments import ENDS
from tests.pflow.users import User

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT: Final = Path(__file__).parents[2]

FEW: Final = {
    "pflow.adapter.begin_batch",
    "pflow.step_scope.NodeAttempts.succeed",
    "scopes.batch.BatchState.begin",
    "pflow.hooks.Arguments.__init__",
    "pflow.pflow_scope.PflowScope.action_text",
    "scopes.store_scope.StoreScope.take_snapshot",
    "pflow.hooks.Arguments.__getitem__",
    "pflow.shared_state.WarningInfo.read",
    "pflow.shared_state.engine_records",
    "pflow.shared_state.failure_of",
    "pflow.workflow_scope.WorkflowScope.end_engine",
    "scopes.store_scope.StoreScope.record_changes",
}
"""Functions that are called in more than one place: each place warns."""


def run_by(user: User, *arguments: str) -> Iterator[Any]:
    """Run a module of these tests by the Python of a pflow's environment; yield what it prints, as JSON."""
    done = subprocess.run(
        [user.bin / "python", "-m", *arguments],
        cwd=ROOT,
        env={**user.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    yield from map(json.loads, done.stdout.splitlines())


@pytest.mark.parametrize("version", ENDS)
def test_a_function_of_ours_that_raises_changes_nothing(version: str, tmp_path: Path) -> None:
    user = User(tmp_path / "home", version)
    bare, traced, *broken = run_by(user, "tests.pflow.broken", str(user.home))
    names = {run["name"] for run in broken}

    assert (bare["code"], differences(bare, traced), traced["warnings"], traced["spans"]) == (1, [], [], 19)
    assert [problem for run in broken for problem in problems(bare, run)] == []
    assert len(names) > 110
    assert names >= EARLY | LATE | OF_VERSION[version]


EARLY: Final = {
    "early pflow.hooks.Hook.install",
    "early pflow.hooks.install_all",
    "early pflow.subprocesses.hide_launcher",
    "early pflow.patcher.PflowPatcher._begin",
    "early pflow.context_propagation.propagating_executor",
}
LATE: Final = {
    "late pflow.patcher._continue_trace",
    "late pflow.subprocesses.with_trace_environment",
    "late pflow.adapter.open_item",
    "late pflow.patcher.PflowPatcher._after_run",
    "late pflow.pflow_scope.PflowScope.fail",
    "late pflow.step_scope.StepScope.describe_end",
    "late pflow.step_scope.PflowItemScope.see_end",
    "late pflow.shared_state.WorkflowStore.items",
    "late pflow.workflow_scope.WorkflowScope.close",
    "late scopes.batch.BatchItem.open",
    "late scopes.store_scope.StoreScope.take_snapshot",
}
OF_VERSION: Final = {
    "0.8.1": {
        "late pflow.engine_0_8.Engine08Adapter._open_node",
        "late pflow.engine_0_8._begin_parallel",
        "late pflow.engine_0_8._open_item",
    },
    "newest": {
        "late pflow.engine_0_11.Engine011Adapter._open_node",
        "late pflow.engine_0_11._begin_parallel",
        "late pflow.engine_0_11._open_item",
        "late pflow.patcher.PflowPatcher._shows_live",
    },
}


def differences(bare: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """Return in what a run differs from the bare one."""
    paths = bare["files"].keys() | run["files"].keys()
    return [
        *(what for what in ("code", "stdout", "stderr") if run[what] != bare[what]),
        *(path for path in sorted(paths) if bare["files"].get(path) != run["files"].get(path)),
    ]


def problems(bare: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a run in which a function of ours raised."""
    name = run["name"]
    yield from (f"{name}: {path} differs" for path in differences(bare, run))
    warnings = run.get("warnings", [])
    if run.get("unfinished") or not run.get("left"):
        yield f"{name}: {run.get('unfinished')} spans are open, and the run is left: {run.get('left')}"
    if not run.get("faults"):
        yield f"{name}: was not called"
    if not warnings or len(warnings) > (4 if name.partition(" ")[2] in FEW else 1):
        yield f"{name}: {len(warnings)} warnings"
    if len(set(warnings)) != len(warnings):
        yield f"{name}: warns twice of one place"
    for warning in warnings:
        if not re.fullmatch(r"pocketflow-otel could not [^;]+; the flow goes on \(reported once\)", warning):
            yield f"{name}: {warning}"


# Nothing stays behind


REPLACED: Final = {
    "0.8.1": {
        "pflow.core.output_controller.OutputController.create_progress_callback",
        "pflow.execution.executor_service.WorkflowExecutorService.execute_workflow",
        "pflow.pocketflow.BaseNode._exec",
        "pflow.pocketflow.BaseNode._run",
        "pflow.pocketflow.Flow._run",
        "pflow.pocketflow.Node.__init_subclass__",
        "pflow.pocketflow.Node._exec",
        "pflow.runtime.batch_node.PflowBatchNode._exec",
        "pflow.runtime.batch_node.PflowBatchNode._exec_parallel",
        "pflow.runtime.batch_node.PflowBatchNode._exec_single",
        "pflow.runtime.batch_node.PflowBatchNode._exec_single_with_node",
        "pflow.runtime.batch_node.PflowBatchNode.exec",
        "pflow.runtime.instrumented_wrapper.InstrumentedNodeWrapper._run",
    },
    "newest": {
        "pflow.core.node.BaseNode._exec",
        "pflow.core.node.BaseNode._run",
        "pflow.core.node.Node.__init_subclass__",
        "pflow.core.node.Node._exec",
        "pflow.core.output_controller.OutputController.create_progress_callback",
        "pflow.execution.gate_prompt._prompt",
        "pflow.execution.runner.WorkflowRunner.run",
        "pflow.runtime.engine.batch_executor._execute_batch_item",
        "pflow.runtime.engine.batch_executor._execute_parallel",
        "pflow.runtime.engine.batch_executor._execute_sequential",
        "pflow.runtime.engine.batch_executor._execute_synthetic_warmup",
        "pflow.runtime.engine.engine.WorkflowEngine._execute_node",
        "pflow.runtime.engine.engine.WorkflowEngine.run",
        "pflow.runtime.engine.engine.run_approval_gate",
        "pflow.runtime.engine.engine.run_escalation_gate",
    },
}
"""What is replaced of pflow, without its nodes."""
OF_NODES: Final = re.compile(r"pflow\.nodes\..+\.ThreadPoolExecutor")
SOME_NODES: Final = {"pflow.nodes.python.python_code.ThreadPoolExecutor"}


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize("when", ["imported", "later"])
def test_all_that_is_replaced_is_put_back_each_time(version: str, when: str, tmp_path: Path) -> None:
    on, off, on_again, off_again = run_by(User(tmp_path / "home", version), "tests.pflow.undone", when)
    nodes = {name for name in on if OF_NODES.fullmatch(name)}

    assert (set(on) - nodes, nodes >= SOME_NODES) == (REPLACED[version], True)
    assert (off, on_again, off_again) == ([], on, [])
