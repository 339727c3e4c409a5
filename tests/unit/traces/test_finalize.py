"""A journal becomes a trace file: whole, once, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.saved import create_flow, save_journal

from pocketflow_otel.traces import finalize, lock, reader
from pocketflow_otel.traces.records import TraceError


def test_a_dead_process_leaves_a_run_that_says_how_far_it_came(tmp_path: Path) -> None:
    # The flow, Ask, its end, Flaky, and its first item had begun.
    path = finalize.write_trace_file(save_journal(tmp_path, create_flow(), 6))
    trace = reader.read(path)
    summary = trace.summary
    assert (summary.status, summary.steps, summary.calls, summary.tokens) == ("interrupted", 1, 1, 7)
    assert [(step.depth, step.span.role, step.span.title, step.interrupted) for step in trace.walk()] == [
        (0, "flow", "flow", True),
        (1, "node", "Ask", False),
        (1, "node", "Flaky", True),
        (2, "item", "", True),
    ]
    assert {event["type"] for event in trace.events} == {"flow_start", "node_start", "node_complete"}


def test_an_interrupted_span_ends_with_the_last_sign_of_life(tmp_path: Path) -> None:
    trace = reader.read(finalize.write_trace_file(save_journal(tmp_path, create_flow(), 6)))
    last = max(span.start for span in trace.spans)
    open_spans = [span for span in trace.spans if "pocketflow.interrupted" in span.attributes]
    assert {(span.end, span.status, span.attributes["error.type"]) for span in open_spans} == {
        (last, 2, "interrupted")
    }


def test_only_journals_whose_process_is_gone_are_recovered(tmp_path: Path) -> None:
    dead, alive = (save_journal(tmp_path, create_flow(), lines) for lines in (3, 4))
    empty = tmp_path / "20261122T193012Z-00000001.jsonl"
    empty.touch()
    descriptor = os.open(alive, os.O_WRONLY)
    lock.hold(descriptor)
    try:
        assert list(finalize.recover(tmp_path)) == [dead.with_suffix(".json")]
    finally:
        lock.release(descriptor)
    assert {path.name for path in tmp_path.iterdir()} == {
        dead.with_suffix(".json").name,
        alive.name,
        empty.name,
    }
    assert list(finalize.recover(tmp_path)) == [alive.with_suffix(".json")]


def test_a_journal_that_cannot_be_finished_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_journal(tmp_path, create_flow())

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        finalize.write_trace_file(path)
    assert list(tmp_path.iterdir()) == [path]
    assert reader.read(path).summary.status == "failed"  # Its root's end is there.


def test_a_journal_of_another_version_stays(tmp_path: Path) -> None:
    path = tmp_path / "20261122T193012Z-00000001.jsonl"
    path.write_text('{"format":"pocketflow-otel-journal/2"}\n', encoding="utf-8")
    with pytest.raises(TraceError, match="newer pocketflow-otel"):
        finalize.write_trace_file(path)
    assert list(finalize.recover(tmp_path)) == []
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_finish_one_journal_make_one_file(tmp_path: Path) -> None:
    path = save_journal(tmp_path, create_flow())
    copy = path.read_bytes()
    first = finalize.write_trace_file(path).read_bytes()
    path.write_bytes(copy)
    assert finalize.write_trace_file(path).read_bytes() == first
    assert list(tmp_path.iterdir()) == [path.with_suffix(".json")]
