"""`import-pflow`: runs that pflow wrote traces of itself, in every format it has had."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.effort import examples, share
from tests.support.pflow_traces import ALL, documents, lines_of, steps_of, trace_of, write
from tests.support.receiver import Receiver
from tests.support.schema import VALIDATOR
from tests.support.snapshots import snapshot_text

from pocketflow_otel import __version__, semconv
from pocketflow_otel.analysis.rows import rows
from pocketflow_otel.cli.main import main
from pocketflow_otel.formats.pflow.importer import Importer
from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import run_id, spans
from pocketflow_otel.formats.pflow.streamed_trace import StreamedTrace
from pocketflow_otel.traces import reader
from pocketflow_otel.traces.records import ScopeRecord, SpanRecord, TraceError
from pocketflow_otel.traces.retention import FLOOR, Keep, prune
from pocketflow_otel.usage.pricing import PriceBook
from pocketflow_otel.views import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SNAPSHOT = Path(__file__).parents[3] / "snapshots" / "imported-from-pflow.txt"
LINEAR = trace_of("0.16.0/linear")


@pytest.fixture(autouse=True)
def _in_london(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine that pflow ran on had UTC; its traces have no zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run(*arguments: object, **options: Any) -> Any:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def imported(place: Path, *paths: object) -> list[Path]:
    """Import traces, and return the new files."""
    before = set(place.glob("*"))
    result = run("import-pflow", "--dir", place, *paths)
    assert result.exit_code == 0, result.output
    return sorted(set(place.glob("*")) - before)


# What becomes of a trace


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


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
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


# Tokens and cost


SUMMED = [path for path in ALL if "llm_summary" in documents(path)[-1]]


@pytest.mark.parametrize("path", SUMMED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_calls_tokens_and_cost_are_those_that_pflow_counted(path: Path) -> None:
    summary = documents(path)[-1]["llm_summary"]
    said = steps_of(path)[0].span.attributes
    assert (said[semconv.SUM_CALLS], said[semconv.SUM_INPUT_TOKENS] + said[semconv.SUM_OUTPUT_TOKENS]) == (
        summary["total_calls"] if "total_input_tokens" in summary else 3,  # 0.8 to 0.10 leave batches out.
        summary["total_tokens"] if "total_input_tokens" in summary else said_in_the_list(path),
    )
    if "total_cost_usd" in summary:
        assert said[semconv.COST] == pytest.approx(summary["total_cost_usd"], abs=1e-6)


def said_in_the_list(path: Path) -> int:
    calls = documents(path)[0]["nodes"][-1]["shared_after"]["__llm_calls__"]
    return sum(call["total_tokens"] for call in calls)


def usage_of(path: Path, node: str) -> dict[str, Any]:
    """Return what a step says of its own calls."""
    names = {
        semconv.USAGE_INPUT_TOKENS: "input", semconv.USAGE_OUTPUT_TOKENS: "output",
        semconv.USAGE_COST: "cost", semconv.SUM_CALLS: "calls", semconv.COST: "sum",
        semconv.COST_UNPRICED_CALLS: "unpriced",
    }  # fmt: skip
    for step in steps_of(path):
        if step.span.title == node:
            return {
                name: step.span.attributes[key] for key, name in names.items() if key in step.span.attributes
            }
    raise AssertionError(node)


def asked(tmp_path: Path, **usage: Any) -> Path:
    """Write the trace of a run whose one call said more than it did."""
    content = documents(trace_of("0.16.0/ask"))
    event = next(line for line in content if line.get("node_id") == "write" and line["kind"] == "event")
    event["node_output"]["llm_usage"] |= usage
    event["llm_call"] = {"input_tokens": 9_999, "output_tokens": 9_999, **event["llm_call"], **usage}
    return write(tmp_path / "trace", content)


def test_an_agents_retries_are_calls_of_their_own_and_counted_once(tmp_path: Path) -> None:
    retries = [{"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.5, "model": "openai/gpt-4o-mini"}] * 2
    assert usage_of(asked(tmp_path, retries=retries), "write") == {
        "calls": 3, "input": 136, "output": 36, "cost": 1.000033, "sum": 1.000033,
    }  # fmt: skip


def test_what_a_subscription_paid_for_has_no_price(tmp_path: Path) -> None:
    path = asked(tmp_path, cost_usd=None, api_equivalent_cost_usd=0.25)
    assert usage_of(path, "write") == {"calls": 1, "input": 116, "output": 26, "unpriced": 1}


def test_a_call_that_warmed_the_cache_up_is_counted(tmp_path: Path) -> None:
    content = documents(trace_of("0.16.0/ask"))
    host = next(line for line in content if line.get("batch_items"))
    call = {"model": "openai/gpt-4o-mini", "input_tokens": 7, "output_tokens": 1, "cost_usd": 0.25}
    host["batch_items"].insert(
        0, {"index": -1, "duration_ms": 5, "node_output": {}, "llm_call": {**call, "is_warmup": True}}
    )
    lines = lines_of(write(tmp_path / "trace", content))
    assert lines[0].split(" · ")[2:] == ["4× 358→82", "$0.250101"]
    assert [line.strip() for line in lines[4:]] == [
        "[-1] ok · 1× 7→1 · $0.250000",
        "[0] ok · 1× 117→27 · $0.000034",
        "[1] ok · 1× 118→28 · $0.000034",
    ]


def test_calls_of_a_batch_that_gave_up_are_in_its_results(tmp_path: Path) -> None:
    """Until 0.13 its items are not told of."""
    content = documents(trace_of("0.12.0/batch"))
    (result,) = content[0]["nodes"][0]["node_output"]["results"]
    result["llm_usage"] = {"model": "m", "input_tokens": 7, "output_tokens": 1, "cost_usd": 0.25}
    assert usage_of(write(tmp_path / "trace", content), "divide") == {
        "calls": 1, "input": 7, "output": 1, "cost": 0.25, "sum": 0.25,
    }  # fmt: skip


def test_calls_of_nobody_are_in_the_runs_sum(tmp_path: Path) -> None:
    """Such as those of the planner of 0.8."""
    content = documents(trace_of("0.8.1/ask"))
    call = {"node_id": "planner", "model": "m", "input_tokens": 7, "output_tokens": 1, "cost_usd": 0.25}
    content[0]["nodes"][-1]["shared_after"]["__llm_calls__"].append(call)
    assert lines_of(write(tmp_path / "trace", content))[0].split(" · ")[2:] == ["4× 403→127", "$0.250135"]


def test_each_visit_of_a_node_has_its_own_call(tmp_path: Path) -> None:
    content = documents(trace_of("0.10.0/route"))
    events = content[0]["nodes"]
    events[0]["shared_after"]["__llm_calls__"] = [
        {"node_id": "draft", "model": "m", "input_tokens": tokens, "output_tokens": 1, "cost_usd": 0.0}
        for tokens in (10, 20)
    ]
    usage = {"input_tokens": 20, "output_tokens": 1}
    for event in events:  # In a workflow without namespaces, each event after a call tells of it.
        event["llm_call"] = usage
    lines = lines_of(write(tmp_path / "trace", content))
    assert [line.partition("× ")[2][:4] for line in lines] == ["30→2", "10→1", "", "20→1", "", ""]


def test_a_price_of_ones_own_is_for_calls_that_pflow_knows_no_price_of(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["gpt-4o-mini-local"]\ninput = 1000\noutput = 1000\n', encoding="utf-8")
    outcome = Importer(tmp_path / "runs", prices=prices).take(trace_of("0.10.0/ask"))
    assert outcome.summary is not None
    assert outcome.summary.cost == pytest.approx(0.45)
    result = run("import-pflow", LINEAR, env={"POCKETFLOW_OTEL_PRICES": str(tmp_path / "absent.toml")})
    assert (result.exit_code, "absent.toml" in result.stderr) == (2, True)


# Values


NAMES = ("model", "workflow", "workflow_path", "node_id", "workflow_ref", "_pflow_child_workflow_paths")
"""Whose values name something."""
HOLDERS = (
    "node_output", "inputs", "node_params", "template_resolutions", "llm_prompt", "llm_response", "item",
    "error", "shared_before", "shared_after", "gate_request", "request", "value", "warnings",
)  # fmt: skip


def values_in(content: Any, *, inside: bool = False) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in NAMES:
                yield from values_in(value, inside=inside or key in HOLDERS)
    elif isinstance(content, list):
        for value in content:
            yield from values_in(value, inside=inside)
    elif inside and isinstance(content, str):
        yield content


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_value_comes_along(path: Path, tmp_path: Path) -> None:
    (made,) = imported(tmp_path, path)
    text = json.dumps(json.loads(made.read_text(encoding="utf-8")), ensure_ascii=False)
    kinds = {
        "api_warning",
        "on_error_recovery",
        "warning",
        "shell_failure",
        "ShellNode",
        "parallel",
        "sequential",
    }
    names = {step.span.title for step in steps_of(path)}
    values = {value.strip() for value in values_in(documents(path))} - kinds - names
    leaked = [value for value in values if len(value) > 5 and json.dumps(value)[1:-1] in text]
    assert (leaked, "/home/ada" in text, "hunter2" in text) == ([], False, False)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("0.8.1/failing", ["Command failed with exit code 3: password hunter2"]),
        (
            "0.16.0/unrouted",
            ["Node 'choose' returned action 'nowhere' but no successor edge matches"],
        ),
        ("0.16.0/nested", ["Command failed with exit code 1", "Sub-workflow failed at"]),
    ],
)
def test_texts_of_failures_come_along_when_asked_for(name: str, texts: list[str]) -> None:
    said = [step.span.status_message for step in steps_of(trace_of(name), texts=True)]
    said += [
        str(
            event.attributes.get(semconv.EXCEPTION_MESSAGE, event.attributes.get(semconv.WARNING_MESSAGE, ""))
        )
        for step in steps_of(trace_of(name), texts=True)
        for event in step.span.events
    ]
    assert [text for text in texts if not any(text in each for each in said)] == []


def test_a_long_text_is_found_on_its_own_line_and_shortened(tmp_path: Path) -> None:
    content = documents(trace_of("0.16.0/loud"))
    long = next(line["md5"] for line in content if line.get("kind") == "blob")
    failed = next(line for line in content if line.get("status") == "failed")
    failed["error"] = {"$pflow_blob": long}
    last = steps_of(write(tmp_path / "trace", content), texts=True)[-1].span
    assert (last.status_message[:9], len(last.status_message), last.status_message[-1]) == (
        "1000\n1001", 1000, "…",
    )  # fmt: skip
    types = dict(
        zip(
            last.attributes[semconv.SHARED_ADDED_KEYS],
            last.attributes[semconv.SHARED_ADDED_TYPES],
            strict=True,
        )
    )
    assert types["stderr"] == "str"


def test_error_text_is_an_option_of_the_command(tmp_path: Path) -> None:
    run("import-pflow", "--dir", tmp_path, "--error-text", trace_of("0.8.1/failing"))
    assert "hunter2" in run("show", "--dir", tmp_path, "last").stdout


# The trace file


def test_the_file_is_as_any_other_and_says_where_it_is_from(tmp_path: Path) -> None:
    (made,) = imported(tmp_path / "new", LINEAR)
    document = json.loads(made.read_text(encoding="utf-8"))
    resource = {
        pair["key"]: pair["value"]["stringValue"]
        for pair in document["resourceSpans"][0]["resource"]["attributes"]
    }
    assert made.name == "20261125T230009Z-cccfad50.json"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.parent, made)] == [0o700, 0o600]
    assert resource == {
        "service.name": "pflow",
        "telemetry.distro.name": "pocketflow-otel",
        "telemetry.distro.version": __version__,
        semconv.IMPORTED_FROM: "workflow-trace-linear.json",
    }
    assert {name: document[name] for name in ("flow", "starts_at", "status", "start_time", "duration")} == {
        "flow": "linear", "starts_at": "greet", "status": "ok",
        "start_time": "2026-11-25T23:00:09.527+00:00", "duration": 0.038833,
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_file_fits_the_schema_and_reads_as_the_spans_it_is_made_of(path: Path, tmp_path: Path) -> None:
    (made,) = imported(tmp_path, path)
    VALIDATOR.validate(json.loads(made.read_text(encoding="utf-8")))
    ours = {span.span_id: span.name for span in spans(read(path), PriceBook())}
    assert {span.span_id: span.name for span in reader.read(made).spans} == ours


def test_events_stand_in_their_order(tmp_path: Path) -> None:
    (made,) = imported(tmp_path, trace_of("0.16.0/batch"))
    events = reader.events(made)
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert [(event["type"], event["name"]) for event in events if event["depth"] < 2] == [
        ("flow_start", "batchbad"), ("node_start", "words"), ("node_complete", "words"),
        ("node_start", "each"), ("node_complete", "each"), ("flow_complete", "batchbad"),
    ]  # fmt: skip


def test_a_run_that_was_killed_is_interrupted(tmp_path: Path) -> None:
    (made,) = imported(tmp_path, trace_of("0.16.0/killed"))
    assert reader.read_summary(made).status == "interrupted"
    lines = [line.text for line in map(joined, tree.tree_lines(reader.read(made)))]
    assert lines[2] == "its process ended before the run did · was running nap, sleep"


class joined:
    def __init__(self, line: Any) -> None:
        self.text = "".join(part.text for part in line)


# Each run once


def test_a_run_is_imported_once(tmp_path: Path) -> None:
    shutil.copy(LINEAR, tmp_path / "copy.json")
    place = tmp_path / "runs"
    first = run("import-pflow", "--dir", place, LINEAR, tmp_path / "copy.json")
    assert first.stderr == "1 run imported, 1 already there\n"
    (made,) = place.glob("*")
    content = made.read_bytes()
    again = run("import-pflow", "--dir", place, LINEAR)
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "0 runs imported, 1 already there\n")
    assert (list(place.glob("*")), made.read_bytes()) == ([made], content)


def test_the_same_trace_always_makes_the_same_file(tmp_path: Path) -> None:
    (one,), (other,) = imported(tmp_path / "one", LINEAR), imported(tmp_path / "other", LINEAR)
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_times_are_those_of_this_machines_zone_and_a_change_of_zone_makes_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(tmp_path, LINEAR)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    assert run_id(read(LINEAR)) == "20261126T040009Z-cccfad50"
    assert run("import-pflow", "--dir", tmp_path, LINEAR).stderr == "0 runs imported, 1 already there\n"


def test_a_run_that_was_traced_too_is_there_already(tmp_path: Path) -> None:
    """Its root says pflow's id of it, in a trace file or in a journal."""
    (made,) = imported(tmp_path / "other", LINEAR)
    for suffix in ("json", "jsonl"):
        place = tmp_path / suffix
        place.mkdir()
        content = made.read_bytes()
        if suffix == "jsonl":
            content = json.dumps(json.loads(content), separators=(",", ":")).encode()
        (place / f"20261125T230009Z-00000001.{suffix}").write_bytes(content)
        result = run("import-pflow", "--dir", place, LINEAR)
        assert result.stderr == "0 runs imported, 1 already there\n"


