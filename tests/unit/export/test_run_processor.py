"""What the processor tells the views, and which spans belong to a run."""

from __future__ import annotations

import io
import logging
import threading
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from tests.support.outputs import show
from tests.support.steps import FailsFirst, Step, named
from tests.support.views import console_output, viewed

from pocketflow_otel import Config, PocketFlowInstrumentor, using
from pocketflow_otel.export import run_processor
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.run_processor import RunProcessor
from pocketflow_otel.guard import set_strict
from pocketflow_otel.sdk.provider import prepare_provider
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pathlib import Path


class Told:
    """A view that keeps what it is given."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def run_started(self, run: Any) -> None:
        self.story.append("run started")

    def span_started(self, run: Any, span: Any) -> None:
        self.story.append(f"{span.name} started")

    def event_occurred(self, run: Any, span_id: str, time: int, event: Any) -> None:
        self.story.append(type(event).__name__)

    def span_ended(self, run: Any, span: Any) -> None:
        self.story.append(f"{span.name} ended")

    def run_ended(self, run: Any, root: Any) -> None:
        self.story.append("run ended")

    def shutdown(self) -> None:
        self.story.append("shut down")


def flow(name: str, *steps: Step) -> Any:
    last = steps[0]
    for step in steps[1:]:
        last = last >> step
    return named(pocketflow.Flow(start=steps[0]), name)


def summaries(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split()[:2] if word in ("ok", "FAILED")]


def test_a_view_is_told_a_run_from_its_first_span_to_its_last() -> None:
    def trace_too(shared: Any) -> str:
        captured.provider.get_tracer("llm").start_span("chat").end()
        return "nowhere"

    step = Step("A", 0, trace_too)
    step - "somewhere" >> Step("B")
    view = Told()
    with viewed(view) as captured:
        flow("f", step).run({})
        captured.provider.get_tracer("llm").start_span("outside any run").end()
    captured.provider.shutdown()

    assert view.story == [
        "run started",
        "invoke_workflow f started",
        "invoke_node A started",
        "chat started",
        "chat ended",
        "ActionUnmatched",
        "invoke_node A ended",
        "invoke_workflow f ended",
        "run ended",
        "shut down",
    ]


def test_a_view_that_fails_keeps_nothing_from_the_others_or_the_flow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(Told):
        def span_started(self, run: Any, span: Any) -> None:
            raise ZeroDivisionError

        span_ended = run_ended = span_started  # type: ignore[assignment]

    view, shared = Told(), {}
    set_strict(False)
    with viewed(Fails(), view):
        flow("f", Step("A", 0, lambda shared: shared.update(done=True))).run(shared)

    assert shared == {"done": True}
    assert view.story[-1] == "run ended"
    assert len(view.story) == 6
    assert [record.getMessage() for record in caplog.records] == [
        "pocketflow-otel could not show that a span started; the flow goes on (reported once)",
        "pocketflow-otel could not show that a span ended; the flow goes on (reported once)",
    ]


def test_a_run_that_began_before_the_views_is_not_shown_in_part() -> None:
    view = Told()
    processor = RunProcessor()

    def add(shared: Any) -> None:
        processor.views = (view,)

    with viewed() as captured:
        captured.provider.add_span_processor(processor)
        flow("f", Step("A", 0, add), Step("B")).run({})
        began_before = list(view.story)
        Step("C").run({})

    assert began_before == []
    assert view.story == ["run started", "invoke_node C started", "invoke_node C ended", "run ended"]


def test_spans_that_begin_after_their_run_has_ended_are_left_out() -> None:
    contexts: list[Any] = []
    view = Told()
    with viewed(view) as captured:
        Step("A", 0, lambda shared: contexts.append(get_current())).run({})
        token = attach(contexts[0])
        try:
            captured.provider.get_tracer("t").start_span("too late").end()
        finally:
            detach(token)

    assert view.story == ["run started", "invoke_node A started", "invoke_node A ended", "run ended"]


def test_a_run_that_is_sampled_out_has_no_view_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    show(provider, console="live", file="all", directory=tmp_path)
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config())
    try:
        flow("f", Step("A")).run({})
    finally:
        instrumentor.uninstrument()

    assert (list(tmp_path.iterdir()), capsys.readouterr()) == ([], ("", ""))


class LeavesOut(Sampler):
    """Leaves out the spans of one name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *args: Any, **kwargs: Any) -> Any:
        decision = Decision.DROP if name == self.name else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision)

    def get_description(self) -> str:
        return f"without {self.name}"


