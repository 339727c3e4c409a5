"""Methods that the user's own classes define give one span a call, however the classes are made."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node
from tests.support.variants import load

from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from tests.support.instrumented import Spans, Store

T = TypeVar("T")


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


def test_classes_that_cannot_be_hashed_are_traced() -> None:
    class ByName(type):
        def __eq__(cls, other: object) -> bool:  # And no `__hash__`.
            return isinstance(other, type) and cls.__name__ == other.__name__

    with capture_spans() as captured:

        class Own(Node, metaclass=ByName):
            def _exec(self, prep_res: object) -> object:
                return self.exec(prep_res)

            def exec(self, prep_res: object) -> int:
                return 1

            def _run(self, shared: Store) -> object:
                return super()._run(shared)

        Own().run({})
    assert type(Own.__dict__["_run"]) is FunctionType
    assert captured.tree("pocketflow.node.attempts") == "invoke_node Own attempts=1"


def test_a_class_that_cannot_be_changed_is_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    from pocketflow_otel.guard import set_strict

    class Frozen(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise AttributeError("frozen")

    module = load("0.0.3", "_pocketflow_stubborn")  # Its classes can be put back by nobody.

    class Stubborn(module.Node, metaclass=Frozen):  # type: ignore[misc, name-defined]
        def _exec(self, prep_res: object) -> object:
            return self.exec(prep_res)

    class Willing(module.Node):  # type: ignore[misc, name-defined]
        def _exec(self, prep_res: object) -> object:
            return self.exec(prep_res)

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
