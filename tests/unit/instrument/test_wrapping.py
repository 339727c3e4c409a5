"""A wrapped method is pickled, copied, awaited and warned of as the bare one is."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import warnings
from typing import Any

import pocketflow
import pytest
from pocketflow import AsyncFlow, BaseNode, BatchFlow, Flow, Node
from tests.support.instrumented import Ask, AskLater, Store, Talk

from pocketflow_otel.testing import capture_spans


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
            getattr(cls, name)
            for cls in (BaseNode, Flow, Ask, AskLater, AsyncFlow, BatchFlow)
            for name in ("_run", "_exec", "exec", "exec_async", "_orch", "_orch_async", "__init__")
            if hasattr(cls, name)
        ]
        return [
            (
                inspect.signature(method),
                inspect.getfullargspec(method),
                inspect.iscoroutinefunction(method),
                method.__qualname__,
            )
            for method in methods
        ]

    bare = looks()
    with capture_spans():
        assert looks() == bare


def test_a_coroutine_that_nobody_awaits_is_told_by_its_own_name() -> None:
    def warned() -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()  # What others left may have its own to say.
            caught.clear()
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


def test_an_error_shows_one_frame_of_ours() -> None:
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
    assert traced - bare == 1