def test_a_trace_without_an_id_goes_by_its_name(tmp_path: Path) -> None:
    content = documents(LINEAR)
    del content[0]["execution_id"]
    paths = [write(tmp_path / name, content) for name in ("one", "other")]
    for _ in range(2):
        result = run("import-pflow", "--dir", tmp_path / "runs", *paths)
    assert result.stderr == "0 runs imported, 2 already there\n"


def test_a_run_that_still_goes_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    shutil.copy(trace_of("0.16.0/killed"), path)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("import-pflow", "--dir", tmp_path / "runs", path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{path} is of a run that still goes\n0 runs imported, 1 still running\n"
    assert len(imported(tmp_path / "runs", path)) == 1


# The command


def test_each_imported_run_is_a_line(tmp_path: Path) -> None:
    result = run("import-pflow", "--dir", tmp_path, LINEAR, trace_of("0.16.0/ask"), trace_of("0.16.0/denied"))
    assert result.stdout == (
        "linear  ok  20261125T230009Z-cccfad50  2 steps\n"
        "ask-litellm  ok  20261125T230030Z-c9127975  3 steps · $0.00010\n"
        "gate  denied  20261125T230407Z-f445834f  1 step\n"
    )
    assert result.stderr == "3 runs imported\n"


def test_json_says_what_became_of_each_file(tmp_path: Path) -> None:
    absent = tmp_path / "absent.json"
    result = run("import-pflow", "--dir", tmp_path, "--json", LINEAR, LINEAR, absent)
    content = json.loads(result.stdout)
    assert [(row["file"], row["state"], row["problem"]) for row in content] == [
        (str(LINEAR), "imported", None),
        (str(LINEAR), "already there", None),
        (str(absent), "unreadable", f"there is no file {absent}"),
    ]
    assert [row["run"] and row["run"]["run_id"] for row in content] == [
        "20261125T230009Z-cccfad50",
        None,
        None,
    ]


def test_pflows_own_folder_is_where_traces_come_from(tmp_path: Path) -> None:
    debug = tmp_path / ".pflow" / "debug"
    debug.mkdir(parents=True)
    for number, name in enumerate(("0.16.0/linear", "0.8.1/failing")):
        path = Path(shutil.copy(trace_of(name), debug))
        os.utime(path, (number, number))
    (debug / "planner-trace-20261125.json").write_text("{}", encoding="utf-8")
    result = run("import-pflow", env={"HOME": str(tmp_path)})
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["linear", "failing"]
    assert run("import-pflow", debug, env={"HOME": "/nowhere"}).stderr == "0 runs imported, 2 already there\n"


def test_no_traces_are_no_error(tmp_path: Path) -> None:
    result = run("import-pflow", "--json", env={"HOME": str(tmp_path)})
    assert (result.exit_code, result.stdout, result.stderr) == (0, "[]\n", "0 runs imported\n")


def test_since_leaves_older_runs_out(tmp_path: Path) -> None:
    old, new = (Path(shutil.copy(LINEAR, tmp_path / name)) for name in ("old.json", "new.json"))
    os.utime(old, (1, 1))
    for since, path, expected in [
        ("2026-11-25", old, "0 runs imported, 1 older\n"),  # It was written before, and is not even read.
        ("2099-11-26", new, "0 runs imported, 1 older\n"),
        ("2026-11-25", new, "1 run imported\n"),
    ]:
        os.utime(new, None)
        assert run("import-pflow", "--dir", tmp_path / "runs", "--since", since, path).stderr == expected


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    result = run("import-pflow", "--dir", place / "runs", LINEAR)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2, f"Error: {place / 'runs'} cannot be read: Not a directory",
    )  # fmt: skip


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketflow_otel.traces.finalize.write_trace_file", full)
    result = run("import-pflow", "--dir", tmp_path / "runs", LINEAR)
    assert (result.exit_code, list((tmp_path / "runs").iterdir())) == (2, [])
    assert result.stderr == f"Error: {tmp_path / 'runs'} cannot be written: No space left on device\n"


