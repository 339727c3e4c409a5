"""An interrupt, wherever it comes, arrives at the program and leaves nothing of its run behind.

Python looks for signals where functions begin and where those of C have returned: what a profiler is
told of. So one can interrupt at a certain point.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import wrapt
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import Span, SpanProcessor
from pocketflow import AsyncFlow, AsyncNode, BatchFlow, BatchNode, Flow, Node

from pocketflow_otel.instrument import wrapping
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.runtime.context import make_current
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.store import observation
from pocketflow_otel.testing import CapturedSpans, capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from opentelemetry.context import Context

Store = dict[str, Any]

FOLLOWED = ("pocketflow_otel", "opentelemetry")
RESUMED = 0x20
"""Of generators: one that is closed begins for a profiler, too, but Python looks for no signals then."""


class Tries(Node):
    def exec(self, prepared: object) -> int:
        self.tries = getattr(self, "tries", 0) + 1
        if self.tries == 1:
            raise ValueError("the first time")
        return self.tries

    def post(self, shared: Store, prepared: object, executed: int) -> None:
        shared["tries"] = executed


class Items(BatchNode):
    def prep(self, shared: Store) -> list[int]:
        return [1, 2]

    def exec(self, item: int) -> int:
        return item


class Rounds(BatchFlow):
    def prep(self, shared: Store) -> list[Store]:
        return [{"round": 1}]


class Later(AsyncNode):
    async def exec_async(self, prepared: object) -> None:
        await asyncio.sleep(0)


def run_sync() -> None:
    first = Tries(2)
    first >> Items() >> Rounds(Node())
    Flow(first).run({})


def run_async() -> None:
    coroutine = AsyncFlow(Later()).run_async({})
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


class Interrupter:
    """Interrupts in our code, at points that are counted from 1.

    Args:
        points: At which.

    Attributes:
        count: How many there have been.
    """

    def __init__(self, *points: int) -> None:
        self._points = points
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event not in ("call", "c_return") or not any(name in code.co_filename for name in FOLLOWED):
            return
        if event == "call" and code.co_flags & RESUMED and frame.f_lasti > 0:
            return
        self.count += 1
        if self.count in self._points:
            try:
                raise KeyboardInterrupt
            finally:
                sys.setprofile(self if self.count < max(self._points) else None)

    def run(self, call: Callable[[], None]) -> None:
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(before)


class Begun(SpanProcessor):
    """Keeps the spans that have begun."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.spans.append(span)


@pytest.fixture
def captured() -> Iterator[CapturedSpans]:
    with capture_spans() as captured:
        yield captured


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    """Give each test its context back, whatever it leaves."""
    before = get_current()
    yield
    make_current(before)


def in_another_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def assert_nothing_is_left(captured: CapturedSpans) -> None:
    """Assert that a run that follows is a root, and that nothing is known of those before."""
    afterwards = Flow(Node())
    afterwards.name = "afterwards"
    afterwards.run({})
    assert captured.spans[-1].name == "invoke_workflow afterwards"
    assert captured.spans[-1].parent is None
    assert scope_of(get_current()) is None
    assert (wrapping.interrupted, observation._stores) == ([], {})


@pytest.mark.parametrize("run", [run_sync, run_async])
@pytest.mark.parametrize("again", [0, 3, 11], ids=["once", "and soon again", "and again"])
def test_an_interrupt_leaves_nothing(captured: CapturedSpans, run: Callable[[], None], again: int) -> None:
    for _ in range(2):
        run()
    all_points = Interrupter(0)
    all_points.run(run)
    begun = Begun()
    captured.provider.add_span_processor(begun)
    for point in range(1, all_points.count, all_points.count // 40):
        with pytest.raises(KeyboardInterrupt):
            Interrupter(point, point + again).run(run)
        assert_nothing_is_left(captured)
        assert [span.name for span in begun.spans if span.end_time is None] == []


def test_a_span_that_the_sdk_had_ended_when_it_was_interrupted_is_not_ended_again(
    captured: CapturedSpans, caplog: pytest.LogCaptureFixture
) -> None:
    class Interrupts(SpanProcessor):
        def on_end(self, span: object) -> None:
            raise KeyboardInterrupt

    captured.provider.add_span_processor(Interrupts())
    with pytest.raises(KeyboardInterrupt):
        Node().run({})
    assert caplog.messages == []


def test_a_run_that_another_thread_closes_is_left_when_the_next_begins(captured: CapturedSpans) -> None:
    coroutine = AsyncFlow(Later()).run_async({})
    coroutine.send(None)
    in_another_thread(coroutine.close)
    assert_nothing_is_left(captured)


def test_an_interrupted_run_that_another_thread_ends_is_left_when_the_next_begins(
    captured: CapturedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TracedScope, "_leave", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Node().run({})
    assert scope_of(get_current()) is not None
    in_another_thread(wrapping.end_interrupted)
    assert_nothing_is_left(captured)


def test_a_wrapper_that_somebody_puts_around_pocketflows_own_method_later_is_called(
    captured: CapturedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[type] = []

    @wrapt.decorator
    def tell(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        called.append(type(instance))
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(Node, "_exec", tell(Node._exec))
    Flow(Node()).run({})
    assert called == [Node]
