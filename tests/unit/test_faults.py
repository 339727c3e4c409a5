"""Whatever of ours breaks, the flow's result stays the same and one warning a place says so."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler
from pocketflow import (
    AsyncBatchFlow,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchNode,
    BaseNode,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
)
from tests.support.functions import plain

import pocketflow_otel.api
import pocketflow_otel.fields
import pocketflow_otel.instrument.scopes
import pocketflow_otel.runtime
import pocketflow_otel.store
import pocketflow_otel.usage
import pocketflow_otel.user_code
from pocketflow_otel import Config, PocketFlowInstrumentor, progress, record_usage, run_name
from pocketflow_otel.guard import logger, set_strict
from pocketflow_otel.instrument import bindings
from pocketflow_otel.instrument.scopes.stand_in import StandIn
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.runtime.run import Run
from pocketflow_otel.store import observation
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.usage import pricing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType, ModuleType

Store = dict[str, Any]

CONFIG = Config(
    max_batch_items=1,
    max_cost=1000,
    capture_values=("answer*",),
    mask=lambda key, value: value,
    compat=("openinference", "langfuse"),
)

WRAPPERS = {"_subclassed", "_begin_batch", "_see_failure", "clear_traceback"}
"""Functions that hold guards, and do nothing outside of them."""

CALLED_BY_USERS = {"entered", "progress", "record_usage", "run_name", "using"}
"""And what stands for the block of `run_name` and `using`."""


class Fault(Exception):
    pass


@dataclass
class Story:
    """What a program did: its calls, its return or error, its store."""

    calls: list[str] = field(default_factory=list)
    store: Store = field(default_factory=lambda: {"list": [1], "llm_model": "gpt-4o"})
    result: object = None

    def tell(self, who: object, phase: str) -> None:
        self.calls.append(f"{type(who).__name__} {phase}")


def sync_story() -> Story:
    """Run a program in which everything happens, up to an error at the end."""
    story = Story()

    class Ask(Node):
        def prep(self, shared: Store) -> None:
            story.tell(self, "prep")
            progress(1, 2)
            record_usage({"input_tokens": 1, "output_tokens": 1}, model="gpt-4o")

        def exec(self, prep_res: object) -> str:
            story.tell(self, "exec")
            if self.cur_retry == 0:
                raise ConnectionError("no answer")
            return "answer"

        def post(self, shared: Store, prep_res: object, exec_res: str) -> str:
            shared["answer"] = exec_res
            shared["list"].append(2)
            shared["llm_usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
            shared["asked"] = shared.get("asked", 0) + 1
            return "again" if shared["asked"] < 2 else "default"

    class Answer(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 0, 2]

        def exec(self, prep_res: int) -> int:
            story.tell(self, "exec")
            return 1 // prep_res

        def exec_fallback(self, prep_res: int, exc: Exception) -> int:
            story.tell(self, "fallback")
            return 0

        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            shared["answers"] = exec_res
            shared.pop("asked")

    class Report(BatchFlow):
        def prep(self, shared: Store) -> list[Store]:
            return [{"page": 1}, {"page": 2}]

    class Swallows(Node):
        def exec(self, prep_res: object) -> str:
            try:
                Flow(start=Fails()).run({})
            except ValueError as error:
                return str(error)
            return "nothing"

        def post(self, shared: Store, prep_res: object, exec_res: str) -> str:
            shared["swallowed"] = exec_res
            return "unknown"

    class Fails(BaseNode):
        def exec(self, prep_res: object) -> None:
            story.tell(self, "exec")
            raise ValueError("broken")

    class Talk(Flow):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            story.tell(self, "post")
            raise KeyError("the end")

    ask, answer, swallows = Ask(max_retries=2), Answer(), Swallows()
    ask - "again" >> ask
    ask >> answer >> Report(start=Node()) >> swallows
    swallows - "known" >> Node()
    with run_name("a run"):
        story.result = outcome(lambda: Talk(start=ask).run(story.store))
    return story


def async_story() -> Story:
    """Do the same in another way: async, in parallel, with a fallback and an error in a round."""
    story = Story()

    class Ask(AsyncNode):
        async def exec_async(self, prep_res: object) -> str:
            story.tell(self, "exec")
            raise ConnectionError("no answer")

        async def exec_fallback_async(self, prep_res: object, exc: Exception) -> str:
            story.tell(self, "fallback")
            return str(exc)

        async def post_async(self, shared: Store, prep_res: object, exec_res: str) -> None:
            shared["answer"] = exec_res

    class Answer(AsyncParallelBatchNode):
        async def prep_async(self, shared: Store) -> list[int]:
            return [1, 2, 3]

        async def exec_async(self, prep_res: int) -> int:
            await asyncio.sleep(0)
            story.tell(self, f"exec {prep_res}")
            return prep_res

    class Report(AsyncBatchFlow):
        async def prep_async(self, shared: Store) -> list[Store]:
            return [{"page": 1}, {"page": 2}]

    class Fails(Node):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            story.tell(self, f"post {self.params['page']}")
            if self.params["page"] == 2:
                raise ValueError("broken")

    class Talk(AsyncFlow):
        pass

    ask = Ask(max_retries=2)
    ask >> Answer() >> Report(start=Fails())
    story.result = outcome(lambda: asyncio.run(Talk(start=ask).run_async(story.store)))
    return story


def outcome(run: Callable[[], object]) -> object:
    try:
        return run()
    except Exception as error:
        return type(error), str(error)


STORIES = (sync_story, async_story)


@contextmanager
def traced(provider: Any = None) -> Iterator[TracerProvider]:
    """Switch everything on, a parent in the environment included."""
    provider = provider or TracerProvider(shutdown_on_exit=False)
    meters = MeterProvider(shutdown_on_exit=False)
    instrumentor = PocketFlowInstrumentor()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
        try:
            instrumentor.instrument(tracer_provider=provider, meter_provider=meters, config=CONFIG)
            yield provider
        finally:
            if instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()


def modules() -> list[ModuleType]:
    """Return our modules that have to do with a running step."""
    found = [pocketflow_otel.api, pocketflow_otel.fields, pocketflow_otel.user_code]
    for package in (
        pocketflow_otel.instrument,
        pocketflow_otel.instrument.scopes,
        pocketflow_otel.runtime,
        pocketflow_otel.store,
        pocketflow_otel.usage,
    ):
        names = [module.name for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
        found += map(importlib.import_module, names)
    return found


@dataclass(frozen=True)
class Place:
    """A function of ours, and where it is found."""

    owner: Any
    name: str
    function: FunctionType

    def __str__(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__qualname__}"


def places() -> Iterator[Place]:
    for module in modules():
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, FunctionType):
                yield Place(module, name, value)
            elif isinstance(value, type):
                for attribute, found in vars(value).items():
                    function = plain(found)
                    # From 3.13 on, dataclasses puts a function of its own on each of ours.
                    if function is not None and function.__module__ == module.__name__:
                        yield Place(value, attribute, function)


def hot_path() -> list[Place]:
    """Return every function of ours that is called while the stories run."""
    called: set[CodeType] = set()
    pricing.table.start()
    pricing.table.wait(60)

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    with traced():
        for story in STORIES:
            sys.setprofile(note)
            try:
                story()
            finally:
                sys.setprofile(None)
    return [
        place
        for place in places()
        if place.function.__code__ in called
        and place.name not in WRAPPERS | CALLED_BY_USERS
        and not (isinstance(place.owner, type) and issubclass(place.owner, StandIn))  # All in guards.
    ]


@contextmanager
def broken(place: Place) -> Iterator[list[bool]]:
    """Make a function raise, wherever it was imported to, while the list holds `True`."""
    armed = [False]
    hits: list[bool] = [False]

    def faulty(*args: Any, **kwargs: Any) -> Any:
        if armed[0]:
            hits[0] = True
            raise Fault(str(place))
        return place.function(*args, **kwargs)

    if inspect.isgeneratorfunction(place.function):
        plain_faulty = faulty

        def faulty(*args: Any, **kwargs: Any) -> Any:
            yield from plain_faulty(*args, **kwargs)

    found = vars(place.owner)[place.name]
    replacement = type(found)(faulty) if isinstance(found, property | staticmethod | classmethod) else faulty
    owners = [place.owner]
    if inspect.ismodule(place.owner):
        owners = [module for module in modules() if vars(module).get(place.name) is place.function]
    with pytest.MonkeyPatch.context() as patch:
        for owner in owners:
            patch.setattr(owner, place.name, replacement)
        yield armed
        armed[0] = False
    assert hits[0], f"{place} was not called"


@pytest.fixture(autouse=True)
def _lenient(_strict_guards: None) -> Iterator[None]:
    set_strict(False)
    bindings._codes.clear()
    yield
    observation._stores.clear()


class Check:
    """Runs the stories traced, and compares them with the bare ones."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.bare = [story() for story in STORIES]
        self._context = get_current()

    def run(self) -> list[str]:
        """Tell the stories; return the warnings, each of which came once.

        Context and result are as they were without us.
        """
        assert [story() for story in STORIES] == self.bare
        assert get_current() is self._context
        records = [record for record in self._caplog.records if record.name == "pocketflow_otel"]
        messages = [record.getMessage() for record in records]
        assert len(messages) == len(set(messages))
        assert {record.levelname for record in records} <= {"WARNING"}
        assert all(message.endswith("; the flow goes on (reported once)") for message in messages)
        return messages