# What other commands make of it


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("imported")
    result = run("import-pflow", "--dir", place, *ALL)
    assert (result.exit_code, result.stderr) == (0, f"{len(ALL)} runs imported\n")
    return place


def test_list_has_them_with_how_they_ended(place: Path) -> None:
    content = json.loads(run("list", "--dir", place, "-n", 0, "--json").stdout)
    ended: dict[str, int] = {}
    for row in content:
        ended[row["status"]] = ended.get(row["status"], 0) + 1
    assert ended == {"ok": 13, "failed": 8, "degraded": 4, "interrupted": 2, "denied": 1, "paused": 1}
    assert len(run("list", "--dir", place, "-n", 0).stdout.splitlines()) == 1 + len(ALL)


def test_show_draws_the_tree(place: Path) -> None:
    text = run("show", "--dir", place, "6f576483").stdout
    shown = re.sub(r"  \d+\.\d\ds(?: \(\d+%\))?", "", text)
    assert shown.partition(" steps (1 failed)\n")[2] == (
        """\
⚠ Flow: batchbad
├─ ✓ words  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code (+1 more)
└─ ⚠ each ×2 parallel  1/2 failed  +results +count +success_count +error_count +errors (+1 more)
   │  ⚠ warning
   ├─ ✓ [0]
   │  └─ ✓ Flow: badchild
   │     └─ ✓ check  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code (+1 more)
   └─ ✗ [1]  shell_failure
      └─ ✗ Flow: badchild  shell_failure
         └─ ✗ check  shell_failure  → error  +stdout +stdout_is_binary +stderr +stderr_is_binary +exit_code\
 (+2 more)
"""
    )


