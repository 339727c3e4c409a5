"""PocketFlow is instrumented when a program imports it, whichever that is, as far as it goes."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import threading
import weakref
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from tests.support.processes import write
from tests.support.variants import RELEASES, VARIANTS, folder, variant

from pocketflow_otel import Config, PocketFlowInstrumentor
from pocketflow_otel.guard import guard, set_strict
from pocketflow_otel.instrument.import_hooks import ImportHooks
from pocketflow_otel.instrument.pocketflow import _ORCHESTRATION, PocketFlowPatcher
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

STEP = """
class BaseNode:
    def __init__(self): self.params, self.successors = {}, {}
    def prep(self, shared): pass
    def exec(self, prep_res): pass
    def post(self, shared, prep_res, exec_res): pass
    def _exec(self, prep_res): return self.exec(prep_res)
    def _run(self, shared): return self.post(shared, None, self._exec(self.prep(shared)))
    def run(self, shared): return self._run(shared)
"""
NODE = "class Node(BaseNode): pass\n"
FLOW = """
class Flow(BaseNode):
    def __init__(self, start=None): self.params, self.successors, self.start_node = {}, {}, start
    def _run(self, shared): return self.start_node._run(shared)
"""
_EXEC = "    def _exec(self, prep_res): return self.exec(prep_res)\n"
ABSTRACT = STEP.replace(_EXEC, "") + "class Node(BaseNode):\n" + _EXEC
ALONE = FLOW.replace("(BaseNode)", "") + "    def run(self, shared): return self._run(shared)\n"
BATCH = """
class BatchNode(Node):
    def _exec(self, items): return [super(BatchNode, self)._exec(item) for item in items]
"""
ASYNC = """
class AsyncNode:
    successors = {}
    async def exec_async(self, prep_res): return 1
    async def _run_async(self, shared): return await self.exec_async(None)
"""


@pytest.fixture(autouse=True)
def _no_pocketflow_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let it look as if no PocketFlow had been imported; a test may import one of its own from a folder."""
    theirs = sys.modules.pop("pocketflow", None)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    instrumentor = PocketFlowInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    sys.modules.pop("pocketflow", None)
    if theirs is not None:
        sys.modules["pocketflow"] = theirs


def imported(folder: Path, text: str) -> Any:
    write(folder / "pocketflow.py", text)
    importlib.invalidate_caches()
    return importlib.import_module("pocketflow")


# What a copy has


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (STEP + NODE + FLOW, "invoke_workflow Mine\n  invoke_node Greet attempts=1"),
        (STEP + NODE + ALONE, "invoke_workflow Mine\n  invoke_node Greet attempts=1"),
        (STEP + "Node = BaseNode\n" + FLOW, "invoke_workflow Mine\n  invoke_node Greet attempts=1"),
        (
            (STEP + FLOW).replace("BaseNode", "Node"),
            "invoke_workflow Mine\n  invoke_node Greet attempts=1",
        ),
        (STEP + NODE + FLOW + BATCH, "invoke_workflow Mine\n  invoke_node Greet attempts=1"),
        (ABSTRACT + FLOW, "invoke_workflow Mine\n  invoke_node Greet attempts=1"),
    ],
    ids=["sync only", "a flow that is no node", "one class of nodes", "no base", "a batch too", "abstract"],
)
def test_a_copy_that_lacks_classes_is_traced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, tree: str
) -> None:
    with capture_spans() as captured:
        module = imported(tmp_path, text)
        greet = type("Greet", (module.Node,), {"exec": lambda self, prep_res: "hello"})
        type("Mine", (module.Flow,), {})(start=greet()).run({})

    assert captured.tree("pocketflow.node.attempts") == tree
    assert caplog.messages == []


def test_async_nodes_that_inherit_from_nothing_else_are_traced(tmp_path: Path) -> None:
    with capture_spans() as captured:
        module = imported(tmp_path, STEP + NODE + FLOW + ASYNC + "    _exec = None\n")
        asyncio.run(module.AsyncNode()._run_async({}))

    assert captured.tree() == "invoke_node AsyncNode"


RUN = "return self.post(shared, None, self._exec(self.prep(shared)))"
"""The phases of a step in one line: its methods are asked for in another order than they run."""


