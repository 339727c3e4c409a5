"""Usage and cost as people see them: in the live view and in the trace file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.usage_steps import COST, MINI, Step, chain, put, used
from tests.support.views import console_output, viewed

from pocketflow_otel.export.file.file_view import FileView

if TYPE_CHECKING:
    from pathlib import Path


def test_usage_is_told_line_by_line() -> None:
    def run() -> None:
        cached = used(1200, 210, prompt_tokens_details={"cached_tokens": 1000})
        many = [used(), used(), used(80, 20, "acme-llm-7b")]
        chain(
            Step("Cached", put(cached)),
            Step("Private", put(used(80, 20, "acme-llm-7b"))),
            Step("Free", put(used(1, 1, cost=0))),
            Step("Many", put(many)),
        ).run({})

    lines = console_output(run).splitlines()
    # 200 * $0.15/M + 1000 * $0.075/M + 210 * $0.60/M = $0.000231
    ends = [line.partition("llm_usage  ")[2] for line in lines if "✓" in line]
    assert ends == [
        "$0.00023 · 1,200→210 tok (83% cached) · gpt-4o-mini",
        "$? · 80→20 tok · acme-llm-7b (no price)",
        "$0 · 1→1 tok · gpt-4o-mini",
        "Σ ≥ $0.000090 · 3 calls",
        "",
    ]
    assert [line.partition("4 steps · ")[2] for line in lines if line.startswith("ok")] == [
        "6 LLM calls · 1,912 tokens · cost ≥ $0.00032 (2 calls unpriced: acme-llm-7b)"
    ]


def test_usage_and_cost_stand_in_the_trace_file(tmp_path: Path) -> None:
    with viewed(FileView("all", tmp_path)):
        chain(Step("Ask", put([used(), used(80, 20, "acme-llm-7b")])), Step("Plain")).run({})
    (file,) = tmp_path.glob("*.json")
    trace = json.loads(file.read_text(encoding="utf-8"))
    bill = {
        name: trace["summary"][name]
        for name in (
            "total_tokens",
            "input_tokens",
            "output_tokens",
            "total_cost",
            "unpriced_calls",
            "llm_calls",
            "models",
        )
    }
    assert bill == {
        "total_tokens": 250,
        "input_tokens": 180,
        "output_tokens": 70,
        "total_cost": COST,
        "unpriced_calls": 1,
        "llm_calls": 2,
        "models": {
            "acme-llm-7b": {"calls": 1, "input_tokens": 80, "output_tokens": 20, "unpriced_calls": 1},
            MINI: {"calls": 1, "input_tokens": 100, "output_tokens": 50, "cost": COST},
        },
    }
    usage = {
        event["name"]: {name: event[name] for name in ("tokens", "token_details", "cost") if name in event}
        for event in trace["events"]
        if event["type"] == "node_complete"
    }
    details = {"prompt": 180, "completion": 70}
    assert usage == {"Ask": {"tokens": 250, "token_details": details, "cost": COST}, "Plain": {}}
