"""The journal, line by line; what is made of one that was cut off, or is damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from tests.support.otlp import request_of
from tests.support.steps import Step, named
from tests.support.views import viewed

from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.traces import finalize, journal
from pocketflow_otel.traces.records import ScopeRecord, SpanRecord

if TYPE_CHECKING:
    from pathlib import Path

NO_CALLS = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "total_cost": 0.0,
    "unpriced_calls": 0,
    "llm_calls": 0,
    "models": {},
}
HEADER = journal.Header("RUN", "0a", "01", 5, 42, {"attributes": []}, "https://schema")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return the journal of a process that died in the second of three steps."""
    copies: list[bytes] = []

    def die(shared: Any) -> None:
        (path,) = tmp_path.iterdir()
        copies.append(path.read_bytes())

    first = Step("A", 0.1)
    first >> Step("B", 0.2, die) >> Step("C")
    with viewed(FileView("all", tmp_path)):
        named(pocketflow.Flow(start=first), "flow").run({})
    (path,) = tmp_path.iterdir()
    path.unlink()
    journal_file = path.with_suffix(".jsonl")
    journal_file.write_bytes(copies[0])
    return journal_file


def test_the_first_line_says_which_run_it_is() -> None:
    assert json.loads(journal.header_line(HEADER)) == {
        "format": "pocketflow-otel-journal/1",
        "run_id": "RUN",
        "trace_id": "0a",
        "root_id": "01",
        "start": 5,
        "pid": 42,
        "resource": {"attributes": []},
        "schema_url": "https://schema",
    }


def test_starts_and_ends_are_a_line_each_with_the_span_as_otlp_has_it() -> None:
    span = SpanRecord("0a", "01", "", "s", 5, 6, scope=ScopeRecord("t", "1", "https://schema", {"k": 1}))
    scope = {"name": "t", "version": "1", "attributes": [{"key": "k", "value": {"intValue": "1"}}]}
    content = {
        "traceId": "0a",
        "spanId": "01",
        "name": "s",
        "kind": 1,
        "startTimeUnixNano": "5",
        "endTimeUnixNano": "6",
        "status": {},
    }

    assert journal.start_line(span).endswith(b"}\n")
    assert json.loads(journal.start_line(span)) == {"start": content, "scope": scope}
    assert json.loads(journal.end_line(span)) == {
        "end": content,
        "scope": scope,
        "schema_url": "https://schema",
    }
    assert journal.late_line(3) == b'{"late":3}\n'


