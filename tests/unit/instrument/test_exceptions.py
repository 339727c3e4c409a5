"""Whatever ends a step, its span ends too, and the exception that comes out is the one that went in."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import TracerProvider
from pocketflow import (
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchNode,
    BaseNode,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
)
from tests.support.instrumented import Store, Talk

from pocketflow_otel import Config, PocketFlowInstrumentor
from pocketflow_otel.runtime.scope import SCOPE_KEY
from pocketflow_otel.testing import CapturedSpans, capture_spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

ERROR = "error.type"
PHASE = "pocketflow.error.phase"


class LaterTalk(AsyncFlow):
    pass


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Unhashable(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError("we compared a user's exception")


def error_of(kind: str) -> BaseException:
    return {
        "Exception": Exception("no"),
        "KeyError": KeyError("missing"),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "SystemExit": SystemExit(3),
        "GeneratorExit": GeneratorExit(),
        "CancelledError": asyncio.CancelledError(),
        "ExceptionGroup": ExceptionGroup("two", [ValueError("one"), TypeError("other")]),
        "BaseExceptionGroup": BaseExceptionGroup("two", [KeyboardInterrupt(), SystemExit(1)]),
        "StopIteration": StopIteration(1),
        "RecursionError": RecursionError("too deep"),
        "MemoryError": MemoryError(),
        "Speechless": Speechless(),
        "Unhashable": Unhashable("no"),
    }[kind]


KINDS = (
    "Exception",
    "KeyError",
    "KeyboardInterrupt",
    "SystemExit",
    "GeneratorExit",
    "CancelledError",
    "ExceptionGroup",
    "BaseExceptionGroup",
    "StopIteration",
    "RecursionError",
    "MemoryError",
    "Speechless",
    "Unhashable",
)


class Fails(Node):
    """Raises an error in one phase."""

    def __init__(self, error: BaseException, phase: str = "exec") -> None:
        super().__init__()
        self.error = error
        self.phase = phase

    def reach(self, phase: str) -> None:
        if phase == self.phase:
            raise self.error

    def prep(self, shared: Store) -> None:
        self.reach("prep")

    def exec(self, prep_res: object) -> None:
        self.reach("exec")

    def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
        self.reach("post")


class FailsLater(AsyncNode):
    """Raises an error in one phase."""

    def __init__(self, error: BaseException, phase: str = "exec") -> None:
        super().__init__()
        self.error = error
        self.phase = phase

    async def reach(self, phase: str) -> None:
        await asyncio.sleep(0)
        if phase == self.phase:
            raise self.error

    async def prep_async(self, shared: Store) -> None:
        await self.reach("prep")

    async def exec_async(self, prep_res: object) -> None:
        await self.reach("exec")

    async def post_async(self, shared: Store, prep_res: object, exec_res: object) -> None:
        await self.reach("post")


def caught(run: Any, *args: object) -> BaseException:
    try:
        run(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def drive(coroutine: Any) -> BaseException:
    """Run a coroutine to its end without an event loop, which treats some exceptions in its own way."""
    try:
        while True:
            coroutine.send(None)
    except BaseException as error:
        return error


def exceptions(captured: CapturedSpans) -> list[tuple[str, str]]:
    """Return the name of each span with an `exception` event, and the event's message."""
    return [
        (span.name, str((event.attributes or {}).get("exception.message")))
        for span in captured.spans
        for event in span.events
        if event.name == "exception"
    ]


def statuses(captured: CapturedSpans) -> dict[str, str | None]:
    return {f"{span.name} {span.status.status_code.name}": span.status.description for span in captured.spans}


@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_exception_passes_and_ends_every_span(kind: str, phase: str) -> None:
    error = error_of(kind)
    before = get_current()
    with capture_spans() as captured:
        assert caught(Talk(start=Fails(error, phase)).run, {}) is error
        assert get_current() is before
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    assert captured.tree(ERROR, PHASE).splitlines() == [
        f"invoke_workflow Talk type={name}",
        f"  invoke_node Fails type={name} phase={phase}",
    ]
    assert [span.status.status_code.name for span in captured.spans] == ["ERROR"] * 2
    assert [span for span, _ in exceptions(captured)] == ["invoke_node Fails"]


