"""A recorded run as spans: names, times, ids, warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.pflow_traces import ALL, LINEAR, documents, lines_of, name_of, steps_of, trace_of, write
from tests.support.snapshots import snapshot_text

from pocketflow_otel import __version__, semconv
from pocketflow_otel.traces.records import ScopeRecord, SpanRecord

SNAPSHOT = Path(__file__).parents[3] / "snapshots" / "imported-from-pflow.txt"


def test_every_trace_is_told_as_the_snapshot_says() -> None:
    text = "\n".join(
        f"{path.parent.name} {path.stem.removeprefix('workflow-trace-')}\n\n"
        + "\n".join(lines_of(path))
        + "\n"
        for path in ALL
    )
    assert text == snapshot_text(SNAPSHOT, text)


WRITTEN = {
    semconv.SHARED_ADDED_KEYS: (
        "stdout", "stdout_is_binary", "stderr", "stderr_is_binary", "exit_code", "command",
    ),
    semconv.SHARED_ADDED_TYPES: ("str", "bool", "str", "bool", "int", "str"),
}  # fmt: skip


def test_a_run_becomes_spans_with_its_times_and_ids_that_follow_from_its_own() -> None:
    common = {
        "trace_id": "995adcd5396ca561e92fa05a3aa519bc",
        "flags": 0x100,
        "scope": ScopeRecord(semconv.SCOPE_NAME, __version__),
    }
    root = SpanRecord(
        span_id="cccfad50850707cb", parent_id="", name="invoke_workflow linear",
        start=1795647609_527571000, end=1795647609_566404000,
        attributes={
            semconv.GEN_AI_OPERATION_NAME: "invoke_workflow", semconv.GEN_AI_WORKFLOW_NAME: "linear",
            semconv.FLOW_CLASS: "Workflow", semconv.FLOW_FILE: "linear.pflow.md",
            semconv.FLOW_START_NODE: "greet", semconv.FLOW_STATUS: "success", semconv.FLOW_STEPS: 2,
            semconv.RUN_ID: "20261125T230009Z-cccfad50", semconv.SHARED_SCHEMA: '{"city":"str"}',
            semconv.EXECUTION_ID: "a0f7afd7-903f-460d-a2cc-dd149aa1d020",
        },
        **common,
    )  # fmt: skip
    steps = [
        SpanRecord(
            span_id=span_id, parent_id=root.span_id, name=f"invoke_node {name}", start=start, end=end,
            attributes={
                semconv.GEN_AI_OPERATION_NAME: "invoke_node", semconv.NODE_NAME: name,
                semconv.NODE_CLASS: "ShellNode", semconv.NODE_VISIT: 1, **WRITTEN,
            },
            **common,
        )
        for span_id, name, start, end in [
            ("89911ced27c9ac78", "greet", 1795647609_545307000, 1795647609_550967000),
            ("05dc7d12dccfea4d", "shout", 1795647609_551361000, 1795647609_565761000),
        ]
    ]  # fmt: skip
    assert [step.span for step in steps_of(LINEAR)] == [root, *steps]


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("/home/ada/tiny.pflow.md", "/home/ada/tiny.pflow.md", ("tiny", "tiny.pflow.md")),
        ("/home/ada/tiny.pflow.md", None, ("tiny", None)),  # 0.11 and 0.12
        ("tiny.pflow.md", None, ("tiny", None)),
        (r"C:\flows\tiny.pflow.md", r"C:\flows\tiny.pflow.md", ("tiny", "tiny.pflow.md")),
        ("/home/ada/" + "deep/" * 40 + "tiny.pflow.md", None, ("tiny", None)),
        ("team/tiny", "/home/ada/tiny.pflow.md", ("tiny", "tiny.pflow.md")),
        ("tiny", "/home/ada/" + "deep/" * 40 + "tiny.pflow.md", ("tiny", "tiny.pflow.md")),
        ("unnamed", "ir-hash:8e11", (None, None)),
        ("tiny", "ir-hash:8e11", ("tiny", None)),
    ],
)  # fmt: skip
def test_a_workflow_that_was_given_no_name_has_that_of_its_file(
    name: str, path: str | None, expected: tuple[str | None, str | None], tmp_path: Path
) -> None:
    """pflow writes down the path, or `unnamed`, when it is started by its MCP server."""
    content = documents(LINEAR)
    content[0] |= {"workflow_name": name, "workflow_path": path}
    root = steps_of(write(tmp_path / "trace", content))[0].span
    said = root.attributes
    assert (said.get(semconv.GEN_AI_WORKFLOW_NAME), said.get(semconv.FLOW_FILE)) == expected
    assert root.name == (f"invoke_workflow {expected[0]}" if expected[0] else "invoke_workflow")


def test_what_pflow_writes_into_an_output_for_itself_is_not_listed(tmp_path: Path) -> None:
    content = documents(LINEAR)
    event = next(line for line in content if line["kind"] == "event")
    event["node_output"] = dict.fromkeys(
        ("__stats__", "_pflow_depth", "_batch_trace", "_trace_collector", "x"), 1
    )
    said = steps_of(write(tmp_path / "trace", content))[1].span.attributes
    assert said[semconv.SHARED_ADDED_KEYS] == ("x",)


def of_type(kind: object) -> dict[str, Any]:
    return {"context": {"type": kind}, "type": kind}


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ({"id": "batch.empty-input", "severity": "info"}, "batch.empty-input"),
        (of_type("on_error_recovery"), "on_error_recovery"),
        # What a node left as a text has no category; the runner calls it so all the same.
        (of_type("api_warning"), "warning"),
        ({"context": {"type": "api_warning", "recovered": False}, "recovered": False}, "api_warning"),
        (
            {"context": {"type": "api_warning", "kind": "pool_timeout", "category": "llm_warning"}},
            "pool_timeout",
        ),
        ({}, "warning"),
    ],
)  # fmt: skip
def test_a_warning_has_the_category_that_what_raised_it_gave_it(
    said: dict[str, Any], category: str, tmp_path: Path
) -> None:
    content = documents(LINEAR)
    warning = {"severity": "warning", "message": "look", "source": "runtime", "node_id": "greet", **said}
    content[-1]["warnings"] = [warning]
    (event,) = steps_of(write(tmp_path / "trace", content))[1].span.events
    assert event.attributes == {
        semconv.WARNING_CATEGORY: category, semconv.WARNING_SEVERITY: warning["severity"],
    }  # fmt: skip


def test_an_answer_that_an_api_refused_is_a_failure_of_that_kind(tmp_path: Path) -> None:
    """Until 0.13 the warning about it is a text, as any other."""
    content = documents(LINEAR)
    text = "API error (404): not found"
    content[-2] |= {"status": "failed", "error": text}
    content[-1]["warnings"] = [{"message": text, "node_id": "shout", **of_type("api_warning")}]
    last = steps_of(write(tmp_path / "trace", content))[-1].span
    assert (last.title, last.attributes[semconv.FAILURE_CATEGORY]) == ("shout", "api_warning")


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_spans_lie_within_each_other_and_steps_one_after_the_other(path: Path) -> None:
    for step in steps_of(path):
        ends = [child.span.end or step.span.end for child in step.children]
        starts = [child.span.start for child in step.children]
        assert all(step.span.start <= start for start in starts)
        assert all(end <= step.span.end for end in ends) or not step.span.end
        if step.span.role == "flow":
            assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_items_begin_as_early_as_a_place_is_free(tmp_path: Path) -> None:
    content = documents(trace_of("0.16.0/parallel"))
    host = next(line for line in content if line.get("batch_items"))
    host["node_output"]["batch_metadata"]["max_concurrent"] = 2
    host["batch_items"] = [
        {"index": index, "status": "success", "duration_ms": duration}
        for index, duration in enumerate([100, 20, 30, 500])
    ]
    items = [step for step in steps_of(write(tmp_path / "trace", content)) if step.span.role == "item"]
    first = items[0].span.start
    begun = [(item.span.start - first) // 1_000_000 for item in items]
    ended = [(item.span.end - first) // 1_000_000 for item in items]
    assert (begun, ended) == ([0, 0, 20, 50], [100, 20, 50, 314])  # The last one as its batch does.