@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
@pytest.mark.parametrize(
    "run",
    [
        RUN,
        "prepared = self.prep(shared); return self.post(shared, prepared, self._exec(prepared))",
        "done = self._exec(self.prep(shared)); return self.post(shared, None, done)",
    ],
    ids=["one expression", "post before exec", "exec before prep"],
)
def test_the_phase_that_fails_in_a_copy_is_told(tmp_path: Path, run: str, phase: str) -> None:
    def fails(self: Any, *received: object) -> None:
        raise ArithmeticError

    with capture_spans() as captured:
        module = imported(tmp_path, STEP.replace(RUN, run) + NODE + FLOW)
        with pytest.raises(ArithmeticError):
            type("Fails", (module.Node,), {phase: fails})().run({})

    (step,) = captured.spans
    assert step.attributes is not None
    assert step.attributes["pocketflow.error.phase"] == phase


HELPED = """
class Node(BaseNode):
    max_retries = 2
    def _attempt(self, prep_res): return self.exec(prep_res)
    def exec_fallback(self, prep_res, error): return "fallen back"
    def _exec(self, prep_res):
        for self.cur_retry in range(self.max_retries):
            try: return self._attempt(prep_res)
            except Exception as error:
                if self.cur_retry == self.max_retries - 1: return self.exec_fallback(prep_res, error)
                self.wait = 0
"""


def test_attempts_that_a_helper_of_a_copy_makes_are_counted_where_they_fail(tmp_path: Path) -> None:
    def fails(self: Any, prep_res: object) -> None:
        raise ValueError(self.cur_retry)

    with capture_spans() as captured:
        module = imported(tmp_path, STEP + HELPED + FLOW)
        type("Fails", (module.Node,), {"exec": fails})().run({})

    assert captured.tree("pocketflow.node.attempts", "pocketflow.node.fallback") == (
        "invoke_node Fails attempts=2 fallback=True"
    )


AFTERWARDS = """
class Node(BaseNode):
    max_retries = 2
    def exec_fallback(self, prep_res, error): return "fallen back"
    def _exec(self, prep_res):
        for self.cur_retry in range(self.max_retries):
            try: return self.exec(prep_res)
            except Exception as error: last = error
        return self.exec_fallback(prep_res, last)
"""


@pytest.mark.parametrize(
    ("failures", "said"), [(0, "attempts=1"), (1, "attempts=2"), (2, "attempts=2 fallback=True")]
)
def test_a_fallback_that_a_copy_asks_for_after_its_last_attempt_is_told(
    tmp_path: Path, failures: int, said: str
) -> None:
    def fails(self: Any, prep_res: object) -> None:
        if self.cur_retry < failures:
            raise ValueError

    with capture_spans() as captured:
        module = imported(tmp_path, STEP + AFTERWARDS + FLOW)
        type("Fails", (module.Node,), {"exec": fails})().run({})

    told = captured.tree("pocketflow.node.attempts", "pocketflow.node.fallback")
    assert told == f"invoke_node Fails {said}"


def test_the_items_of_a_copys_batches_have_spans(tmp_path: Path) -> None:
    with capture_spans() as captured:
        module = imported(tmp_path, STEP + NODE + BATCH)
        members = {"prep": lambda self, shared: [1, 2], "exec": lambda self, item: item}
        type("Each", (module.BatchNode,), members)().run({})

    assert captured.tree() == "invoke_node Each\n  batch_item\n  batch_item"


COUNTING = """
class Flow(BaseNode):
    def __init__(self, start=None): super().__init__(); self.start_node = start
    def _run(self, shared):
        for node in (self.start_node, self.start_node):
            node._run(shared)
            WRITE
"""


@pytest.mark.parametrize(
    "write",
    [
        "shared['count'] = 1",
        "shared.update(count=1)",
        "note(shared)",
        "[shared.update(count=1) for _ in '1']",
    ],
)
def test_what_a_copys_flow_writes_between_two_steps_is_no_change_of_the_next(
    tmp_path: Path, write: str
) -> None:
    note = "def note(shared): shared['count'] = 1\n"
    with capture_spans() as captured:
        module = imported(tmp_path, note + STEP + NODE + COUNTING.replace("WRITE", write))
        module.Flow(start=module.Node()).run({})

    assert captured.tree("pocketflow.shared.added.keys").splitlines()[1:] == ["  invoke_node Node"] * 2


