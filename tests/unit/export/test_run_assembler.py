"""The exporters, for those who wire span processors themselves: the same lines, the same file, afterwards."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.support.steps import (
    FailsFirst,
    FallsBack,
    InParallel,
    Numbers,
    Rounds,
    RoundsAtOnce,
    Step,
    Waits,
    named,
)
from tests.support.views import viewed

from pocketflow_otel import Config, ConsoleSpanExporter, FileSpanExporter
from pocketflow_otel.export import run_assembler
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pocketflow_otel.testing import CapturedSpans


def linear() -> None:
    first = Step("Fetch", 0.1, lambda shared: shared.update(a=1, b=2))
    first >> Step("Clean", 0.2, lambda shared: shared.pop("a") and "done")
    named(pocketflow.Flow(start=first), "linear").run({})


def nested() -> None:
    decide = Step("Decide", 0.1, lambda shared: shared.append(1) or ("stop" if len(shared) > 1 else "go"))
    inner = named(pocketflow.Flow(start=Step("Inner", 0.1)), "inner")
    decide - "go" >> inner >> decide
    decide - "later" >> inner
    named(pocketflow.Flow(start=decide), "nested").run([])


def parallel() -> None:
    asyncio.run(named(pocketflow.AsyncFlow(start=InParallel()), "parallel").run_async({}))


def rounds() -> None:
    Rounds(start=Step("Read", 0.1)).run({})


def rounds_at_once() -> None:
    waits = named(Waits(), "Read")
    waits >> named(Waits(), "Write")
    asyncio.run(RoundsAtOnce(start=waits).run_async({}))


def generator() -> None:
    Numbers("Check", iter([1, 2])).run({})


def failing() -> None:
    flow = pocketflow.Flow(start=Numbers("Check", [1, 13, 2]))
    with suppress(ValueError):
        named(flow, "failing").run({})


def trying_again() -> None:
    first = FailsFirst("Ask", 1, max_retries=2, wait=0.01)
    first >> FallsBack("Guess", 9, max_retries=2)
    named(pocketflow.Flow(start=first), "trying").run({})


SCENARIOS = [linear, nested, parallel, rounds, rounds_at_once, generator, failing, trying_again]


def export_to(captured: CapturedSpans, exporter: Any) -> None:
    captured.provider.add_span_processor(SimpleSpanProcessor(exporter))


@pytest.mark.parametrize("run", SCENARIOS)
def test_the_console_exporter_prints_the_lines_of_the_live_view(run: Callable[[], None]) -> None:
    live, exported = io.StringIO(), io.StringIO()
    with viewed(ConsoleView("live", live)) as captured:
        export_to(captured, ConsoleSpanExporter(exported))
        run()

    assert exported.getvalue() == live.getvalue() != ""


@pytest.mark.parametrize("run", SCENARIOS)
def test_the_file_exporter_saves_what_the_live_view_saves(run: Callable[[], None], tmp_path: Path) -> None:
    with viewed(FileView("all", tmp_path / "live")) as captured:
        export_to(captured, FileSpanExporter(tmp_path / "exported"))
        run()

    (live,), (exported,) = ((tmp_path / name).iterdir() for name in ("live", "exported"))
    assert live.name == exported.name
    assert json.loads(exported.read_text()) == json.loads(live.read_text())


def test_items_without_a_span_are_not_in_the_exporters_count() -> None:
    """One of the known differences.

    Nor does an exporter see trace files and late spans; it tells of the last attempt before a
    fallback when that failed, the live view when the fallback was done; and it knows of 32 failed
    attempts of a step at most.
    """
    live, exported = io.StringIO(), io.StringIO()
    with viewed(ConsoleView("live", live), config=Config(max_batch_items=1)) as captured:
        export_to(captured, ConsoleSpanExporter(exported))
        with suppress(ValueError):
            Numbers("Check", [1, 2, 13]).run({})

    assert live.getvalue().replace("(3/3)", "(2/3)") == exported.getvalue()


def test_spans_that_belong_to_no_run_are_not_shown_nor_saved(tmp_path: Path) -> None:
    stream = io.StringIO()
    with capture_spans() as captured:
        export_to(captured, ConsoleSpanExporter(stream))
        export_to(captured, FileSpanExporter(tmp_path))
        with captured.provider.get_tracer("http").start_as_current_span("GET /"):
            captured.provider.get_tracer("http").start_span("inside").end()

    assert (stream.getvalue(), list(tmp_path.iterdir())) == ("", [])


def test_runs_of_one_trace_are_told_apart() -> None:
    stream = io.StringIO()
    with viewed() as captured:
        export_to(captured, ConsoleSpanExporter(stream))
        with captured.provider.get_tracer("http").start_as_current_span("GET /"):
            Step("A", 0.1).run({})
            Step("B", 0.2).run({})

    assert [line.strip() for line in stream.getvalue().splitlines() if "✓" in line] == [
        "0.10s ✓ A 0.10s  → default",
        "0.20s ✓ B 0.20s  → default",
    ]


def test_a_span_that_ends_after_its_step_belongs_to_the_run_still(tmp_path: Path) -> None:
    started: list[Any] = []

    def start(shared: Any) -> None:
        started.append(captured.provider.get_tracer("llm").start_span("stream"))

    first = Step("A", 0.1, start)
    first >> Step("B", 0.1, lambda shared: started[0].end())
    with viewed() as captured:
        export_to(captured, FileSpanExporter(tmp_path))
        named(pocketflow.Flow(start=first), "flow").run({})

    (file,) = tmp_path.iterdir()
    scopes = json.loads(file.read_text())["resourceSpans"][0]["scopeSpans"]
    assert [span["name"] for scope in scopes for span in scope["spans"]] == [
        "invoke_node A",
        "stream",
        "invoke_node B",
        "invoke_workflow flow",
    ]


def test_runs_of_many_threads_are_all_exported() -> None:
    stream = io.StringIO()
    flows = [named(pocketflow.Flow(start=Step(f"N{number}")), f"F{number}") for number in range(20)]
    with capture_spans() as captured, captured.provider.get_tracer("t").start_as_current_span("one trace"):
        export_to(captured, ConsoleSpanExporter(stream))
        threads = [threading.Thread(target=flow.run, args=({},)) for flow in flows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len([line for line in stream.getvalue().splitlines() if line.startswith("ok")]) == 20


def test_what_never_becomes_a_run_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_assembler, "_MAX_TRACES", 3)
    monkeypatch.setattr(run_assembler, "_MAX_SPANS", 5)
    runs = run_assembler.RunAssembler()
    with capture_spans() as captured:
        tracer = captured.provider.get_tracer("t")
        for _ in range(10):
            tracer.start_span("a trace of its own").end()
        with tracer.start_as_current_span("a long trace"):
            for _ in range(10):
                tracer.start_span("inside").end()
    assert list(runs.add(captured.spans)) == []

    assert sorted(len(spans) for spans in runs._waiting.values()) == [1, 1, 5]
    runs.clear()
    assert list(runs._waiting) == []


def test_a_run_that_was_not_complete_at_shutdown_is_not_told() -> None:
    stream = io.StringIO()
    exporter = ConsoleSpanExporter(stream)
    with capture_spans() as captured:
        Step("A").run({})
        pocketflow.Flow(start=Step("B")).run({})
    exporter.export(captured.spans[:2])
    exporter.shutdown()
    exporter.export(captured.spans[2:])

    assert [line.split()[2] for line in stream.getvalue().splitlines() if "✓" in line] == ["A", "Flow:"]
    assert exporter.force_flush() is True


def test_the_file_exporters_directory_is_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path / "here"))
    exporter = FileSpanExporter()
    with capture_spans() as captured:
        Step("A").run({})
    exporter.export(captured.spans)
    exporter.shutdown()

    assert len(list((tmp_path / "here").iterdir())) == 1
    assert exporter.force_flush() is True


def test_a_bad_variable_is_an_error_in_code() -> None:
    with (
        pytest.MonkeyPatch.context() as patches,
        pytest.raises(ValueError, match="POCKETFLOW_OTEL_FILE='some'"),
    ):
        patches.setenv("POCKETFLOW_OTEL_FILE", "some")
        FileSpanExporter()