def test_what_happens_in_a_step_that_is_sampled_out_is_not_told_of_its_flow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = TracerProvider(sampler=LeavesOut("invoke_node A"), shutdown_on_exit=False)
    show(provider, console="live", file="all", directory=tmp_path)
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config())
    try:
        flow("f", FailsFirst("A", 1, max_retries=2), Step("B")).run({})
    finally:
        instrumentor.uninstrument()

    told = [line.split()[1:3] for line in capsys.readouterr().err.splitlines()]
    assert told[:4] == [["→", "Flow:"], ["→", "B"], ["✓", "B"], ["✓", "Flow:"]]


def test_where_an_action_leads_is_told_as_of_the_end_of_the_step() -> None:
    class Timed(Told):
        def event_occurred(self, run: Any, span_id: str, time: int, event: Any) -> None:
            told.append(time)

    told: list[int] = []
    lost = Step("A", 0.1, lambda shared: "lost")
    lost - "found" >> Step("B")
    with viewed(Timed()) as captured, pytest.warns(UserWarning, match="Flow ends"):
        flow("f", lost).run({})

    assert told == [captured.one("invoke_node A").end_time]


def test_a_run_below_a_span_of_others_is_a_run_of_its_own() -> None:
    view = Told()
    with viewed(view) as captured, captured.provider.get_tracer("http").start_as_current_span("GET /"):
        flow("f", Step("A")).run({})
        flow("g", Step("B")).run({})

    assert view.story.count("run started") == view.story.count("run ended") == 2
    assert len({span.context.trace_id for span in captured.spans}) == 1
    assert "GET / started" not in view.story