def test_stats_add_them_up(place: Path) -> None:
    rows = json.loads(run("stats", "--dir", place, "--by", "model", "--json").stdout)
    assert {row["name"]: (row["count"], row["tokens"]) for row in rows} == {
        "gpt-4o-mini": (6, 1080), "gpt-4o-mini-local": (3, 450), "openai/gpt-4o-mini": (3, 432),
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_send_takes_them(path: Path, place: Path) -> None:
    run_of = run_id(read(path))
    receiver = Receiver()
    with receiver.running():
        result = run("send", "--dir", place, run_of, "--otlp", f"http://127.0.0.1:{receiver.http_port}")
    assert result.exit_code == 0, result.output
    assert sorted(span["name"] for span in receiver.spans) == sorted(
        step.span.name for step in steps_of(path)
    )


@pytest.mark.parametrize(
    "command",
    ["replay --speed 0", "graph", "show --gantt", "show --events", "show --markdown", "export --format csv"],
)
def test_every_view_takes_them(command: str, place: Path) -> None:
    name, *options = command.split()
    for path in ALL:
        assert run(name, "--dir", place, run_id(read(path)), *options).exit_code == 0


# Retention


NOW = datetime(2030, 1, 1, tzinfo=UTC)


def aged(path: Path, when: datetime) -> Path:
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path


def test_what_was_imported_stays_for_its_days_and_drives_nothing_out(tmp_path: Path) -> None:
    """The limits count the days of an imported run from the import, and its number and size not at all."""
    own = []
    for number in range(FLOOR + 5):
        start = NOW - timedelta(hours=number)
        own.append(aged(write(tmp_path / f"{start:%Y%m%dT%H%M%SZ}-{number:08x}.json", [number]), start))
    old = [aged(path, NOW - timedelta(days=29)) for path in imported(tmp_path, *ALL)]
    keep = Keep(runs=FLOOR + 2, days=30, bytes=None)
    assert set(prune(tmp_path, keep, now=NOW.timestamp())) == set(own[-3:])
    later = NOW + timedelta(days=2)
    gone = prune(tmp_path, keep, now=later.timestamp())
    assert (set(gone), {path.exists() for path in own[:-3]}) == (set(old), {True})


def test_what_a_killed_import_left_behind_goes_and_what_runs_stays(tmp_path: Path) -> None:
    """A folder of an import; a day after the last change in it nobody is at work there any more."""
    now = NOW.timestamp()
    for name, folder_age, file_age in [
        (".adopting-killed", 2, 2), (".adopting-started", 0, None), (".adopting-at-work", 2, 0),
        (".adopting-empty", 2, None), ("of-somebody", 2, 2), (".adopting", 2, 2),
    ]:  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        if file_age is not None:
            (folder / "journal.jsonl").touch()
            aged(folder / "journal.jsonl", NOW - timedelta(days=file_age))
        aged(folder, NOW - timedelta(days=folder_age))
    (tmp_path / ".adopting-linked").symlink_to(tmp_path / "of-somebody")
    (tmp_path / ".adopting-file").touch()
    os.utime(tmp_path / ".adopting-file", (1, 1))
    leftovers = {tmp_path / ".adopting-killed", tmp_path / ".adopting-empty"}
    stay = set(tmp_path.iterdir()) - leftovers
    assert set(prune(tmp_path, Keep(), now=now, dry=True)) == leftovers
    assert set(tmp_path.iterdir()) == stay | leftovers
    assert set(prune(tmp_path, Keep(), now=now)) == leftovers
    assert set(tmp_path.iterdir()) == stay
    assert (tmp_path / "of-somebody" / "journal.jsonl").exists()


def test_an_import_works_in_a_folder_that_prune_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def killed(path: Path) -> Path:
        found.append(path.parent)
        later = time.time() + 2 * 86_400
        found.extend(prune(tmp_path, Keep(), now=later))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketflow_otel.traces.finalize.write_trace_file", killed)
    run("import-pflow", "--dir", tmp_path, LINEAR)
    assert len(found) == 2
    assert found[0] == found[1]


# Damage


@pytest.mark.parametrize("name", ["0.16.0/gate", "0.16.0/loud", "0.11.0/batch"])
def test_a_trace_cut_off_anywhere_is_an_interrupted_run_or_one_sentence(name: str, tmp_path: Path) -> None:
    whole = trace_of(name).read_bytes()
    head = whole.index(b"\n") if name.startswith("0.16") else len(whole)
    path = tmp_path / "workflow-trace-cut.json"
    path.write_bytes(whole)
    for length in share(range(len(whole.rstrip()) - 1, -1, -1 if len(whole) < 4_000 else -7)):
        os.truncate(path, length)
        try:
            run_of = read(path)
        except TraceError as error:
            sentence = str(error)
            assert (length < head, sentence.startswith(str(path)), "\n" in sentence) == (True, True, False)
        else:
            assert length >= head
            assert run_of.end is None
            assert not any(span.end for span in spans(run_of, PriceBook())[:1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{} is empty"),
        (b"[]", "{} is no trace of pflow: it is no JSON object"),
        (b"not JSON", "{} is no trace of pflow: it is no JSON object"),
        (b"{}", "{} is no trace of pflow: it has no nodes"),
        (b'{"nodes": []}', "{} is no trace of pflow: it has no nodes"),
        (b'{"format_version": "2.0.0", "nodes": [1', "{} breaks off at line 1, column 40"),
        (b'{"format_version": "2.0.0", "nodes": [}', "{} is damaged at line 1, column 39"),
        (b'{"a": "\xff"}', "{} is damaged at byte 7: no UTF-8"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "{} is damaged: a number has too many digits"),
        (b'{"a": ' * 100_000, "{} is no trace of pflow: it is nested too deeply"),
        (
            b'{"format_version": "3.0.0", "nodes": []}',
            "{} has the format '3.0.0', which this version does not know",
        ),
        (b'{"format_version": "2.0.0", "nodes": []}', "{} is damaged: it has no start_time"),
        (
            b'{"format_version": "2.0.0", "start_time": "2026-11-25T23:00", "nodes": [{"node_type": "X"}]}',
            "{} is damaged: nodes[0] is no step: it has no node_id",
        ),
        (
            b'{"pflow_trace": "jsonl/2"}',
            "{} was written by a newer pflow: pflow_trace is 'jsonl/2', not 'jsonl/1'",
        ),
    ],
)  # fmt: skip
def test_what_is_no_trace_is_one_sentence_and_the_others_are_imported(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "workflow-trace-1.json"
    path.write_bytes(content)
    result = run("import-pflow", "--dir", tmp_path / "runs", path, LINEAR)
    assert result.exit_code == 2
    assert result.stderr == f"Warning: {sentence.format(path)}\n1 run imported, 1 could not be read\n"
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "line", "sentence"),
    [
        (3, "no JSON", "line 3 is no JSON object"),
        (3, '{"kind": "event"}', "line 3 is no step: it has no id"),
        (3, '{"kind": "event", "id": 1, "node_id": 2}', "line 3 is no step: it has no node_id"),
        (3, '{"kind": "event", "id": 9, "parent_id": 7}', "line 3 is in a step that is not there"),
        (3, '{"kind": "event", "id": 0, "parent_id": 0}', "line 3 is in a step that is not there"),
        (7, '{"kind": "gate"}', "line 7 comes after the end of the run"),
    ],
)
def test_a_line_that_does_not_fit_is_named(number: int, line: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    lines = LINEAR.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[: number - 1], line, *lines[number - 1 :]]) + "\n", encoding="utf-8")
    with pytest.raises(TraceError) as raised:
        read(path)
    assert str(raised.value) == f"{path} is damaged: {sentence}"