@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "StopIteration"])
def test_any_exception_passes_async_ones_too(kind: str, phase: str) -> None:
    error = error_of(kind)
    before = get_current()
    with capture_spans() as captured:
        flow = LaterTalk(start=FailsLater(error, phase))
        assert drive(flow.run_async({})) is error
        assert get_current() is before
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    assert captured.tree(ERROR, PHASE).splitlines() == [
        f"invoke_workflow LaterTalk type={name}",
        f"  invoke_node FailsLater type={name} phase={phase}",
    ]
    assert [span for span, _ in exceptions(captured)] == ["invoke_node FailsLater"]


def test_an_exception_keeps_its_cause_its_context_and_its_notes() -> None:
    class Chained(Node):
        def exec(self, prep_res: object) -> None:
            try:
                raise KeyError("first")
            except KeyError as first:
                error = ValueError("second")
                error.add_note("a note")
                raise error from first

    def chain() -> list[object]:
        error = caught(Talk(start=Chained()).run, {})
        assert error.__cause__ is error.__context__
        return [repr(error), repr(error.__cause__), error.__notes__, error.__suppress_context__]

    bare = chain()
    with capture_spans() as captured:
        assert chain() == bare
    [stacktrace] = [
        (event.attributes or {})["exception.stacktrace"] for span in captured.spans for event in span.events
    ]
    text = str(stacktrace)
    assert "KeyError: 'first'" in text
    assert text.endswith("ValueError: second\na note\n")


def test_status_and_event_say_what_happened() -> None:
    with capture_spans() as captured:
        caught(Talk(start=Fails(KeyError("missing"))).run, {})
        caught(Fails(ValueError()).run, {})
        caught(Fails(Speechless()).run, {})
    assert [span.status.description for span in captured.spans] == [
        "KeyError: 'missing'",
        "KeyError: 'missing'",
        "ValueError",
        "Speechless: <its __str__ raises>",
    ]
    assert [message for _, message in exceptions(captured)] == ["'missing'", "", "<its __str__ raises>"]


def test_a_long_message_is_shortened() -> None:
    with capture_spans() as captured:
        caught(Fails(ValueError("x" * 100_000)).run, {})
    [span] = captured.spans
    sizes = {
        name: len(str(value)) for event in span.events for name, value in (event.attributes or {}).items()
    }
    assert (sizes["exception.message"], sizes["exception.stacktrace"]) == (1000, 8000)
    assert len(span.status.description or "") == len("ValueError: ") + 1000


def test_messages_are_left_out_where_they_are_to_be_masked() -> None:
    class Retried(Node):
        def exec(self, prep_res: object) -> None:
            try:
                raise KeyError("secret cause")
            except KeyError as cause:
                raise ValueError("secret message") from cause

    with capture_spans(Config(mask_errors=True)) as captured:
        caught(Talk(start=Retried(max_retries=2)).run, {})
    text = str([[span.status.description, span.attributes, [event.attributes for event in span.events]]
                for span in captured.spans])  # fmt: skip
    assert "secret" not in text.replace('raise KeyError("secret cause")', "").replace(
        'raise ValueError("secret message")', ""
    )
    assert {span.status.description for span in captured.spans} == {"ValueError"}


def test_a_stack_trace_leaves_our_frames_out_of_every_part_of_it() -> None:
    class Group(Node):
        def exec(self, prep_res: object) -> None:
            errors = []
            for message in ("one", "other"):
                try:
                    Fails(ValueError(message)).run({})
                except ValueError as error:
                    errors.append(error)
            raise ExceptionGroup("both", errors) from errors[0]

    with capture_spans() as captured:
        caught(Group().run, {})
    [event] = captured.one("invoke_node Group").events
    text = str((event.attributes or {})["exception.stacktrace"])
    assert "pocketflow_otel/instrument" not in text
    assert text.count("raise self.error") >= 2