@pytest.mark.parametrize("name", VARIANTS)
def test_what_was_released_is_known_to_write_nothing_between_two_steps(name: str) -> None:
    """So that steps can share a look at the store: this is what keeps them cheap."""
    released = PocketFlowPatcher(variant(name), Mock())

    methods = {
        vars(cls)[name] for cls in released.classes.values() for name in _ORCHESTRATION if name in vars(cls)
    }
    assert {*released._non_writing.values()} == methods


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_traced_when_it_is_imported(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.syspath_prepend(str(folder() / release))
    with capture_spans() as captured:
        module = importlib.import_module("pocketflow")
        module.Flow(module.Node()).run({})

    assert [span.name.split()[0] for span in captured.spans] == ["invoke_node", "invoke_workflow"]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (STEP + NODE, "Flow"),
        (STEP + NODE + FLOW + BATCH + "class BatchFlow(Flow): pass\n", "BatchFlow._orch"),
        (STEP + NODE + FLOW + ASYNC, "AsyncNode._exec"),
        (ALONE, "Node"),
    ],
)
def test_what_is_not_seen_is_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, missing: str
) -> None:
    with capture_spans():
        imported(tmp_path, text)

    (line,) = caplog.messages
    assert line == (
        f"pocketflow at {tmp_path / 'pocketflow.py'} is not as pocketflow-otel knows it: "
        f"without {missing}, a part of a run is not traced"
    )


@pytest.mark.parametrize("text", ["", "Flow = 1\n", "class Node: pass\n", "class Flow:\n    _run = None\n"])
def test_another_module_of_that_name_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    with capture_spans():
        module = imported(tmp_path, text)
        held = {name: dict(vars(value)) for name, value in vars(module).items() if isinstance(value, type)}

    (line,) = caplog.messages
    assert line == (
        f"pocketflow at {tmp_path / 'pocketflow.py'} is not PocketFlow, and not traced: "
        "it has no Flow and no Node that runs"
    )
    assert not any("__init_subclass__" in own for own in held.values())


def test_a_base_with_a_hook_for_subclasses_keeps_it_and_its_nodes_are_traced(tmp_path: Path) -> None:
    hook = "    known = []\n    def __init_subclass__(cls, **kwargs): BaseNode.known.append(cls.__name__)\n"
    with capture_spans() as captured:
        module = imported(tmp_path, STEP + hook + NODE)
        own = vars(module.BaseNode)["__init_subclass__"]
        greet = type("Greet", (module.Node,), {"exec": lambda self, prep_res: 1})
        greet().run({})

    assert captured.tree("pocketflow.node.attempts") == "invoke_node Greet attempts=1"
    assert module.BaseNode.known == ["Node", "Greet"]
    assert vars(module.BaseNode)["__init_subclass__"] is not own


# When it is imported


def test_what_is_instrumented_before_the_import_is_put_back(tmp_path: Path) -> None:
    finders, instrumentor = list(sys.meta_path), PocketFlowInstrumentor()
    instrumentor.instrument(config=Config())
    module = imported(tmp_path, STEP + NODE + FLOW)
    patched = vars(module.BaseNode)["_run"]
    instrumentor.uninstrument()

    assert vars(module.BaseNode)["_run"] is not patched
    assert vars(module.BaseNode)["_run"].__module__ == "pocketflow"
    assert "__init_subclass__" not in vars(module.BaseNode)
    assert sys.meta_path == finders


def test_what_is_imported_after_uninstrument_is_not_instrumented(tmp_path: Path) -> None:
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(config=Config())
    instrumentor.uninstrument()
    module = imported(tmp_path, STEP + NODE + FLOW)

    assert not hasattr(vars(module.BaseNode)["_run"], "__wrapped__")


