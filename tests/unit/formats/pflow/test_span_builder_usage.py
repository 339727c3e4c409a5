"""The usage of a recorded run: its calls, tokens and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_line import run
from tests.support.pflow_traces import ALL, LINEAR, documents, lines_of, name_of, steps_of, trace_of, write

from pocketflow_otel import semconv
from pocketflow_otel.formats.pflow.importer import Importer
from pocketflow_otel.formats.pflow.pflow_reader import read

if TYPE_CHECKING:
    from pathlib import Path

SUMMED = [path for path in ALL if "llm_summary" in documents(path)[-1]]


@pytest.mark.parametrize("path", SUMMED, ids=name_of)
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
