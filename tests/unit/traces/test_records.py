"""The tree of a run, and the fields before its events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pocketflow_otel.traces.records import ScopeRecord, SpanRecord
from pocketflow_otel.traces.trace import RunSummary, Trace, parse_summary, tree
from pocketflow_otel.views.tree import walk


def span(number: int, parent: int | None, start: int = 0, end: int = 100, **fields: object) -> SpanRecord:
    above = "" if parent is None else f"{parent:016x}"
    return SpanRecord("0" * 31 + "1", f"{number:016x}", above, f"span {number}", start, end, **fields)  # type: ignore[arg-type]


def shape(*spans: SpanRecord) -> list[tuple[int, str]]:
    return [(step.depth, step.span.name) for root in tree(spans) for step in root.walk()]


def test_spans_lie_in_their_parents_by_their_starts() -> None:
    spans = [span(3, 1, 50), span(4, 3, 60), span(2, 1, 10), span(1, None, 0)]
    assert shape(*spans) == [(0, "span 1"), (1, "span 2"), (1, "span 3"), (2, "span 4")]


def test_of_two_that_start_at_once_the_longer_comes_first() -> None:
    assert shape(span(2, 1, 0, 5), span(3, 1, 0, 9), span(1, None)) == [
        (0, "span 1"),
        (1, "span 3"),
        (1, "span 2"),
    ]


def test_a_span_whose_parent_is_elsewhere_is_a_root_and_the_runs_own_comes_first() -> None:
    own = span(2, 9, 50, attributes={"pocketflow.run.id": "r"})
    assert shape(span(1, 8, 0), own) == [(0, "span 2"), (0, "span 1")]


def test_a_tree_may_be_deeper_than_the_stack() -> None:
    deep = [span(number, number - 1 or None) for number in range(1, 5001)]
    assert shape(*deep)[-1] == (4999, "span 5000")


def test_a_long_run_is_shown_in_part_with_what_failed() -> None:
    children = [span(number, 1, number, status=2 if number == 500 else 0) for number in range(2, 1002)]
    trace = Trace(RunSummary(Path("x"), "r"), (), (), roots=tree([span(1, None), *children]))
    shown = [one.step.span.name if one.step else len(one.left_out) for one in walk(trace, 10)]
    assert shown == [
        "span 1",
        *(f"span {n}" for n in (2, 3, 4, 5, 6, 500)),
        989,
        *(f"span {n}" for n in range(997, 1002)),
    ]
    assert len(list(walk(trace, None))) == 1001


@pytest.mark.parametrize(
    ("name", "role", "title"),
    [("invoke_workflow", "flow", "qa"), ("invoke_node", "node", "qa"), ("batch_item", "item", "")],
)
def test_a_span_knows_its_role_and_title(name: str, role: str, title: str) -> None:
    key = "pocketflow.node.name" if role == "node" else "gen_ai.workflow.name"
    said = {"gen_ai.operation.name": name} | ({key: "qa"} if title else {})
    ours = span(1, None, attributes=said, scope=ScopeRecord("pocketflow_otel"))
    assert (ours.role, ours.title) == (role, title)
    assert span(1, None, attributes=said).role == ""


WHOLE = {
    "run_id": "20261122T193012Z-7f3a91c2", "flow": "qa", "starts_at": "Ask", "status": "failed",
    "start_time": "2026-11-22T19:30:12.481+00:00", "duration": 0.5, "trace_id": "ab",
    "summary": {
        "input_tokens": 3, "output_tokens": 4, "total_cost": 0.5, "unpriced_calls": 1, "llm_calls": 2,
        "node_executions": 5, "errors": 6, "spans_still_open": 7, "damaged_lines": 8,
        "failed_steps": 9, "fallbacks": 10, "item_fallbacks": 11,
        "models": {"acme": {"calls": 2, "input_tokens": 3, "output_tokens": 4, "cost": 0.5}},
    },
}  # fmt: skip


def test_a_run_summary_has_every_field() -> None:
    path = Path("x.json")
    assert parse_summary(WHOLE, path) == RunSummary(
        path, "20261122T193012Z-7f3a91c2", "ab", "qa", "Ask", "failed", 1795375812.481, 0.5,
        5, 6, 2, 1, 3, 4, 0.5, {"acme": {"calls": 2, "tokens": 7, "cost": 0.5, "unpriced_calls": 0}}, 7, 8,
        9, 10, 11,
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [None, "x", -1, [], {}, True, 1e400, float("nan"), 10**30, "\x00"])
def test_a_field_that_is_damaged_is_as_if_it_were_absent(wrong: object) -> None:
    for name in WHOLE:
        summary = parse_summary({**WHOLE, name: wrong}, Path("x.json"))
        json.dumps(summary.as_json(), allow_nan=False)
    summary = dict.fromkeys(WHOLE["summary"], wrong)  # type: ignore[call-overload]
    found = parse_summary({**WHOLE, "summary": summary}, Path("x.json"))
    numbers = found.steps, found.calls, found.tokens, found.cost or 0.0, dict(found.models)
    assert numbers == (0, 0, 0, 0.0, {})
