"""Trouble that a run went on from: its step says so, its summary, and the commands."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.saved import save, save_journal
from tests.support.views import console_output, viewed

from pocketflow_otel import Config, semconv
from pocketflow_otel.analysis.rows import rows
from pocketflow_otel.cli.main import main
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from pathlib import Path

    from pocketflow_otel.traces.trace import Trace


class Label(pocketflow.BatchNode):
    """Falls back for two of three items."""

    def prep(self, shared: Any) -> Any:
        return shared.get("items", range(30))

    def exec(self, item: int) -> str:
        if item % 3:
            raise ValueError("no label")
        return "label"

    def exec_fallback(self, item: int, error: Exception) -> str:
        return "unknown"


class Careful(pocketflow.BatchNode):
    """Takes the errors of its items for results."""

    def prep(self, shared: Any) -> list[int]:
        return [0, 1, 2]

    def exec(self, item: int) -> float:
        return 1 / item

    def _exec(self, items: list[int]) -> list[Any]:
        results: list[Any] = []
        for item in items:
            try:
                results.append(pocketflow.Node._exec(self, item))
            except ZeroDivisionError as error:
                results.append(error)
        return results


class Odd(pocketflow.AsyncNode):
    """Fails for odd numbers."""

    async def exec_async(self, prep_res: None) -> None:
        if self.params["number"] % 2:
            raise ValueError("odd")


class Rounds(pocketflow.AsyncParallelBatchFlow):
    """Takes the errors of its rounds for results."""

    async def prep_async(self, shared: Any) -> list[dict[str, int]]:
        return [{"number": number} for number in range(5)]

    async def _run_async(self, shared: Any) -> Any:
        rounds = await self.prep_async(shared)
        waiting = (self._orch_async(shared, params) for params in rounds)
        await asyncio.gather(*waiting, return_exceptions=True)
        return await self.post_async(shared, rounds, None)


class Tries(pocketflow.Node):
    """Runs a flow that fails, and goes on."""

    def exec(self, prep_res: None) -> str:
        inner = pocketflow.Flow(start=Broken())
        inner.name = "inner"
        try:
            inner.run({})
        except KeyError:
            return "no answer"
        return "an answer"


class Broken(pocketflow.Node):
    def prep(self, shared: Any) -> Any:
        return shared["absent"]


class Guess(pocketflow.Node):
    def exec(self, prep_res: None) -> str:
        raise ConnectionError("429")

    def exec_fallback(self, prep_res: None, error: Exception) -> str:
        return "a guess"


def named(flow: Any, name: str) -> Any:
    flow.name = name
    return flow


def label() -> Any:
    return named(pocketflow.Flow(start=Label(max_retries=1)), "label")


def rounds() -> Any:
    return named(pocketflow.AsyncFlow(start=Rounds(start=Odd())), "rounds")


def tries() -> Any:
    first = Tries()
    first >> Guess()
    return named(pocketflow.Flow(start=first), "tries")


def careful() -> Any:
    return named(pocketflow.Flow(start=Careful()), "careful")


def lines(flow: Any, shared: Any = None, **how: Any) -> list[str]:
    """Return the lines of a run."""
    given: dict[str, Any] = {} if shared is None else shared

    def go() -> None:
        if hasattr(flow, "run_async"):
            asyncio.run(flow.run_async(given))
        else:
            flow.run(given)

    return console_output(go, **how).splitlines()


def ended(shown: list[str], name: str) -> str:
    """Return how a step ended, without the depth and the times."""
    (line,) = [line for line in shown if f"{name} 0.00s" in line]
    return " ".join(line.split()[1:])


def test_a_batch_says_how_many_of_its_items_fell_back() -> None:
    shown = lines(label())

    assert ended(shown, "Label") == "⚠ Label 0.00s → default 20/30 fell back"
    assert shown[-1] == "ok  0.00s · 1 step (20 items fell back)"


def test_items_of_a_batch_of_unknown_size_and_items_without_spans_fall_back_too() -> None:
    shown = lines(label(), {"items": iter(range(30))}, config=Config(max_batch_items=4))

    assert ended(shown, "Label") == "⚠ Label 0.00s → default 20 fell back"
    assert shown[-1] == "ok  0.00s · 1 step (20 items fell back)"


def test_items_that_fell_back_are_counted_on_the_span_of_their_batch() -> None:
    with capture_spans(Config(max_batch_items=4)) as captured:
        label().run({})
        label().run({"items": [0, 3]})
    first, second = captured.named("invoke_node Label")

    assert [dict(span.attributes or {}).get(semconv.BATCH_FALLBACKS) for span in (first, second)] == [
        20,
        None,
    ]


def test_a_batch_flow_says_how_many_of_its_rounds_failed() -> None:
    shown = lines(rounds())

    assert ended(shown, "Flow: Rounds") == "⚠ Flow: Rounds 0.00s → default 2/5 failed"
    assert shown[-1] == "ok  0.00s · 5 steps (2 failed)"


def test_a_batch_node_says_how_many_of_its_items_failed_though_it_went_on() -> None:
    shown = lines(careful())

    assert ended(shown, "Careful") == "⚠ Careful 0.00s → default 1/3 failed"
    assert shown[-1] == "ok  0.00s · 1 step (1 error)"


def test_a_step_that_goes_on_after_a_flow_in_it_failed_says_so() -> None:
    shown = lines(tries())

    assert ended(shown, "Tries") == "⚠ Tries 0.00s → default 1 failed inside"
    assert ended(shown, "Flow: tries") == "✓ Flow: tries 0.00s"  # Its own steps went well.
    assert shown[-1] == "ok  0.00s · 3 steps (1 failed, 1 fell back)"


def test_the_summary_alone_says_so_too() -> None:
    assert lines(tries(), mode="summary") == ["ok  0.00s · 3 steps (1 failed, 1 fell back)"]


def test_a_span_of_somebody_else_between_the_two_changes_nothing() -> None:
    stream = io.StringIO()
    with viewed(ConsoleView("live", stream)) as captured:

        class Wrapped(Tries):
            def exec(self, prep_res: None) -> str:
                with captured.provider.get_tracer("theirs").start_as_current_span("theirs"):
                    return super().exec(prep_res)

        pocketflow.Flow(start=Wrapped()).run({})

    (line,) = [line for line in stream.getvalue().splitlines() if " Wrapped 0.00s" in line]
    assert line.endswith("  → default  1 failed inside")


class Second(pocketflow.BatchNode):
    """Its items go well at the second attempt."""

    def prep(self, shared: Any) -> list[int]:
        self.tried: set[int] = set()
        return [1, 2]

    def exec(self, item: int) -> None:
        if item not in self.tried:
            self.tried.add(item)
            raise ConnectionError("429")


def test_what_went_well_in_the_end_is_no_trouble() -> None:
    shown = lines(named(pocketflow.Flow(start=Second(max_retries=2)), "second"))

    assert ended(shown, "Second") == "✓ Second 0.00s → default"
    assert shown[-1] == "ok  0.00s · 1 step"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs that went on from trouble, the oldest first, and one without any."""
    place = tmp_path_factory.mktemp("runs")
    fine = named(pocketflow.Flow(start=Second(max_retries=2)), "fine")
    save(place, tries())
    save(place, label())
    save(place, fine)
    return place


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def trace_of(place: Path, flow: str) -> Trace:
    (found,) = [trace for path in place.glob("*.json") if (trace := reader.read(path)).summary.flow == flow]
    return found


