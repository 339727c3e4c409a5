"""`PocketFlowInstrumentor`: what is switched on can be switched off, and nothing else changes."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import logging
import pickle
import sys
import warnings
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pocketflow
import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from pocketflow import AsyncBatchFlow, AsyncFlow, AsyncNode, BaseNode, BatchFlow, BatchNode, Flow, Node
from tests.support.variants import VARIANTS, load, variant

from pocketflow_otel import Config, PocketFlowInstrumentor
from pocketflow_otel.instrument.scopes.batch import BatchState
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.scope import Scope
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

Store = dict[str, Any]
T = TypeVar("T")


class Ask(Node):
    def exec(self, prep_res: object) -> str:
        return "answer"

    def post(self, shared: Store, prep_res: object, exec_res: str) -> None:
        shared["answer"] = exec_res


class Talk(Flow):
    pass


class AskLater(AsyncNode):
    async def exec_async(self, prep_res: object) -> str:
        return "answer"

    async def post_async(self, shared: Store, prep_res: object, exec_res: str) -> None:
        shared["answer"] = exec_res


class Spans:
    """A provider, and what was ended on it."""

    def __init__(self, **settings: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **settings)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]


@pytest.fixture
def instrumentor() -> Iterator[PocketFlowInstrumentor]:
    instrumentor = PocketFlowInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def spans(instrumentor: PocketFlowInstrumentor) -> Spans:
    """Switch tracing on, to a provider of its own."""
    spans = Spans()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    return spans


def attributes_of_every_class(root: type = BaseNode) -> dict[type, dict[str, object]]:
    """Return what every class below `root`, the user's included, has of its own."""
    found = {root: dict(vars(root))}
    for cls in root.__subclasses__():
        found |= attributes_of_every_class(cls)
    return found


def assert_identical(one: dict[type, dict[str, object]], other: dict[type, dict[str, object]]) -> None:
    """Compare attributes by identity and order: a wrapped function equals the one it wraps."""
    shown = [
        {cls: [(name, id(value)) for name, value in own.items()] for cls, own in classes.items()}
        for classes in (one, other)
    ]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("times", [1, 3])
def test_every_class_is_put_back_as_it_was(instrumentor: PocketFlowInstrumentor, times: int) -> None:
    class Mixin:
        def exec(self, prep_res: object) -> int:
            return 1

        def _run(self, shared: Store) -> object:
            return super()._run(shared)  # type: ignore[misc]

    class Mixed(Mixin, Node):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            pass

    class Deeper(Mixed):
        def exec_fallback(self, prep_res: object, exc: Exception) -> int:
            return 2

    class Rounds(AsyncBatchFlow):
        async def prep_async(self, shared: Store) -> list[Store]:
            return []

    gc.collect()
    before, mixin = attributes_of_every_class(), dict(vars(Mixin))
    for _ in range(times):
        instrumentor.instrument(tracer_provider=Spans().provider, config=Config())
        assert "__init_subclass__" in vars(BaseNode)
        instrumentor.uninstrument()
    assert_identical(before, attributes_of_every_class())
    assert_identical({Mixin: mixin}, {Mixin: dict(vars(Mixin))})
    assert "__init_subclass__" not in vars(BaseNode)


def test_classes_defined_meanwhile_are_put_back_too(instrumentor: PocketFlowInstrumentor) -> None:
    def exec_(self: Node, prep_res: object) -> int:
        return 1

    instrumentor.instrument(tracer_provider=Spans().provider, config=Config())
    cls = type("Meanwhile", (Node,), {"exec": exec_})
    replaced = cls.__dict__["exec"]
    instrumentor.uninstrument()
    assert (replaced is exec_, cls.__dict__["exec"] is exec_) == (False, True)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_put_back_as_it_was(name: str) -> None:
    module = variant(name)
    gc.collect()
    before = attributes_of_every_class(module.BaseNode)
    with capture_spans(module=module):
        assert "__wrapped__" in vars(module.BaseNode._run)
    assert_identical(before, attributes_of_every_class(module.BaseNode))


