"""What single spans of pflow's workflows say where that is easily got wrong."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.pflow.environments import ENDS
from tests.pflow.homes import register
from tests.pflow.users import User

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.pflow.commands import Commands

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import SpanNode

    Ran = Callable[..., list[SpanNode]]


@pytest.fixture
def ran(tmp_path: Path, forks: Commands) -> Ran:
    """Return what runs a workflow, and returns its spans in order."""

    def run(*argv: str, version: str = "newest") -> list[SpanNode]:
        user = User(tmp_path / "home", version, forks)
        user.run("instrument", *argv)
        return list(user.trace().walk())

    return run


def said(steps: list[SpanNode], attribute: str) -> dict[str, object]:
    """Return an attribute of the spans that have it, by the titles of those."""
    return {
        step.span.title: step.span.attributes[attribute]
        for step in steps
        if attribute in step.span.attributes
    }


# Gates


@pytest.mark.parametrize(("key", "outcomes"), [("parcel", {"deliver": "approved"}), ("other", {})])
def test_a_gate_has_an_outcome_where_somebody_was_asked(key: str, outcomes: dict[str, str], ran: Ran) -> None:
    steps = ran("--auto-approve=deliver", "gate-unreached.pflow.md", f"key={key}")

    assert steps[-1].span.title == "deliver"
    assert said(steps, semconv.GATE_OUTCOME) == outcomes


# Warnings


def warnings(span: SpanRecord) -> Iterator[object]:
    for event in span.events:
        if event.name == semconv.WARNING:
            yield event.attributes[semconv.WARNING_CATEGORY]


@pytest.mark.parametrize("workflow", ["recovery", "same-names"])
def test_a_warning_is_told_once_by_the_step_it_is_about(workflow: str, ran: Ran) -> None:
    steps = ran(f"{workflow}.pflow.md")
    told = [(step.span.attributes.get(semconv.NODE_CLASS), list(warnings(step.span))) for step in steps]

    assert [found for found in told if found[1]] == [("ShellNode", ["on_error_recovery"])]


# Failures and actions


@pytest.mark.parametrize("version", ENDS)
def test_an_item_that_returns_a_failure_has_the_kind_its_step_would_have(version: str, ran: Ran) -> None:
    steps = ran("items-returning.pflow.md", version=version)

    assert [step.span.attributes.get(semconv.ERROR_TYPE) for step in steps if step.span.role == "item"] == [
        None,
        "shell_failure",
    ]


@pytest.mark.parametrize(("details", "shown"), [("", "<unknown>"), ("errors", "patient-4711")])
def test_an_action_that_nobody_wrote_down_is_data(
    details: str, shown: str, tmp_path: Path, forks: Commands
) -> None:
    user = User(tmp_path / "home", "newest", forks, POCKETFLOW_OTEL_PFLOW_DETAILS=details)
    user.run("instrument", "unrouted.pflow.md", "way=patient-4711")
    (path,) = user.files()
    steps = list(user.trace().walk())

    assert said(steps, semconv.NODE_ACTION) == {"choose": shown}
    assert ("patient-4711" in path.read_text()) == (details == "errors")


# Names

RUNS = """
import json
from pathlib import Path
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pocketflow_otel import PflowInstrumentor

provider, exporter = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(exporter))
PflowInstrumentor().instrument(tracer_provider=provider)

from pflow.execution.result import RunnerConfig
from pflow.execution.runner import WorkflowRunner
from pflow.execution.workflow_resolver import resolve_workflow

path = Path("nested.pflow.md").resolve()
for workflow in (str(path), resolve_workflow(str(path)), Path("linear.pflow.md").read_text()):
    assert WorkflowRunner().run(workflow, {}, RunnerConfig()).success
    root = exporter.get_finished_spans()[-1]
    print(json.dumps([root.name, root.attributes.get("pocketflow.flow.file")]))
"""


def test_a_workflow_has_the_name_of_its_file_whoever_runs_it(tmp_path: Path) -> None:
    user = User(tmp_path / "home", "newest")
    register(user.home, "newest")
    done = subprocess.run(
        [user.bin / "python", "-c", RUNS], **user.surroundings({}), capture_output=True, check=False
    )

    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["invoke_workflow nested", "nested.pflow.md"],
        ["invoke_workflow nested", "nested.pflow.md"],
        ["invoke_workflow", None],
    ], done.stderr.decode()
