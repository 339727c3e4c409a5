"""Real pflows: what is imported of their own traces is what tracing them recorded of the same runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from click.testing import CliRunner
from tests.pflow.environments import NEWEST, VERSIONS, bin_of
from tests.pflow.features import SCENARIOS, SERVER, Scenario
from tests.pflow.homes import furnish, with_models
from tests.pflow.pairs import lay_out, wait_between_runs

from pocketflow_otel import semconv
from pocketflow_otel.cli.main import main
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pflow.commands import Commands
    from tests.pflow.servers import Server

    from pocketflow_otel.traces.trace import SpanNode, Trace


_NAMES: Final = (
    "linear", "back-edge", "batch-parallel", "batch-continue", "nested-failing", "nested-batch", "recovery",
    "loop", "gate", "gate-denied", "resume", "cached", "llm", "unrouted",
)  # fmt: skip
_UNTOLD: Final = ("unrouted", "0.11.0")
"""A failure after the step's end, which the trace of that version does not tell of."""
CASES: Final = [
    pytest.param(scenario, version, id=f"{scenario}-{version}")
    for scenario in SCENARIOS
    for version in VERSIONS
    if scenario.name in _NAMES and scenario.is_for(version) and (scenario.name, version) != _UNTOLD
]

_COMPARED: Final = (
    semconv.GEN_AI_WORKFLOW_NAME, semconv.FLOW_CLASS, semconv.FLOW_START_NODE,
    semconv.FLOW_NESTED, semconv.FLOW_RESTORED_NODES, semconv.NODE_NAME, semconv.NODE_CLASS,
    semconv.NODE_VISIT, semconv.NODE_CACHED, semconv.LOOP_ITERATION, semconv.GATE_OUTCOME,
    semconv.FAILURE_CATEGORY, semconv.BATCH_MODE, semconv.BATCH_SIZE, semconv.BATCH_INDEX,
    semconv.EXECUTION_ID, semconv.RESUMED_FROM, semconv.SUM_CALLS, semconv.SUM_INPUT_TOKENS,
    semconv.SUM_OUTPUT_TOKENS, semconv.SUM_CACHE_READ_TOKENS, semconv.COST_UNPRICED_CALLS,
)  # fmt: skip
_EXACT: Final = (semconv.FLOW_FILE, semconv.FLOW_STATUS, semconv.FLOW_STEPS, semconv.SHARED_MODIFIED_KEYS)
"""What the traces of older versions say otherwise, or not at all."""
_BEFORE_ITEMS: Final = VERSIONS[: VERSIONS.index("0.11.0")]
"""Versions whose traces leave out what is in batches and in nested workflows."""


@dataclass
class Told:
    """A span, as far as pflow's trace tells of it."""

    name: str
    failed: bool
    said: dict[str, Any]
    cost: Any
    warnings: list[Any]
    inside: list[Told] = field(default_factory=list)


def told(step: SpanNode, version: str) -> Told:
    names = _COMPARED if version != NEWEST else (*_COMPARED, *_EXACT)
    said = {name: step.span.attributes[name] for name in names if name in step.span.attributes}
    cost = step.span.attributes.get(semconv.COST)
    found = Told(
        step.span.name,
        step.span.failed,
        said,
        None if cost is None else pytest.approx(cost, abs=2e-6),
        [] if version in _BEFORE_ITEMS else warnings_of(step),
    )
    children = sorted(
        step.children, key=lambda child: (child.span.attributes.get(semconv.BATCH_INDEX, 0), child.span.start)
    )
    if step.span.role == "flow" or version not in _BEFORE_ITEMS:
        found.inside = [told(child, version) for child in children]
    return found


def warnings_of(step: SpanNode) -> list[tuple[Any, ...]]:
    names = (semconv.WARNING_CATEGORY, semconv.WARNING_SEVERITY, semconv.WARNING_NODE)
    return [
        tuple(event.attributes.get(name) for name in names)
        for event in step.span.events
        if event.name == semconv.WARNING
    ]


def perform(scenario: Scenario, version: str, home: Path, server: Server, commands: Commands) -> None:
    """Run a scenario traced."""
    variables = with_models(furnish(home, version), server.url)
    lay_out(home / "flows", version)
    server.reset()
    said = ""
    for place, argv in enumerate(scenario.commands):
        if place:
            wait_between_runs(version)
        execution = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
        filled = [part.replace(SERVER, server.url) for part in argv]
        if execution is not None:
            filled = [part.replace("{execution}", execution[0]) for part in filled]
        launcher = bin_of(version) / "opentelemetry-instrument"
        done = commands.run([launcher, bin_of(version) / "pflow", *filled], cwd=home / "flows", env=variables)
        said = done.stderr.decode()


def import_all(place: Path, home: Path) -> str:
    result = CliRunner().invoke(main, ["import-pflow", "--dir", str(place), str(home / ".pflow" / "debug")])
    assert result.exit_code == 0, result.output
    return result.stderr


def runs_in(place: Path) -> dict[str, Trace]:
    """Return the runs of a folder by pflow's ids of them."""
    traces = [reader.read(path) for path in place.glob("*.json")]
    return {str(trace.roots[0].span.attributes[semconv.EXECUTION_ID]): trace for trace in traces}


@pytest.mark.parametrize(("scenario", "version"), CASES)
def test_what_is_imported_is_what_was_traced(
    scenario: Scenario, version: str, tmp_path: Path, server: Server, forks: Commands
) -> None:
    home = tmp_path / "home"
    perform(scenario, version, home, server, forks)
    traced = runs_in(home / ".pflow" / "traces")
    assert import_all(home / ".pflow" / "traces", home) == f"0 runs imported, {len(traced)} already there\n"
    import_all(tmp_path / "imported", home)
    imported = runs_in(tmp_path / "imported")
    assert imported.keys() == traced.keys()
    for name, trace in imported.items():
        assert told(trace.roots[0], version) == told(traced[name].roots[0], version)
        # One of the two begins with what pflow loads first. Another time zone would be hours.
        assert abs(trace.summary.start - traced[name].summary.start) < 120


SERVED: Final = """
from pflow.mcp_server.services.execution_service import ExecutionService

ExecutionService.execute_workflow("linear.pflow.md", {"name": "ada"})
"""
"""A workflow as pflow's MCP server runs it: without a name."""


def test_a_run_without_a_name_has_that_of_its_file_either_way(tmp_path: Path, processes: Commands) -> None:
    home = tmp_path / "home"
    variables = furnish(home, NEWEST)
    lay_out(home / "flows", NEWEST)
    launcher = bin_of(NEWEST) / "opentelemetry-instrument"
    processes.run([launcher, bin_of(NEWEST) / "python", "-c", SERVED], cwd=home / "flows", env=variables)
    import_all(tmp_path / "imported", home)
    (traced,) = runs_in(home / ".pflow" / "traces").values()
    (imported,) = runs_in(tmp_path / "imported").values()
    assert imported.roots[0].span.name == "invoke_workflow linear"
    assert told(imported.roots[0], NEWEST) == told(traced.roots[0], NEWEST)