def test_only_the_innermost_of_nested_flows_tells_the_whole_story() -> None:
    error = ValueError("deep")
    with capture_spans() as captured:
        caught(Talk(start=Talk(start=Talk(start=Fails(error)))).run, {})
    assert exceptions(captured) == [("invoke_node Fails", "deep")]
    assert set(statuses(captured)) == {"invoke_node Fails ERROR", "invoke_workflow Talk ERROR"}


def test_a_flow_that_fails_by_itself_tells_it_itself() -> None:
    class Broken(Flow):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            raise ValueError("broken")

    class Lost(Node):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> list[int]:
            return [1]  # which no dict can look up

    with capture_spans() as captured:
        caught(Broken(start=Node()).run, {})
        unhashable = caught(Talk(start=Lost()).run, {})
    assert exceptions(captured) == [
        ("invoke_workflow Broken", "broken"),
        ("invoke_workflow Talk", str(unhashable)),
    ]
    assert captured.tree(ERROR).splitlines() == [
        "invoke_workflow Broken type=ValueError",
        "  invoke_node Node",
        "invoke_workflow Talk type=TypeError",
        "  invoke_node Lost",
    ]


def test_an_item_that_fails_tells_it_for_its_node() -> None:
    class Items(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2, 3]

        def exec(self, prep_res: int) -> int:
            return 1 // (prep_res - 2)

    class Rounds(BatchFlow):
        def prep(self, shared: Store) -> list[Store]:
            return [{}, {}]

    with capture_spans() as captured:
        error = caught(Rounds(start=Items()).run, {})
    assert captured.tree("pocketflow.batch.index", ERROR, PHASE).splitlines() == [
        "invoke_workflow Rounds type=ZeroDivisionError",
        "  batch_item index=0 type=ZeroDivisionError",
        "    invoke_node Items type=ZeroDivisionError phase=exec",
        "      batch_item index=0",
        "      batch_item index=1 type=ZeroDivisionError",
    ]
    assert exceptions(captured) == [("batch_item", str(error))]


def test_an_error_that_a_node_mends_is_that_of_the_inner_flow_alone() -> None:
    class Mends(Node):
        def exec(self, prep_res: object) -> str:
            try:
                Talk(start=Fails(ValueError("inner"))).run({})
            except ValueError:
                return "mended"
            return "fine"

    class Hides(Node):
        def exec(self, prep_res: object) -> None:
            try:
                Talk(start=Fails(ValueError("inner"))).run({})
            except ValueError:
                raise KeyError("outer") from None

    with capture_spans() as captured:
        Mends().run({})
        caught(Hides().run, {})
    assert captured.tree(ERROR).splitlines() == [
        "invoke_node Mends",
        "  invoke_workflow Talk type=ValueError",
        "    invoke_node Fails type=ValueError",
        "invoke_node Hides type=KeyError",
        "  invoke_workflow Talk type=ValueError",
        "    invoke_node Fails type=ValueError",
    ]
    assert exceptions(captured) == [
        ("invoke_node Fails", "inner"),
        ("invoke_node Fails", "inner"),
        ("invoke_node Hides", "'outer'"),
    ]


def test_a_fallback_that_raises_tells_its_own_error() -> None:
    class Worse(Node):
        def exec(self, prep_res: object) -> None:
            raise ValueError("bad")

        def exec_fallback(self, prep_res: object, exc: Exception) -> None:
            raise KeyError("worse") from exc

    with capture_spans() as captured:
        caught(Worse(max_retries=2).run, {})
    span = captured.one("invoke_node Worse")
    assert ([event.name for event in span.events], span.status.description) == (
        ["pocketflow.attempt.failed", "pocketflow.attempt.failed", "exception"],
        "KeyError: 'worse'",
    )