def test_a_line_break_in_a_name_does_not_break_a_line() -> None:
    span = SpanRecord("0a", "01", "", "a\nb\r\u2028\x85c", 5)

    assert journal.start_line(span).count(b"\n") == 1
    assert journal.start_line(span).isascii()


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "RUN.jsonl"
    whole = journal.late_line(1) + journal.late_line(2)
    seen = []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        seen.append([line["late"] for line in journal.read_lines(path)])

    first, second = 10, 21  # where the brace that closes each line ends
    assert seen == [[]] * first + [[1]] * (second - first) + [[1, 2]] * 2


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b"[1]\n", b"{\n", b"\xff\xfe\n"])
def test_a_line_that_is_damaged_is_named_with_its_place(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "RUN.jsonl"
    path.write_bytes(journal.late_line(1) + damage + journal.late_line(2))

    with pytest.raises(ValueError, match=rf"{path}, line 2: no JSON"):
        list(journal.read_lines(path))


def test_the_journal_of_a_killed_run_has_all_that_was_finished_and_what_was_running(killed: Path) -> None:
    assert [
        (kind, line[kind]["name"])
        for line in lines_of(killed)[1:]
        for kind in ("start", "end")
        if kind in line
    ] == [
        ("start", "invoke_workflow flow"),
        ("start", "invoke_node A"),
        ("end", "invoke_node A"),
        ("start", "invoke_node B"),
    ]


def test_the_trace_file_of_a_killed_run_says_it_was_interrupted(killed: Path) -> None:
    path = finalize.write_trace_file(killed)
    found = json.loads(path.read_text(encoding="utf-8"))

    assert {key: found[key] for key in ("flow", "starts_at", "status", "summary")} == {
        "flow": "flow",
        "starts_at": "A",
        "status": "interrupted",
        "summary": {**NO_CALLS, "node_executions": 1, "flows_executed": 0, "errors": 0},
    }
    assert [(event["type"], event["name"]) for event in found["events"]] == [
        ("flow_start", "flow"),
        ("node_start", "A"),
        ("node_complete", "A"),
        ("node_start", "B"),
    ]
    assert found["duration"] == pytest.approx(0.1, abs=1e-4)
    assert [span.name for span in request_of(found).resource_spans[0].scope_spans[0].spans] == [
        "invoke_node A",
        "invoke_node B",
        "invoke_workflow flow",
    ]
    assert sorted(killed.parent.iterdir()) == [path]


def test_a_status_can_be_given_to_a_run_whose_end_is_not_known(killed: Path) -> None:
    assert json.loads(finalize.write_trace_file(killed, "running").read_text())["status"] == "running"


def test_a_run_that_died_before_its_first_span_ended_is_a_file_without_spans(tmp_path: Path) -> None:
    path = tmp_path / "RUN.jsonl"
    path.write_bytes(journal.header_line(HEADER))
    found = json.loads(finalize.write_trace_file(path).read_text())

    assert found == {
        "format": "pocketflow-otel/1",
        "run_id": "RUN",
        "flow": None,
        "starts_at": None,
        "status": "interrupted",
        "start_time": "1970-01-01T00:00:00.000+00:00",
        "duration": 0.0,
        "trace_id": "0a",
        "summary": {**NO_CALLS, "node_executions": 0, "flows_executed": 0, "errors": 0},
        "events": [],
        "resourceSpans": [],
    }


SPAN = SpanRecord("0a", "01", "", "s", 5, 6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b'{"format":"pocketflow-otel-journal/2"}\n',
        b"not JSON\n",
        b'{"format":"pocketflow-otel-journal/1"}\n',
    ],
)
def test_what_is_no_journal_is_named_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "RUN.jsonl"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=str(path)):
        finalize.write_trace_file(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage",
    [
        b"\0\0\0\n",
        b'{"end":{},"scope":{}}\n',
        b'{"end":7,"scope":{}}\n',
        journal.end_line(SPAN).replace(b'"5"', b'"now"'),
    ],
)
def test_a_damaged_line_is_left_out_and_counted(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "RUN.jsonl"
    path.write_bytes(journal.header_line(HEADER) + damage + journal.end_line(SPAN))
    found = json.loads(finalize.write_trace_file(path).read_text())

    assert found["summary"]["damaged_lines"] == 1
    assert len(request_of(found).resource_spans[0].scope_spans[0].spans) == 1


def test_scopes_that_follow_each_other_are_grouped(tmp_path: Path) -> None:
    one, other = ScopeRecord("one", "1", "https://one"), ScopeRecord("other")
    spans = [
        SpanRecord("0a", f"{number:016x}", "", "s", 5, 6, scope=scope)
        for number, scope in enumerate((one, one, other, one), 1)
    ]
    path = tmp_path / "RUN.jsonl"
    path.write_bytes(journal.header_line(HEADER) + b"".join(map(journal.end_line, spans)))
    (resource,) = json.loads(finalize.write_trace_file(path).read_text())["resourceSpans"]

    assert resource["schemaUrl"] == "https://schema"
    assert [
        (group["scope"], group["schemaUrl"], len(group["spans"])) for group in resource["scopeSpans"]
    ] == [
        ({"name": "one", "version": "1"}, "https://one", 2),
        ({"name": "other"}, "", 1),
        ({"name": "one", "version": "1"}, "https://one", 1),
    ]