def test_instances_made_before_are_traced(instrumentor: PocketFlowInstrumentor) -> None:
    flow, spans = Talk(start=Ask()), Spans()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    flow.run({})
    instrumentor.uninstrument()
    flow.run({})
    assert spans.names == ["invoke_node Ask", "invoke_workflow Talk"]


def test_instances_and_bound_methods_kept_from_before_follow_the_switch(
    instrumentor: PocketFlowInstrumentor,
) -> None:
    spans = Spans()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    run = Ask().run
    kept = Ask()._run
    instrumentor.uninstrument()
    run({})
    kept({})
    assert spans.names == []


def test_switching_on_twice_traces_once(
    spans: Spans, instrumentor: PocketFlowInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    instrumentor.instrument(tracer_provider=spans.provider)
    Ask().run({})
    assert (spans.names, caplog.messages) == (
        ["invoke_node Ask"],
        ["Attempting to instrument while already instrumented"],
    )


def test_switching_off_in_the_middle_of_a_run_ends_its_spans(
    spans: Spans, instrumentor: PocketFlowInstrumentor
) -> None:
    class Off(Node):
        def exec(self, prep_res: object) -> None:
            instrumentor.uninstrument()

    off = Off()
    off >> Ask()
    store: Store = {}
    Talk(start=off).run(store)
    assert (store, spans.names) == ({"answer": "answer"}, ["invoke_node Off", "invoke_workflow Talk"])


def test_a_wrapper_that_somebody_put_around_ours_passes_calls_on(
    instrumentor: PocketFlowInstrumentor,
) -> None:
    class Theirs(Node):
        def _run(self, shared: Store) -> object:
            return super()._run(shared)

        def exec(self, prep_res: object) -> int:
            return 1

        def post(self, shared: Store, prep_res: object, exec_res: int) -> str:
            return f"done {exec_res}"

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(function)(lambda *args: calls.append(function.__name__) or function(*args))

    calls: list[str] = []
    spans = Spans()
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    for name in ("_run", "exec"):
        setattr(Theirs, name, wrapped(vars(Theirs)[name]))
    during = Theirs().run({})
    instrumentor.uninstrument()
    after = Theirs().run({})
    assert (during, after, calls, spans.names) == (
        "done 1",
        "done 1",
        ["_run", "exec"] * 2,
        ["invoke_node Theirs"],
    )
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    assert (Theirs().run({}), spans.names) == ("done 1", ["invoke_node Theirs"] * 2)


def test_a_wrapper_of_ours_that_somebody_put_back_late_is_replaced_anew(
    instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Patched(Node):
        def _run(self, shared: Store) -> str:
            return "real"

    first, second = Spans(), Spans()
    instrumentor.instrument(tracer_provider=first.provider, config=Config())
    with monkeypatch.context() as patch:
        patch.setattr(Patched, "_run", lambda self, shared: "mock")
        instrumentor.uninstrument()
    instrumentor.instrument(tracer_provider=second.provider, config=Config())
    assert (Patched().run({}), first.names, second.names) == ("real", [], ["invoke_node Patched"])


def test_others_around_our_constructor_and_hook_switch_nothing_on_again() -> None:
    module = load("0.0.3", "_pocketflow_wrapped")

    def exec_(self: Node, prep_res: object) -> int:
        return 1

    with capture_spans(module=module):
        constructor, hook = module.Flow.__init__, vars(module.BaseNode)["__init_subclass__"].__func__
        module.Flow.__init__ = lambda self, start=None: constructor(self, start)
        module.BaseNode.__init_subclass__ = classmethod(lambda cls, **kwargs: hook(cls, **kwargs))
    flow, cls = module.Flow(), type("Later", (module.Node,), {"exec": exec_})
    assert (vars(flow), vars(cls)["exec"]) == ({"params": {}, "successors": {}, "start_node": None}, exec_)


def test_an_override_without_super_gives_one_span(spans: Spans) -> None:
    class Own(Node):
        def _run(self, shared: Store) -> str:
            return "own"

    class OwnAsync(AsyncNode):
        async def _run_async(self, shared: Store) -> str:
            return "own"

    class OwnFlow(Flow):
        def _run(self, shared: Store) -> object:
            return self._orch(shared)

    assert (Own().run({}), asyncio.run(OwnAsync().run_async({})), OwnFlow(start=Own()).run({})) == (
        "own",
        "own",
        "own",
    )
    assert spans.names == [
        "invoke_node Own",
        "invoke_node OwnAsync",
        "invoke_node Own",
        "invoke_workflow OwnFlow",
    ]


def test_a_chain_of_supers_gives_one_span(spans: Spans) -> None:
    class First(Node):
        def _run(self, shared: Store) -> object:
            return super()._run(shared)

    class Mixin:
        def _run(self, shared: Store) -> object:
            return super()._run(shared)  # type: ignore[misc]

    class Second(Mixin, First):
        def _run(self, shared: Store) -> object:
            super()._run(shared)
            return super()._run(shared)

    class LaterFlow(AsyncFlow):
        async def _run_async(self, shared: Store) -> object:
            return await super()._run_async(shared)

    asyncio.run(LaterFlow(start=Second()).run_async({}))
    assert spans.names == ["invoke_node Second", "invoke_workflow LaterFlow"]


def test_an_override_that_gives_super_another_store_gives_one_span(spans: Spans) -> None:
    class Isolated(Node):
        def _run(self, shared: Store) -> object:
            return super()._run({**shared})

    class IsolatedFlow(Flow):
        def _run(self, shared: Store) -> object:
            return super()._run({**shared})

    IsolatedFlow(start=Isolated()).run({})
    assert spans.names == ["invoke_node Isolated", "invoke_workflow IsolatedFlow"]


def test_an_async_node_that_runs_as_a_sync_one_too_gives_one_span(spans: Spans) -> None:
    class Both(AsyncNode):
        def _run(self, shared: Store) -> str:
            return "ran"

        async def _run_async(self, shared: Store) -> str:
            return self._run(shared)

    ran = Both().run({}), asyncio.run(Both().run_async({}))
    assert (ran, spans.names) == (("ran", "ran"), ["invoke_node Both"] * 2)


def test_the_phases_and_attempts_of_an_override_of_exec_itself_are_seen() -> None:
    class Twice(Node):
        def _exec(self, prep_res: object) -> list[object]:
            return [super()._exec(prep_res), super()._exec(prep_res)]  # type: ignore[misc]

        def exec(self, prep_res: object) -> int:
            return 1

    class Alone(Node):
        def _exec(self, prep_res: object) -> int:
            return int(self.exec(prep_res))

        def exec(self, prep_res: object) -> int:
            return 1

        def post(self, shared: Store, prep_res: object, exec_res: int) -> None:
            raise ValueError("broken")

    class Reversed(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2]

        def _exec(self, items: list[int]) -> list[object]:
            return list(super()._exec(items[::-1]))  # type: ignore[misc]

    with capture_spans() as captured:
        Twice().run({})
        with pytest.raises(ValueError, match="broken"):
            Alone().run({})
        Reversed().run({})
    assert captured.tree(
        "pocketflow.node.attempts", "pocketflow.error.phase", "pocketflow.batch.size"
    ).splitlines() == [
        "invoke_node Twice attempts=2",
        "invoke_node Alone attempts=1 phase=post",
        "invoke_node Reversed size=2",
        "  batch_item attempts=1 size=2",
        "  batch_item attempts=1 size=2",
    ]


def test_a_mixin_defines_the_methods(spans: Spans) -> None:
    class Runs:
        def _run(self, shared: Store) -> str:
            return "mixed"

    class Executes:
        def exec(self, prep_res: object) -> str:
            return "mixed"

    class RunsNode(Runs, Node):
        pass

    class ExecutesNode(Executes, Node):
        def post(self, shared: Store, prep_res: object, exec_res: str) -> str:
            return exec_res

    assert (RunsNode().run({}), ExecutesNode().run({}), Executes().exec(None), Runs()._run({})) == (
        "mixed",
    ) * 4
    assert spans.names == ["invoke_node RunsNode", "invoke_node ExecutesNode"]


def test_classes_of_every_making_are_traced() -> None:
    with capture_spans() as captured:

        @dataclass
        class Plain(Node):
            depth: int = 1
            seen: list[int] = field(default_factory=list)

            def __post_init__(self) -> None:
                super().__init__(max_retries=2)

            def exec(self, prep_res: object) -> int:
                return self.depth

        @dataclass(slots=True)
        class Slotted(Node):
            depth: int = 1

            def __post_init__(self) -> None:
                Node.__init__(self)

            def exec(self, prep_res: object) -> int:
                return self.depth

        class Abstract(Node, ABC):
            @abstractmethod
            def exec(self, prep_res: object) -> int: ...

        class Concrete(Abstract):
            def exec(self, prep_res: object) -> int:
                return 1

        class Typed(Node, Generic[T]):
            def exec(self, prep_res: T) -> T:
                return prep_res

        for node in (Plain(), Slotted(), Concrete(), Typed[int]()):
            node.run({})
        with pytest.raises(TypeError, match="abstract"):
            Abstract()  # type: ignore[abstract]
    assert captured.tree("pocketflow.node.attempts").splitlines() == [
        "invoke_node Plain attempts=1",
        "invoke_node Slotted attempts=1",
        "invoke_node Concrete attempts=1",
        "invoke_node Typed attempts=1",
    ]


@pytest.mark.parametrize("calls_super", [True, False])
def test_a_class_with_a_hook_of_its_own_keeps_it(calls_super: bool) -> None:
    registry: dict[str, object] = {}

    class Registered(Node):
        def __init_subclass__(cls, label: str = "", **kwargs: Any) -> None:
            if calls_super:
                super().__init_subclass__(**kwargs)
            registry[cls.__name__] = label

    with capture_spans() as captured:

        class Known(Registered, label="known"):
            def exec(self, prep_res: object) -> int:
                return 1

        class KnownToo(Known):
            def exec(self, prep_res: object) -> int:
                return 2

            def _run(self, shared: Store) -> object:
                return self._exec(None)  # type: ignore[misc]

        KnownToo().run({})
    assert registry == {"Known": "known", "KnownToo": ""}
    assert captured.tree("pocketflow.node.attempts") == "invoke_node KnownToo attempts=1"


def test_the_hook_that_generic_classes_share_stays() -> None:
    hook = Generic.__dict__.get("__init_subclass__")

    class Typed(Node, Generic[T]):
        pass

    with capture_spans():
        assert Generic.__dict__.get("__init_subclass__") is hook


def test_a_class_that_cannot_be_changed_is_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    from pocketflow_otel.guard import set_strict

    class Frozen(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise AttributeError("frozen")

    module = load("0.0.3", "_pocketflow_stubborn")  # Its classes can be put back by nobody.

    class Stubborn(module.Node, metaclass=Frozen):  # type: ignore[misc, name-defined]
        def exec(self, prep_res: object) -> int:
            return 1

    class Willing(module.Node):  # type: ignore[misc, name-defined]
        def exec(self, prep_res: object) -> int:
            return 1

    set_strict(False)
    with capture_spans(module=module) as captured:

        class More(Stubborn):
            def exec(self, prep_res: object) -> int:
                return 2

        for cls in (Stubborn, More, Willing):
            cls().run({})
    assert captured.tree("pocketflow.node.attempts").splitlines() == [
        "invoke_node Stubborn",
        "invoke_node More",
        "invoke_node Willing attempts=1",
    ]
    assert [record.message for record in caplog.records] == [
        "pocketflow-otel could not instrument a class; the flow goes on (reported once)"
    ]


def test_tracing_that_cannot_be_switched_on_is_switched_off_whole() -> None:
    class Frozen(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise AttributeError("frozen")

    module = load("0.0.3", "_pocketflow_stubborn_too")
    before = attributes_of_every_class(module.BaseNode)

    class Stubborn(module.Node, metaclass=Frozen):  # type: ignore[misc, name-defined]
        def exec(self, prep_res: object) -> int:
            return 1

    with pytest.raises(AttributeError, match="frozen"), capture_spans(module=module):
        pytest.fail("strict guards should not have let it come so far")
    after = attributes_of_every_class(module.BaseNode)
    assert_identical(before, {cls: own for cls, own in after.items() if cls in before})


class Copied(Node):
    """At module level, where pickle finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: list[Any] = []

    def exec(self, prep_res: Any) -> str:
        if prep_res == "copy":
            for copied in (copy.copy, copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node))):
                self.ways += [copied(self).exec(None), copied(self.exec)(None), copied(self._run)({})]
        return "executed"

    def prep(self, shared: Store) -> object:
        return shared.get("do")

    def post(self, shared: Store, prep_res: object, exec_res: object) -> object:
        return exec_res


def test_a_node_can_be_pickled_and_copied_also_from_its_own_exec() -> None:
    node = Copied()
    with capture_spans() as captured:
        node.run({"do": "copy"})
        flow = pickle.loads(pickle.dumps(Talk(start=Copied())))
        flow.run({})
    assert node.ways == ["executed"] * 9
    assert captured.tree().splitlines() == [
        "invoke_node Copied",
        *["  invoke_node Copied"] * 3,
        "invoke_workflow Talk",
        "  invoke_node Copied",
    ]


@pytest.mark.parametrize("method", ["run_async", "_run_async", "exec_async", "post_async"])
def test_a_bound_async_method_can_be_pickled_and_copied(method: str) -> None:
    node = AskLater()
    with capture_spans():
        bound = getattr(node, method)
        copies = [copy.copy(bound), copy.deepcopy(bound), pickle.loads(pickle.dumps(bound))]
    assert [(type(copied), copied.__name__, type(copied.__self__)) for copied in copies] == [
        (type(bound), method, AskLater)
    ] * 3


def test_wrapped_methods_look_like_the_bare_ones() -> None:
    def looks() -> list[object]:
        methods = [
            (cls, name)
            for cls in (BaseNode, Flow, Ask, AskLater, AsyncFlow, BatchFlow)
            for name in ("_run", "_exec", "exec", "exec_async", "_orch", "_orch_async", "__init__")
            if name in vars(cls)
        ]
        return [
            (name, inspect.signature(method), inspect.iscoroutinefunction(method), method.__qualname__)
            for cls, name in methods
            for method in [vars(cls)[name]]
        ]

    bare = looks()
    with capture_spans():
        assert looks() == bare


def test_a_coroutine_that_nobody_awaits_is_told_by_its_own_name() -> None:
    def warned() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            AskLater().exec_async(None)
            AskLater().run_async({})
            gc.collect()
        return [str(warning.message) for warning in caught]

    bare = warned()
    with capture_spans():
        assert warned() == bare
    assert bare[0] == "coroutine 'AskLater.exec_async' was never awaited"


def test_a_warning_of_pocketflow_comes_from_its_own_line_and_as_often() -> None:
    def warned() -> list[tuple[str, str, int]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            pocketflow.__dict__.pop("__warningregistry__", None)
            for _ in range(3):
                ask = Ask()
                ask - "never" >> Ask()
                Talk(start=ask).run({})
                ask.run({})
        return [(str(warning.message), warning.filename, warning.lineno) for warning in caught]

    bare = warned()
    with capture_spans():
        traced = warned()
    assert traced == bare
    assert [message for message, _, _ in bare] == [
        "Flow ends: 'None' not found in ['never']",
        "Node won't run successors. Use Flow.",
    ]
    assert {file for _, file, _ in bare} == {pocketflow.__file__}


def test_an_error_passes_one_frame_of_ours_a_call() -> None:
    class Fails(Node):
        def exec(self, prep_res: object) -> None:
            raise ValueError("broken")

    def frames() -> int:
        with pytest.raises(ValueError, match="broken") as caught:
            Talk(start=Fails()).run({})
        return len(caught.traceback)

    bare = frames()
    with capture_spans():
        traced = frames()
    calls = ["Flow._run", "Flow._orch", "Fails._run", "Fails._exec", "Fails.exec"]
    assert traced - bare == len(calls)


def test_what_a_step_held_dies_as_it_would_without_us() -> None:
    class Thing:
        pass

    class Makes(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2]

        def exec(self, prep_res: object) -> Thing:
            return Thing()

        def post(self, shared: Store, prep_res: object, exec_res: list[Thing]) -> None:
            self.own = Thing()
            references.extend(map(weakref.ref, (self, self.own, *exec_res)))

    class Fails(Node):
        def exec(self, prep_res: object) -> None:
            local = Thing()
            references.append(weakref.ref(local))
            raise ValueError("broken")

        def exec_fallback(self, prep_res: object, exc: Exception) -> None:
            pass

    references: list[weakref.ref[Any]] = []
    with capture_spans():
        makes = Makes()
        makes >> Fails()
        flow = Talk(start=makes)
        gc.collect()
        gc.disable()
        try:
            flow.run({})
            assert [reference() for reference in references] == [None] * 5
        finally:
            gc.enable()


def test_what_an_attempt_held_dies_before_the_next() -> None:
    class Thing:
        pass

    class Fails(Node):
        def exec(self, prep_res: object) -> None:
            note_alive()
            thing = Thing()
            references.append(weakref.ref(thing))
            raise ValueError("broken")

        def exec_fallback(self, prep_res: object, exc: Exception) -> None:
            note_alive()

        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            note_alive()

    def note_alive() -> None:
        alive.append([reference() is not None for reference in references])

    def run() -> list[list[bool]]:
        references.clear()
        alive.clear()
        gc.collect()
        gc.disable()
        try:
            Fails(max_retries=2).run({})
        finally:
            gc.enable()
        return list(alive)

    references: list[weakref.ref[Thing]] = []
    alive: list[list[bool]] = []
    bare = run()
    with capture_spans():
        assert run() == bare == [[], [False], [False, True], [False, False]]


def test_a_step_leaves_no_cycle_behind() -> None:
    class Items(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2]

    class Rounds(BatchFlow):
        def prep(self, shared: Store) -> list[Store]:
            return [{}, {}]

    def ours() -> list[object]:
        return [thing for thing in gc.get_objects() if isinstance(thing, Scope | CallHandler | BatchState)]

    items = Items()
    items >> Ask()
    flow = Rounds(start=items)
    with capture_spans():
        gc.collect()
        gc.disable()
        try:
            before = ours()
            flow.run({})
            assert len(ours()) == len(before)
        finally:
            gc.enable()


def test_a_context_that_outlives_its_step_keeps_nothing_of_the_user_alive() -> None:
    class Store(dict[str, Any]):
        pass

    class Schedules(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            tasks.append(asyncio.create_task(asyncio.sleep(0.01)))

    async def main() -> object:
        store = Store()
        reference = weakref.ref(store)
        await AsyncFlow(start=Schedules()).run_async(store)
        del store
        left = reference()
        await tasks[0]
        return left

    tasks: list[asyncio.Task[None]] = []
    with capture_spans():
        assert asyncio.run(main()) is None


def test_nothing_is_traced_where_instrumentation_is_suppressed(spans: Spans) -> None:
    class Quiet(Node):
        def exec(self, prep_res: object) -> None:
            with suppress_instrumentation():
                Talk(start=Ask()).run({})

    with suppress_instrumentation():
        store: Store = {}
        Talk(start=Ask()).run(store)
    Quiet().run({})
    assert (store, spans.names) == ({"answer": "answer"}, ["invoke_node Quiet"])


def test_what_is_sampled_out_has_no_spans_and_runs_as_ever(instrumentor: PocketFlowInstrumentor) -> None:
    class Calls(Node):
        def exec(self, prep_res: object) -> None:
            with spans.provider.get_tracer("a client").start_as_current_span("call") as span:
                sampled.append(span.get_span_context().trace_flags.sampled)
            Ask().run(store)

    spans = Spans(sampler=ParentBased(ALWAYS_OFF))
    instrumentor.instrument(tracer_provider=spans.provider, config=Config())
    before = get_current()
    store: Store = {}
    sampled: list[bool] = []
    Talk(start=Calls()).run(store)

    class CallsLater(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            Calls().run(store)

    asyncio.run(AsyncFlow(start=CallsLater()).run_async(store))
    assert (store, sampled, spans.names) == ({"answer": "answer"}, [False, False], [])
    assert get_current() is before


def test_without_an_sdk_flows_run_as_ever(instrumentor: PocketFlowInstrumentor) -> None:
    instrumentor.instrument(config=Config())
    before = get_current()
    store: Store = {}
    ask = Ask()
    ask >> Ask()
    Talk(start=ask).run(store)
    asyncio.run(AsyncFlow(start=AskLater()).run_async(store))
    with pytest.raises(RuntimeError, match="Use run_async"):
        AskLater().run(store)
    assert (store, get_current()) == ({"answer": "answer"}, before)


def test_a_provider_that_comes_later_gets_the_next_run(
    instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Node):
        def exec(self, prep_res: object) -> None:
            monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans.provider)

    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    instrumentor.instrument(config=Config())
    late = Late()
    late >> Ask()
    Talk(start=late).run({})
    during = spans.names
    Talk(start=Ask()).run({})
    assert (during, spans.names) == ([], ["invoke_node Ask", "invoke_workflow Talk"])


def test_a_run_without_a_parent_is_adopted_by_the_environment(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import baggage

    class Looks(Node):
        def exec(self, prep_res: object) -> None:
            context = trace.get_current_span().get_span_context()
            seen.append(
                (f"{context.trace_id:x}", context.trace_state.get("vendor"), baggage.get_baggage("user"))
            )

    seen: list[object] = []
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-01")
    monkeypatch.setenv("TRACESTATE", "vendor=one")
    monkeypatch.setenv("BAGGAGE", "user=ada")
    Talk(start=Looks()).run({})
    with ThreadPoolExecutor() as pool:
        pool.submit(Looks().run, {}).result()
    with spans.provider.get_tracer("outer").start_as_current_span("outer") as outer:
        Talk(start=Looks()).run({})
    outer_id = f"{outer.get_span_context().trace_id:x}"
    assert seen == [("ab" * 16, "one", "ada")] * 2 + [(outer_id, None, None)]


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{'cd' * 8}-01"])
def test_a_parent_in_the_environment_that_makes_no_sense_is_ignored(
    traceparent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", traceparent)
    with capture_spans() as captured:
        Ask().run({})
    assert captured.one("invoke_node Ask").parent is None


def test_a_parent_that_is_not_sampled_leaves_the_run_out(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'ab' * 16}-{'cd' * 8}-00")
    Ask().run({})
    assert spans.names == []


def test_the_environment_sets_what_the_caller_did_not(
    instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Items(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1, 2, 3]

    monkeypatch.setenv("POCKETFLOW_OTEL_MAX_BATCH_ITEMS", "1")
    monkeypatch.setenv("POCKETFLOW_OTEL_CONSOLE", "loud")
    spans = Spans()
    instrumentor.instrument(tracer_provider=spans.provider)
    Items().run({})
    assert spans.names == ["batch_item", "invoke_node Items"]
    [warning] = [record for record in caplog.records if record.name == "pocketflow_otel"]
    assert (warning.levelno, "POCKETFLOW_OTEL_CONSOLE='loud'" in warning.message) == (logging.WARNING, True)


def test_without_pocketflow_there_is_nothing_to_instrument(
    instrumentor: PocketFlowInstrumentor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pocketflow", None)
    before = attributes_of_every_class()
    instrumentor.instrument(tracer_provider=Spans().provider, config=Config())
    assert_identical(before, attributes_of_every_class())


def test_captured_spans_do_not_mix_with_an_instrumentor_that_is_on(spans: Spans) -> None:
    with capture_spans() as captured:
        Ask().run({})
    Ask().run({})
    assert (captured.tree(), spans.names) == ("invoke_node Ask", ["invoke_node Ask"])


def test_two_copies_of_pocketflow_are_traced_side_by_side() -> None:
    def ask(module: ModuleType) -> Any:
        return type("Ask", (module.Node,), {})()

    other = load("0.0.3", "_pocketflow_side_by_side")
    with capture_spans() as captured, capture_spans(module=other) as captured_too:
        ask(pocketflow).run({})
        ask(other).run({})
    assert (captured.tree(), captured_too.tree()) == ("invoke_node Ask", "invoke_node Ask")