def test_list_tells_the_runs_apart_that_had_trouble(place: Path) -> None:
    shown = {line.split()[3]: line for line in run("list", "--dir", place).splitlines()[1:]}

    assert "ok (1 failed, 1 fell back)" in shown["tries"]
    assert "ok (20 items fell back)" in shown["label"]
    assert "(" not in shown["fine"]


def test_list_has_the_numbers_as_json(place: Path) -> None:
    rows = {row["flow"]: row for row in json.loads(run("list", "--dir", place, "--json"))}

    names = ("status", "failed_steps", "errors", "fallbacks", "item_fallbacks")
    assert [[rows[flow][name] for name in names] for flow in ("tries", "label", "fine")] == [
        ["ok", 1, 1, 1, 0],
        ["ok", 0, 0, 0, 20],
        ["ok", 0, 0, 0, 0],
    ]


def test_stats_count_runs_and_steps_that_had_trouble(place: Path) -> None:
    by_flow = {row["name"]: row for row in json.loads(run("stats", "--dir", place, "--json"))}
    by_node = {row["name"]: row for row in json.loads(run("stats", "--dir", place, "--by", "node", "--json"))}

    assert {name: (row["failed"], row["troubled"]) for name, row in by_flow.items()} == {
        "tries": (0, 1), "label": (0, 1), "fine": (0, 0),
    }  # fmt: skip
    assert {name: (row["failed"], row["troubled"]) for name, row in by_node.items()} == {
        "tries.Tries": (0, 1), "tries.Broken": (1, 0), "tries.Guess": (0, 1),
        "label.Label": (0, 1), "fine.Second": (0, 0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flow", "steps", "line"),
    [
        ("tries", "3 steps (1 failed, 1 fell back)", "⚠ Tries "),
        ("label", "1 step (20 items fell back)", "⚠ Label ×30 "),
    ],
)
def test_show_and_markdown_and_replay_say_so(place: Path, flow: str, steps: str, line: str) -> None:
    run_id = trace_of(place, flow).summary.run_id
    said = {"tries": "1 failed inside", "label": "20/30 fell back"}[flow]
    for shown in (run("show", run_id, "--dir", place), run("show", run_id, "--dir", place, "--markdown")):
        assert steps in shown
        assert [found for found in shown.splitlines() if line in found and said in found], shown
    assert steps in run("replay", run_id, "--dir", place, "--speed", "0")


def test_the_rows_of_a_run_have_the_numbers(place: Path) -> None:
    steps = {row["name"]: row for flow in ("tries", "label") for row in rows(trace_of(place, flow))}

    names = ("status", "failed_inside", "item_fallbacks")
    assert [steps["Tries"][name] for name in names] == ["ok", 1, None]
    assert [steps["Label"][name] for name in names] == ["ok", None, 20]


def test_a_run_that_failed_has_no_trouble_besides(tmp_path: Path) -> None:
    save(tmp_path, named(pocketflow.Flow(start=Broken()), "broken"))
    (line,) = run("list", "--dir", tmp_path).splitlines()[1:]

    assert [cell for cell in line.split("  ") if "failed" in cell] == ["failed"]


def test_what_an_interrupted_run_left_open_has_not_failed(tmp_path: Path) -> None:
    path = save_journal(tmp_path, tries(), 4)  # The header, the starts of the flow, the node, the flow in it
    summary = reader.read(path).summary

    assert (summary.status, summary.failed_steps) == ("interrupted", 0)
    assert not replace(summary, failed_steps=2).trouble  # It did not go on.