def test_lines_of_a_kind_nobody_knows_yet_and_empty_ones_do_no_harm(tmp_path: Path) -> None:
    content = documents(LINEAR)
    path = write(tmp_path / "trace", [content[0], {"kind": "new"}, *content[1:]])
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    assert lines_of(path) == lines_of(LINEAR)


def test_another_kind_of_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "workflow-trace-fifo")
    result = run("import-pflow", "--dir", tmp_path / "runs", tmp_path)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2, f"Warning: {tmp_path / 'workflow-trace-fifo'} is no regular file",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 300, "cannot be opened: File name too long"),
        ("loop", "cannot be opened: Too many levels of symbolic links"),
        ("file/trace", "cannot be opened: Not a directory"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    result = run("import-pflow", "--dir", tmp_path / "runs", tmp_path / name, LINEAR)
    assert (result.exit_code, result.stderr) == (
        2, f"Warning: {tmp_path / name} {sentence}\n1 run imported, 1 could not be read\n",
    )  # fmt: skip


class Broken:
    """A file on a disk that fails."""

    def __init__(self, readable: int) -> None:
        self._left = readable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self.readline()

    def readline(self) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "Input/output error")
        return json.dumps(documents(LINEAR)[0]).encode() + b"\n"

    read = readline


@pytest.mark.parametrize("readable", [0, 1])
def test_a_disk_that_fails_is_said_of_the_file_that_cannot_be_read(
    readable: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pocketflow_otel.formats.pflow.pflow_reader.open_regular", lambda path: Broken(readable)
    )
    result = run("import-pflow", "--dir", tmp_path / "runs", LINEAR)
    assert (result.exit_code, result.stderr) == (
        2,
        f"Warning: {LINEAR} cannot be read: Input/output error\n0 runs imported, 1 could not be read\n",
    )