def test_runs_in_threads_are_told_apart() -> None:
    together = threading.Barrier(3)
    flows = [
        flow(f"F{number}", Step(f"N{number}", 0, lambda shared: together.wait() and None))
        for number in range(3)
    ]

    def run() -> None:
        threads = [threading.Thread(target=each.run, args=({},)) for each in flows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert summaries(console_output(run)) == ["ok", "ok", "ok"]


def test_a_run_is_told_to_its_end_by_the_views_it_began_with() -> None:
    before, after = io.StringIO(), io.StringIO()
    processor = RunProcessor()
    processor.views = (ConsoleView("summary", before),)

    def change(shared: Any) -> None:
        processor.views = (ConsoleView("summary", after),)

    with viewed() as captured:
        captured.provider.add_span_processor(processor)
        flow("f", Step("A", 0, change), Step("B")).run({})
        flow("g", Step("C")).run({})

    assert before.getvalue().splitlines()[0] == "ok  0.00s · 2 steps"
    assert after.getvalue() == "ok  0.00s · 1 step\n"


# using() reaches the spans of others.


GIVEN = {
    "session.id": "s",
    "user.id": "u",
    "tag.tags": ("a", "b"),
    "metadata": '{"k": 1}',
}


@pytest.mark.parametrize("config", [Config(), Config(console="off", file="off"), Config(console="summary")])
def test_what_using_gives_reaches_the_spans_of_other_tracers(config: Config) -> None:
    def ask(shared: Any) -> None:
        captured.provider.get_tracer("llm").start_span("chat").end()

    with capture_spans() as captured:
        prepare_provider(captured.provider, config)
        with using(session_id="s", user_id="u", tags=["a", "b"], metadata={"k": 1}):
            Step("A", 0, ask).run({})
            captured.provider.get_tracer("http").start_span("GET").end()
        captured.provider.get_tracer("http").start_span("after").end()

    def given(name: str) -> dict[str, Any]:
        attributes = captured.one(name).attributes or {}
        return {key: value for key, value in attributes.items() if key in GIVEN}

    assert [given(name) for name in ("invoke_node A", "chat", "GET", "after")] == [GIVEN, GIVEN, GIVEN, {}]


def test_what_using_gives_is_on_the_view_of_a_span_that_others_started() -> None:
    seen: list[Any] = []

    class Looks(Told):
        def span_started(self, run: Any, span: Any) -> None:
            seen.append(span.attributes.get("user.id"))

    with viewed(Looks()) as captured, using(user_id="u"):
        Step("A", 0, lambda shared: captured.provider.get_tracer("t").start_span("chat").end()).run({})

    assert seen == ["u", "u"]


def test_a_span_that_is_not_recorded_is_left_alone() -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    prepare_provider(provider, Config(console="summary"))
    with using(user_id="u"):
        span = provider.get_tracer("t").start_span("s")
        span.end()

    assert not span.is_recording()
    assert isinstance(span, trace.NonRecordingSpan)


def test_an_error_of_the_processor_does_not_reach_other_tracers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    set_strict(False)

    class Fails(Told):
        def run_started(self, run: Any) -> None:
            raise ZeroDivisionError

    with viewed(Fails()) as captured:
        Step("A", 0, lambda shared: captured.provider.get_tracer("t").start_span("chat").end()).run({})

    assert captured.tree() == "invoke_node A\n  chat"
    assert len(caplog.records) == 1


# Amid a call of a view, and after an interrupt


def test_what_happens_amid_a_call_of_a_view_comes_after_it() -> None:
    """A run of its own, by a signal handler that comes just then, say."""

    class Interrupted(Told):
        within = False

        def span_started(self, run: Any, span: Any) -> None:
            assert not self.within
            self.within = True
            if span.name == "invoke_node A":
                before = attach(Context())
                flow("inner", Step("B")).run({})
                detach(before)
            self.within = False
            super().span_started(run, span)

    view, other = Interrupted(), Told()
    with viewed(view, other):
        flow("f", Step("A")).run({})

    assert view.story == other.story
    assert view.story == [
        "run started",
        "invoke_workflow f started",
        "invoke_node A started",
        "run started",
        "invoke_workflow inner started",
        "invoke_node B started",
        "invoke_node B ended",
        "invoke_workflow inner ended",
        "run ended",
        "invoke_node A ended",
        "invoke_workflow f ended",
        "run ended",
    ]


def processor_of(captured: Any) -> Any:
    (found,) = (
        each
        for each in captured.provider._active_span_processor._span_processors
        if isinstance(each, RunProcessor)
    )
    return found


@pytest.mark.parametrize("method", ["run_started", "span_started", "span_ended", "run_ended"])
def test_a_run_that_was_interrupted_in_a_view_ends_before_the_next_begins(method: str) -> None:
    interrupts = [KeyboardInterrupt]

    def interrupted(self: Told, *given: Any) -> None:
        if interrupts:
            raise interrupts.pop()
        getattr(Told, method)(self, *given)

    view, other = type("Interrupted", (Told,), {method: interrupted})(), Told()
    with viewed(view, other) as captured:
        with pytest.raises(KeyboardInterrupt):
            flow("f", Step("A")).run({})
        flow("next", Step("B")).run({})
        processor = processor_of(captured)
        assert (processor._runs, processor._by_span, [*processor._due]) == ({}, {}, [])

    for each in (view, other):
        first = each.story[: each.story.index("invoke_workflow next started")]
        assert [line for line in first if line.startswith("run")][-2:] == ["run ended", "run started"]


def test_a_run_whose_end_was_interrupted_before_a_view_heard_of_it_ends_with_the_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    view = Told()
    with viewed(view) as captured:
        with monkeypatch.context() as patch:
            step = Step("A", 0, lambda shared: patch.setattr(run_processor, "record_of", interrupted))
            with pytest.raises(KeyboardInterrupt):
                flow("f", step).run({})
        captured.provider.shutdown()

    assert view.story[-3:] == ["invoke_workflow f ended", "run ended", "shut down"]