def test_every_copy_that_was_imported_is_put_back_and_instrumented_again(tmp_path: Path) -> None:
    instrumentor = PocketFlowInstrumentor()
    instrumentor.instrument(config=Config())
    first = imported(tmp_path, STEP + NODE + FLOW)
    old = first.BaseNode
    importlib.reload(first)
    del sys.modules["pocketflow"]
    second = imported(tmp_path, STEP + NODE + FLOW)
    classes = [old, first.BaseNode, second.BaseNode]

    def traced() -> list[bool]:
        return [hasattr(vars(cls)["_run"], "__wrapped__") for cls in classes]

    assert len(set(classes)) == 3
    assert traced() == [True] * 3
    patched = PocketFlowInstrumentor.copies
    assert patched is not None
    patched.undo()
    assert traced() == [False] * 3
    patched.patch()
    assert traced() == [True] * 3
    instrumentor.uninstrument()
    assert traced() == [False] * 3


def test_a_copy_that_is_no_longer_used_is_let_go(tmp_path: Path) -> None:
    PocketFlowInstrumentor().instrument(config=Config())
    module = imported(tmp_path, STEP + NODE + FLOW)
    gone = weakref.ref(module.BaseNode)
    importlib.reload(module)
    gc.collect()

    assert gone() is None


def test_a_failure_of_ours_is_no_failure_of_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_strict(False)
    monkeypatch.setattr("pocketflow_otel.instrument.pocketflow_copies.PocketFlowPatcher", None)
    with capture_spans():
        module = imported(tmp_path, STEP + NODE + FLOW)

    assert module.Flow(start=module.Node()).run({}) is None
    assert caplog.messages == [
        "pocketflow-otel could not instrument pocketflow; the flow goes on (reported once)"
    ]


# Hooks of imports


@pytest.fixture
def hooks() -> Iterator[ImportHooks]:
    hooks = ImportHooks(guard("look at an import"))
    yield hooks
    hooks.clear()
    sys.modules.pop("hooked", None)


def test_a_hook_is_called_at_each_import_and_for_what_has_been_imported(
    tmp_path: Path, hooks: ImportHooks
) -> None:
    write(tmp_path / "hooked.py", "value = 1\n")
    importlib.invalidate_caches()
    seen: list[ModuleType] = []
    hooks.add("hooked", seen.append)
    first = importlib.import_module("hooked")
    importlib.reload(first)
    hooks.add("hooked", seen.append)
    del sys.modules["hooked"]
    second = importlib.import_module("hooked")

    assert seen == [first, first, first, second, second]


def test_a_module_is_that_of_its_own_loader(tmp_path: Path, hooks: ImportHooks) -> None:
    write(tmp_path / "hooked.py", "loader, spec = __loader__, __spec__\nown = spec.loader\n")
    importlib.invalidate_caches()
    hooks.add("hooked", lambda module: None)
    module: Any = importlib.import_module("hooked")

    assert {type(loader) for loader in (module.loader, module.own, module.__loader__)} == {SourceFileLoader}
    assert type(module.spec) is ModuleSpec
    assert module.__spec__ is module.spec


def test_an_import_that_another_thread_has_begun_is_waited_for(tmp_path: Path, hooks: ImportHooks) -> None:
    begun, go_on = threading.Event(), threading.Event()
    lines = (f"import sys\nbegun, go_on = sys.modules[{__name__!r}].events", "begun.set()", "go_on.wait(60)")
    write(tmp_path / "hooked.py", "\n".join((*lines, "done = True\n")))
    sys.modules[__name__].events = begun, go_on  # type: ignore[attr-defined]
    importlib.invalidate_caches()
    importing = threading.Thread(target=importlib.import_module, args=("hooked",))
    importing.start()
    assert begun.wait(60)
    seen: list[bool] = []
    adding = threading.Thread(
        target=hooks.add, args=("hooked", lambda module: seen.append(hasattr(module, "done")))
    )
    adding.start()
    adding.join(0.05)
    waited = adding.is_alive()
    go_on.set()
    importing.join(60)
    adding.join(60)

    assert (waited, seen) == (True, [True])


def test_a_finder_that_fails_fails_as_it_would_without_us(
    hooks: ImportHooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            raise ImportError(f"no {name}")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Broken()])
    hooks.add("hooked", lambda module: None)
    with pytest.raises(ImportError, match="no hooked"):
        importlib.import_module("hooked")