def test_a_trace_that_goes_while_it_is_looked_at_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> bool:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("pocketflow_otel.traces.lock.is_running", gone)
    path = trace_of("0.16.0/killed")
    result = run("import-pflow", "--dir", tmp_path / "runs", path)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2, f"Warning: {path} cannot be read: No such file or directory",
    )  # fmt: skip


def test_workflows_in_workflows_without_end_are_one_sentence(tmp_path: Path) -> None:
    meta = documents(LINEAR)[0]
    start = {"kind": "node.start", "node_type": "WorkflowExecutor", "node_id": "call"}
    lines = [start | {"id": number, "parent_id": number - 1 if number else None} for number in range(60)]
    event: dict[str, Any] = {"node_id": "call"}
    for _ in range(60):
        event = {"node_id": "call", "sub_workflow_events": [event]}
    for content in ([meta, *lines], [meta, event | {"kind": "event", "id": 0}]):
        with pytest.raises(TraceError, match="nested too deeply"):
            read(write(tmp_path / "trace", content))


def test_a_long_run_takes_no_more_than_its_steps(tmp_path: Path) -> None:
    meta, *_, trailer = documents(LINEAR)
    event = {
        "kind": "event", "node_type": "ShellNode", "status": "success", "duration_ms": 1, "parent_id": None,
        "timestamp": "2026-11-25T23:00:09.540000", "node_output": {"stdout": "x" * 20_000},
    }  # fmt: skip
    lines = [event | {"id": number, "node_id": f"node-{number % 50}"} for number in range(1_000)]
    (made,) = imported(tmp_path, write(tmp_path / "workflow-trace-long.json", [meta, *lines, trailer]))[:1]
    assert (reader.read_summary(made).steps, made.stat().st_size < 2_000_000) == (1_000, True)