def test_one_item_of_a_gather_fails_and_the_others_end_when_they_end() -> None:
    class Items(AsyncParallelBatchNode):
        async def prep_async(self, shared: Store) -> list[int]:
            return [0, 1, 2]

        async def exec_async(self, prep_res: int) -> None:
            if prep_res == 1:
                raise ValueError("second")
            await (asyncio.sleep(0) if prep_res == 0 else asyncio.sleep(60))

    async def main() -> None:
        await LaterTalk(start=Items()).run_async({})

    with capture_spans() as captured:
        error = caught(asyncio.run, main())
    assert isinstance(error, ValueError)
    assert captured.tree("pocketflow.batch.index", ERROR).splitlines() == [
        "invoke_workflow LaterTalk type=ValueError",
        "  invoke_node Items type=ValueError",
        "    batch_item index=0",
        "    batch_item index=1 type=ValueError",
        "    batch_item index=2 type=asyncio.exceptions.CancelledError",
    ]
    assert exceptions(captured) == [("batch_item", "second"), ("batch_item", "")]


def test_rounds_that_are_cancelled_end_their_spans() -> None:
    waiting: list[object] = []

    class Waits(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            waiting.append(self)
            if len(waiting) == 2:
                self.params["limit"].reschedule(0)
            await asyncio.sleep(60)

    class Rounds(AsyncParallelBatchFlow):
        async def prep_async(self, shared: Store) -> list[Store]:
            return [shared, shared]

    async def main() -> None:
        async with asyncio.timeout(None) as limit:
            await Rounds(start=Waits()).run_async({"limit": limit})

    with capture_spans() as captured:
        assert isinstance(caught(asyncio.run, main()), TimeoutError)
    cancelled = "type=asyncio.exceptions.CancelledError"
    assert captured.tree(ERROR, PHASE).splitlines() == [
        f"invoke_workflow Rounds {cancelled}",
        f"  batch_item {cancelled}",
        f"    invoke_node Waits {cancelled} phase=exec",
        f"  batch_item {cancelled}",
        f"    invoke_node Waits {cancelled} phase=exec",
    ]


def test_a_step_cancelled_while_it_waits_for_its_next_attempt_ends() -> None:
    class Retried(AsyncNode):
        async def prep_async(self, shared: Store) -> Any:
            return shared["limit"]

        async def exec_async(self, prep_res: Any) -> None:
            prep_res.reschedule(0)
            raise ConnectionError("no answer")

    async def main() -> None:
        async with asyncio.timeout(None) as limit:
            await Retried(max_retries=2, wait=60).run_async({"limit": limit})

    with capture_spans() as captured:
        assert isinstance(caught(asyncio.run, main()), TimeoutError)
    span = captured.one("invoke_node Retried")
    assert captured.tree(ERROR, PHASE, "pocketflow.node.attempts") == (
        "invoke_node Retried type=asyncio.exceptions.CancelledError phase=exec attempts=1"
    )
    assert [event.name for event in span.events] == ["pocketflow.attempt.failed", "exception"]


def test_a_task_group_gets_the_errors_of_its_flows() -> None:
    class Waits(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.sleep(60)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(LaterTalk(start=FailsLater(error)).run_async({}))
            group.create_task(LaterTalk(start=Waits()).run_async({}))

    error = ValueError("one of two")
    with capture_spans() as captured:
        group = caught(asyncio.run, main())
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (error,)
    assert captured.tree(ERROR).splitlines() == [
        "invoke_workflow LaterTalk type=ValueError",
        "  invoke_node FailsLater type=ValueError",
        "invoke_workflow LaterTalk type=asyncio.exceptions.CancelledError",
        "  invoke_node Waits type=asyncio.exceptions.CancelledError",
    ]


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "without an SDK"])
@pytest.mark.parametrize("elsewhere", [True, False], ids=["from elsewhere", "where it runs"])
def test_a_coroutine_that_is_closed_ends_its_spans(
    traced: bool, elsewhere: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Waits(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.Future()

    def close(coroutine: Any) -> None:
        asyncio.set_event_loop(None)
        coroutine.close()

    def run() -> None:
        coroutine = LaterTalk(start=Waits()).run_async({})
        loop = asyncio.new_event_loop()
        asyncio._set_running_loop(loop)
        try:
            coroutine.send(None)
        finally:
            asyncio._set_running_loop(None)
            loop.close()
        if elsewhere:
            thread = threading.Thread(target=close, args=(coroutine,))
            thread.start()
            thread.join()
            inside.append(get_current().get(SCOPE_KEY) is not None)
        else:
            coroutine.close()
            assert get_current() is before

    before = get_current()
    inside: list[bool] = []
    if not traced:
        instrumentor = PocketFlowInstrumentor()
        instrumentor.instrument(config=Config())
        try:
            isolated(run)
        finally:
            instrumentor.uninstrument()
    else:
        with capture_spans() as captured:
            isolated(run)
        assert captured.tree(ERROR).splitlines() == [
            "invoke_workflow LaterTalk type=GeneratorExit",
            "  invoke_node Waits type=GeneratorExit",
        ]
    assert caplog.records == []


def isolated(run: Any) -> None:
    """Call `run` in a thread of its own, whose context dies with it."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    for error in errors:
        raise error


def test_the_same_error_raised_again_and_again_is_told_where_it_arises() -> None:
    class Again(Node):
        def exec(self, prep_res: object) -> None:
            for _ in range(40):
                caught(Fails(error).run, {})
            raise error

    error = ValueError("again")
    with capture_spans() as captured:
        assert caught(Again().run, {}) is error
    assert [span for span, _ in exceptions(captured)] == ["invoke_node Fails"] * 40


def test_a_node_does_not_keep_every_error_below_it_alive() -> None:
    class Thing:
        pass

    class Keeps(BaseNode):  # A Node's own fallback makes a cycle.
        def exec(self, prep_res: object) -> None:
            thing = Thing()
            references.append(weakref.ref(thing))
            raise ValueError("broken")

    class Swallows(Node):
        def exec(self, prep_res: object) -> None:
            for _ in range(100):
                caught(Keeps().run, {})
            alive.append(sum(reference() is not None for reference in references))

    references: list[weakref.ref[Thing]] = []
    alive: list[int] = []
    gc.collect()
    gc.disable()
    try:
        Swallows().run({})
        with capture_spans():
            Swallows().run({})
    finally:
        gc.enable()
    assert alive == [0, 16]


def test_a_span_of_another_library_in_a_step_that_fails_is_left_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Leaves(Node):
        def exec(self, prep_res: object) -> None:
            span = captured.provider.get_tracer("other").start_span("left open")
            trace.use_span(span).__enter__()
            raise ValueError("broken")

    before = get_current()
    with capture_spans() as captured:
        caught(Talk(start=Leaves()).run, {})
        assert get_current() is before
    assert exceptions(captured) == [("invoke_node Leaves", "broken")]
    assert caplog.records == []


def test_a_provider_that_was_shut_down_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Fine(Node):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> str:
            return "fine"

    provider = TracerProvider(shutdown_on_exit=False)
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(tracer_provider=provider, config=Config())
    try:
        provider.shutdown()
        assert Talk(start=Fine()).run({}) == "fine"
    finally:
        instrumentor.uninstrument()
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


def test_ended_spans_are_never_written_to(caplog: pytest.LogCaptureFixture) -> None:
    async def late() -> None:
        await asyncio.sleep(0)
        caught(Talk(start=Fails(ValueError("late"))).run, {})

    class Spawns(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            tasks.append(asyncio.create_task(late()))

    async def main() -> None:
        await LaterTalk(start=Spawns()).run_async({})
        await asyncio.gather(*tasks)

    tasks: list[asyncio.Task[None]] = []
    with capture_spans() as captured:
        asyncio.run(main())
    assert captured.tree(ERROR).splitlines() == [
        "invoke_workflow LaterTalk",
        "  invoke_node Spawns",
        "    invoke_workflow Talk type=ValueError",
        "      invoke_node Fails type=ValueError",
    ]
    assert caplog.records == []


def story(span: ReadableSpan) -> str:
    return str((span.events[-1].attributes or {})["exception.stacktrace"])


def test_a_stack_trace_starts_at_the_users_call() -> None:
    with capture_spans() as captured:
        caught(Fails(ValueError("broken")).run, {})
    lines = story(captured.one("invoke_node Fails")).splitlines()
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", "ValueError: broken")
    assert sum("raise self.error" in line for line in lines) == 1