@pytest.fixture
def check(caplog: pytest.LogCaptureFixture) -> Check:
    return Check(caplog)


@pytest.mark.parametrize("place", hot_path(), ids=str)
def test_a_function_of_ours_that_raises_changes_nothing(place: Place, check: Check) -> None:
    with broken(place) as armed, traced():
        armed[0] = True
        assert check.run()
        armed[0] = False


@pytest.mark.parametrize("name", ["load", "wait"])
def test_a_price_table_that_cannot_be_loaded_changes_nothing(
    name: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pricing._Table, "ready", property(lambda self: False))
    place = Place(pricing.PriceBook, name, vars(pricing.PriceBook)[name])
    with broken(place) as armed, traced():
        armed[0] = True
        assert check.run()
        armed[0] = False


def test_nearly_everything_of_ours_that_runs_is_made_to_raise() -> None:
    found = {str(place) for place in hot_path()}
    assert len(found) > 150
    assert found >= {
        "pocketflow.PocketFlowPatcher._open_step",
        "span_scope.TracedScope.end",
        "span_scope.TracedScope.close",
        "span_scope.TracedScope.record_error",
        "attempts.Attempts.begin",
        "attempts.Attempts.fail",
        "batch.BatchItem.see_end",
        "batch.BatchState.begin",
        "node.NodeScope.begin_exec",
        "node.NodeScope.describe_end",
        "observation.StoreObservation.close",
        "snapshot.Snapshot.update",
        "scope.Scope.add_to_parent",
        "api.user_attributes",
    }


