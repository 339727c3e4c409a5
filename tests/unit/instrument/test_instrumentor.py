"""`PocketFlowInstrumentor`: what is switched on can be switched off, and nothing else changes."""

from __future__ import annotations

import functools
import gc
import logging
import sys
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from pocketflow import AsyncBatchFlow, BaseNode, BatchNode, Node
from tests.support.instrumented import Ask, Spans, Store, Talk
from tests.support.variants import VARIANTS, load, variant

from pocketflow_otel import Config, PocketFlowInstrumentor
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


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
    def run(self: Node, shared: Store) -> int:
        return 1

    instrumentor.instrument(tracer_provider=Spans().provider, config=Config())
    cls = type("Meanwhile", (Node,), {"_run": run})
    replaced = cls.__dict__["_run"]
    instrumentor.uninstrument()
    assert (replaced is run, cls.__dict__["_run"] is run) == (False, True)


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


def test_tracing_that_cannot_be_switched_on_is_switched_off_whole() -> None:
    class Frozen(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise AttributeError("frozen")

    module = load("0.0.3", "_pocketflow_stubborn_too")
    before = attributes_of_every_class(module.BaseNode)

    class Stubborn(module.Node, metaclass=Frozen):  # type: ignore[misc, name-defined]
        def _run(self, shared: Store) -> int:
            return 1

    with pytest.raises(AttributeError, match="frozen"), capture_spans(module=module):
        pytest.fail("strict guards should not have let it come so far")
    after = attributes_of_every_class(module.BaseNode)
    assert_identical(before, {cls: own for cls, own in after.items() if cls in before})


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