def test_usage_is_looked_for_only_in_steps_that_tell_of_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`read_usage` looks in dozens of places, and most steps call no model."""
    asked: list[Any] = []

    def read_usage(reported: Any, **options: Any) -> list[Any]:
        asked.append(reported)
        return []

    for place in ("usage.pflow_usage", "formats.pflow.listed_calls"):
        monkeypatch.setattr(f"pocketflow_otel.{place}.read_usage", read_usage)
    for name in ("0.16.0/linear", "0.16.0/gate", "0.8.1/failing"):
        read(trace_of(name))
    assert asked == []


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


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
        st.sampled_from(["", "failed", "\ud800", "9999-12-31T23:59:59", "0001-01-01T00:00+14:00", -1]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip


def damage(content: Any, choose: random.Random, value: Any) -> Any:
    """Put a value somewhere, or take out what is there."""
    while isinstance(content, (dict, list)) and content:
        key = choose.choice(list(content) if isinstance(content, dict) else range(len(content)))
        inner = content[key]
        if not isinstance(inner, (dict, list)) or not inner or choose.random() < 0.3:
            if choose.random() < 0.1:
                del content[key]
            else:
                content[key] = value
            return
        content = inner


@settings(max_examples=examples(200))
@given(path=st.sampled_from(ALL), seed=st.integers(0, 2**32), values=st.lists(JSON, min_size=1, max_size=4))
def test_a_damaged_trace_is_one_sentence_or_a_run_that_every_view_takes(
    path: Path, seed: int, values: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    content = documents(path)
    choose = random.Random(seed)
    for value in values:
        damage(content, choose, value)
    damaged = write(place / "workflow-trace-damaged.json", content)
    outcome = Importer(place / "runs", texts=True).take(damaged)
    if outcome.state == "unreadable":
        assert outcome.problem.startswith(str(damaged))
        return
    assert outcome.summary is not None
    document = json.loads(outcome.summary.path.read_text(encoding="utf-8"))
    VALIDATOR.validate(document)
    trace = reader.read(outcome.summary.path)
    assert list(rows(trace))
    assert list(tree.tree_lines(trace))
    root = steps_of(damaged)[0].span
    assert root.end >= root.start or trace.summary.status == "interrupted"
    shutil.rmtree(place)