def test_a_function_that_is_left_out_is_there() -> None:
    assert {place.name for place in places()} >= WRAPPERS | CALLED_BY_USERS


def raises(*args: object, **kwargs: object) -> Any:
    raise Fault


@pytest.mark.parametrize(
    "method",
    ["is_recording", "set_attributes", "add_event", "set_status", "end", "get_span_context"],
)
def test_a_span_that_raises_changes_nothing(
    method: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(), monkeypatch.context() as patch:
        patch.setattr(SdkSpan, method, raises)
        assert check.run()


def test_a_context_that_cannot_be_entered_changes_nothing(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    with traced(), monkeypatch.context() as patch:
        patch.setattr("pocketflow_otel.instrument.span_scope.make_current", raises)
        assert check.run()


@pytest.mark.parametrize("kind", ["on_start", "on_end", "both"])
def test_a_span_processor_that_raises_changes_nothing(kind: str, check: Check) -> None:
    class Broken(SpanProcessor):
        if kind != "on_end":
            on_start = raises
        if kind != "on_start":
            on_end = raises

    with traced() as provider:
        provider.add_span_processor(Broken())
        messages = check.run()
    places = {"on_start": ["open a span"], "on_end": ["end a span"], "both": ["end a span", "open a span"]}
    assert messages == [
        f"pocketflow-otel could not {place}; the flow goes on (reported once)" for place in places[kind]
    ]


def test_a_sampler_that_raises_changes_nothing(check: Check) -> None:
    class Broken(Sampler):
        should_sample = raises

        def get_description(self) -> str:
            return "broken"

    with traced(TracerProvider(sampler=Broken(), shutdown_on_exit=False)):
        assert check.run() == ["pocketflow-otel could not open a span; the flow goes on (reported once)"]


def test_a_tracer_that_raises_changes_nothing(check: Check) -> None:
    class Broken:
        start_span = raises

    class Provider:
        def get_tracer(self, *args: object) -> Broken:
            return Broken()

    with traced(Provider()):
        assert check.run() == ["pocketflow-otel could not open a span; the flow goes on (reported once)"]


def test_a_provider_that_raises_is_told_when_tracing_is_switched_on() -> None:
    class Provider:
        get_tracer = raises

    before = vars(Node)["_exec"]
    with pytest.raises(Fault), traced(Provider()):
        pytest.fail("it should not have come so far")
    assert vars(Node)["_exec"] is before


def test_a_global_provider_that_raises_later_changes_nothing(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Provider:
        get_tracer = raises

    instrumentor = PocketFlowInstrumentor()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    instrumentor.instrument(config=CONFIG)
    try:
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", Provider())
        assert check.run() == ["pocketflow-otel could not open a span; the flow goes on (reported once)"]
    finally:
        instrumentor.uninstrument()


def test_a_mask_of_the_users_that_raises_changes_nothing(check: Check) -> None:
    with capture_spans(Config(capture_values=("answer*",), mask=raises)) as captured:
        assert check.run()
    assert "pocketflow.shared.values" not in captured.tree("pocketflow.shared.values")


def test_an_observer_that_raises_changes_nothing(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "publish", raises)
    with traced():
        assert check.run()


def test_a_log_handler_that_raises_changes_nothing(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "warning", raises)
    monkeypatch.setattr(SdkSpan, "end", raises)
    with traced():
        assert check.run() == []


@pytest.mark.parametrize("start", ["start_span", "_name_run"])
def test_a_span_that_cannot_be_opened_leaves_nothing_behind(
    start: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TracedScope, start, raises)
    with capture_spans(CONFIG) as captured:
        check.run()
    assert (observation._stores, {span.end_time is not None for span in captured.spans} - {True}) == (
        {},
        set(),
    )


def test_an_interrupt_while_a_span_is_opened_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    before = get_current()
    with capture_spans(CONFIG) as captured:
        monkeypatch.setattr(TracedScope, "_name_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Flow(start=Node()).run({})
    assert (observation._stores, get_current() is before, len(captured.spans)) == ({}, True, 1)
