"""Each place where a program can tell that it is traced is on the page of limits, and is as it says."""

from __future__ import annotations

import ast
import asyncio
import copy
import ctypes
import inspect
import pickle
import pydoc
import re
import sys
import threading
import traceback
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pocketflow
import pytest
from opentelemetry.sdk.trace import SpanProcessor
from tests.support.pages import PAGES
from tests.support.processes import BIN, PYTHON, environment, ours, run, write
from tests.support.receiver import closed_port

from pocketflow_otel.guard import set_strict
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = ("traced_by_pocketflow_otel", "awaited_by_pocketflow_otel")


def test_each_line_of_the_page_has_a_test_and_each_test_a_line() -> None:
    titles = re.findall(r"^(\d+)\. \*\*(.+?)\.\*\*", PAGES["limits"].read_text("utf-8"), re.MULTILINE)
    functions = [
        node.name
        for node in ast.parse(Path(__file__).read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    tested = [name for name in functions if name.startswith("test_")][1:]

    assert [int(number) for number, _ in titles] == list(range(1, len(titles) + 1))
    assert ["test_" + re.sub(r"\W", "_", title.lower()) for _, title in titles] == tested


# Frames


def callers() -> list[str]:
    """Return the functions that are running, from the caller of the one that asks."""
    return [frame.function for frame in inspect.stack()[2:]]


class Looks(pocketflow.Node):
    """Keeps what its methods are called by."""

    def prep(self, shared: Any) -> None:
        shared["prep"] = callers()

    def exec(self, prep_res: Any) -> list[str]:
        return callers()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared.update(exec=exec_res, post=callers())


class LooksAsync(pocketflow.AsyncNode):
    async def exec_async(self, prep_res: Any) -> list[str]:
        return callers()

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["exec"] = exec_res


def test_a_frame_for_each_flow_and_node() -> None:
    seen: dict[str, list[str]] = {}
    awaited: dict[str, list[str]] = {}
    with capture_spans():
        pocketflow.Flow(start=pocketflow.Flow(start=Looks())).run(seen)
        asyncio.run(pocketflow.AsyncFlow(start=LooksAsync()).run_async(awaited))

    assert {phase: by[0] for phase, by in seen.items()} == {"prep": "_run", "exec": "_exec", "post": "_run"}
    assert [by.count(OURS[0]) for by in seen.values()] == [3, 3, 3]
    assert (awaited["exec"][0], awaited["exec"].count(OURS[1])) == ("_exec", 2)


class Batch(pocketflow.BatchNode):
    def prep(self, shared: Any) -> list[int]:
        return [1]

    def exec(self, item: int) -> list[str]:
        return callers()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        (shared["item"],) = exec_res


class Rounds(pocketflow.BatchFlow):
    def prep(self, shared: Any) -> list[dict[str, int]]:
        shared["prep"] = callers()
        return [{"round": 1}]


class OwnExec(pocketflow.Node):
    """Attempts `exec` in its own way."""

    def _exec(self, prep_res: Any) -> Any:
        return self.exec(prep_res)

    def exec(self, prep_res: Any) -> list[str]:
        return callers()

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["exec"] = exec_res


def test_a_frame_around_batches_and_an_own_exec() -> None:
    seen: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    with capture_spans():
        Rounds(start=Batch()).run(seen)
        OwnExec().run(own)

    assert seen["prep"][0] == OURS[0]
    assert (seen["item"][0], seen["item"].count(OURS[0])) == ("_exec", 5)  # Item, batch, node, round, flow.
    assert own["exec"][:4] == [OURS[0], "_exec", OURS[0], "_run"]


class Properties(pocketflow.Node):
    """Keeps the files of what its properties are asked for by."""

    asked_by: ClassVar[list[str]] = []

    def ask(self) -> Any:
        self.asked_by.append(Path(sys._getframe(1).f_code.co_filename).name)
        return lambda *received: None

    exec = post = property(ask)  # type: ignore[assignment]


def test_a_stand_in_for_self() -> None:
    seen: list[Any] = []

    class Node(pocketflow.Node):
        def exec(self, prep_res: Any) -> None:
            frame = inspect.currentframe()
            while frame is not None and frame.f_code.co_name != "_run":
                frame = frame.f_back
            assert frame is not None
            seen.extend((self, frame.f_locals["self"]))

    with capture_spans():
        Node().run({})
        Properties().run({})
    own, stand_in = seen

    assert type(own) is Node
    assert isinstance(stand_in, Node)
    assert stand_in.exec == own.exec
    assert type(stand_in) is not Node
    assert inspect.getattr_static(stand_in, "exec") is not Node.exec
    assert Properties.asked_by == ["stand_in.py", "stand_in.py"]


class Fails(pocketflow.Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        raise KeyError("missing")


def test_one_frame_in_a_traceback() -> None:
    with capture_spans(), pytest.raises(KeyError) as caught:
        pocketflow.Flow(start=pocketflow.Flow(start=Fails())).run({})
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    names = [frame.f_code.co_name for frame in frames]
    (hidden,) = (frame for frame in frames if frame.f_code.co_name in OURS)

    assert names == [
        "test_one_frame_in_a_traceback", "run", OURS[0], "_run", "_orch", "_run", "_orch", "_run", "post",
    ]  # fmt: skip
    assert hidden.f_locals["__tracebackhide__"] is True


def nested(depth: int) -> None:
    """Run flows in flows."""
    flow: Any = pocketflow.Node()
    for _ in range(depth):
        flow = pocketflow.Flow(start=flow)
    flow.run({})


def nested_async(depth: int) -> None:
    flow: Any = pocketflow.AsyncNode()
    for _ in range(depth):
        flow = pocketflow.AsyncFlow(start=flow)
    asyncio.run(flow.run_async({}))


class FlowByOwnRun(pocketflow.Flow):
    def _run(self, shared: Any) -> Any:
        return super()._run(shared)


def nested_with_own_run(depth: int) -> None:
    flow: Any = pocketflow.Node()
    for _ in range(depth):
        flow = FlowByOwnRun(start=flow)
    flow.run({})


class Again(pocketflow.Node):
    """Runs a flow with a node like itself, from one of its phases."""

    def __init__(self, phase: str, depth: int) -> None:
        super().__init__()
        self.phase, self.depth = phase, depth

    def go_on(self, phase: str) -> None:
        if phase == self.phase and self.depth:
            pocketflow.Flow(start=type(self)(phase, self.depth - 1)).run({})

    def prep(self, shared: Any) -> None:
        self.go_on("prep")

    def exec(self, prep_res: Any) -> None:
        self.go_on("exec")

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        self.go_on("post")


class AgainByOwnExec(Again):
    def _exec(self, prep_res: Any) -> Any:
        return super()._exec(prep_res)


def greatest_depth(run: Callable[[int], object]) -> int:
    """Return how deep it goes, by halving."""
    low, high = 1, 1024
    while high - low > 1:
        middle = (low + high) // 2
        try:
            run(middle)
            low = middle
        except RecursionError:
            high = middle
    return low


@pytest.mark.parametrize(
    ("run", "part"),
    [
        pytest.param(nested, 0.65, id="flows in flows"),
        pytest.param(nested_async, 0.65, id="async flows in flows"),
        *(
            pytest.param(lambda depth, phase=phase: Again(phase, depth).run({}), 0.7, id=phase)
            for phase in ("prep", "exec", "post")
        ),
        pytest.param(nested_with_own_run, 0.5, id="flows with a run of their own"),
        pytest.param(lambda depth: AgainByOwnExec("exec", depth).run({}), 0.5, id="an exec of its own"),
    ],
)
def test_two_thirds_of_the_depth(run: Callable[[int], object], part: float) -> None:
    limit = sys.getrecursionlimit()
    bare = depth_in_a_fresh_thread(run)
    with capture_spans():
        traced = depth_in_a_fresh_thread(run)

    assert part <= traced / bare < 1
    assert sys.getrecursionlimit() == limit


def depth_in_a_fresh_thread(run: Callable[[int], object]) -> int:
    """Return the greatest depth from an empty stack: that of a test is deep already."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(greatest_depth(run)))
    thread.start()
    thread.join()
    return found[0]


def test_a_note_on_a_recursion_error() -> None:
    with capture_spans(), pytest.raises(RecursionError) as caught:
        nested(sys.getrecursionlimit())

    (note,) = caught.value.__notes__
    assert "sys.setrecursionlimit" in note


# Classes


class OwnRun(pocketflow.Node):
    def _run(self, shared: Any) -> Any:
        return super()._run(shared)


def test_a_descriptor_for_an_own_run() -> None:
    own_run, own_exec = OwnRun._run, OwnExec._exec
    with capture_spans():
        replaced = [vars(OwnRun)["_run"], vars(OwnExec)["_exec"], vars(OwnExec)["exec"]]

        assert {type(method).__module__ for method in replaced} == {"pocketflow_otel.instrument.patching"}
        assert (OwnRun._run, OwnExec._exec) == (own_run, own_exec)
        assert OwnRun()._run.__func__ is not own_run
        assert b"pocketflow_otel" not in pickle.dumps(copy.deepcopy(OwnRun()))


def test_wrappers_on_pocketflow() -> None:
    names = [
        (pocketflow.BaseNode, "_run"),
        (pocketflow.Node, "_exec"),
        (pocketflow.Flow, "__init__"),
        (pocketflow.BatchFlow, "_orch"),
    ]
    own = set(vars(pocketflow.BaseNode))
    bare = [getattr(cls, name) for cls, name in names]
    with capture_spans():
        traced = [getattr(cls, name) for cls, name in names]

        assert [inspect.signature(method) for method in traced] == [
            inspect.signature(method) for method in bare
        ]
        assert [method.__qualname__ for method in traced] == [method.__qualname__ for method in bare]
        assert [method.__wrapped__ for method in traced] == bare
        assert not {method.__code__ for method in traced} & {method.__code__ for method in bare}
        assert [name for name in vars(pocketflow.BaseNode) if name not in own] == ["__init_subclass__"]
        assert "BaseNode.__init_subclass__" in repr(pocketflow.BaseNode.__init_subclass__)
        assert "pocketflow_otel" not in pydoc.render_doc(OwnRun)


# Exceptions


class RaisesInItsThread(SpanProcessor):
    """Is part of what we do when a step starts, and has an exception put into the thread there."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        thread = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(self.error))
        for _ in range(1000):
            pass  # It arrives here.


@pytest.mark.parametrize(("error", "arrives"), [(TimeoutError, False), (KeyboardInterrupt, True)])
def test_an_error_put_into_a_thread(error: type[BaseException], arrives: bool) -> None:
    set_strict(False)
    shared: dict[str, Any] = {}
    with capture_spans() as captured:
        captured.provider.add_span_processor(RaisesInItsThread(error))
        with pytest.raises(error) if arrives else nullcontext():
            Looks().run(shared)

    assert ("exec" in shared) is not arrives


# The process


def printed(folder: Path, program: str, *options: str) -> tuple[list[str], list[str]]:
    """Return the lines that a program prints bare and traced."""
    write(folder / "app.py", program)
    bare = run(PYTHON, "app.py", cwd=folder).stdout
    return bare.splitlines(), ours("run", *options, "app.py", cwd=folder).stdout.splitlines()


def test_modules_and_warning_filters(tmp_path: Path) -> None:
    bare, traced = printed(
        tmp_path,
        "import sys, warnings\n"
        "print(*[name for name in ('opentelemetry', 'pocketflow_otel') if name in sys.modules])\n"
        "print(*[type(finder).__name__ for finder in sys.meta_path])\n"
        "print(*warnings.filters, sep='\\n')\n",
    )

    assert (bare[0], traced[0]) == ("", "opentelemetry pocketflow_otel")
    assert sorted(traced[1].split()) == sorted([*bare[1].split(), "ImportHooks"])
    added = [line for line in traced[2:] if line not in bare]
    assert added
    assert all("opentelemetry" in line for line in added)
    assert [line for line in bare[2:] if line not in traced] == []


def test_python_by_its_full_path(tmp_path: Path) -> None:
    write(
        tmp_path / "app.py",
        "import os, sys\n"
        "print(sys.orig_argv)\n"
        "print(sys.argv, sys.path, sys.flags, sorted(os.environ.items()))\n",
    )
    env = environment(PATH=str(BIN))
    bare, *bare_rest = run("python", "app.py", cwd=tmp_path, env=env).stdout.splitlines()
    traced, *traced_rest = ours("run", "app.py", cwd=tmp_path, env=env).stdout.splitlines()

    assert (bare, traced) == ("['python', 'app.py']", f"[{PYTHON!r}, 'app.py']")
    assert traced_rest == bare_rest


def test_other_instrumentations(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.instrumentation.threading")
    _, traced = printed(
        tmp_path,
        "import threading, traceback\n"
        "thread = threading.Thread(target=lambda: print(*traceback.format_stack()))\n"
        "thread.start()\n"
        "thread.join()\n",
    )

    assert sum("opentelemetry/instrumentation/threading" in line for line in traced) == 1


def test_threads_of_outputs(tmp_path: Path) -> None:
    program = (
        "import pocketflow, threading\n"
        "class Looks(pocketflow.Node):\n"
        "    def exec(self, prep_res):\n"
        "        print(*sorted(thread.name for thread in threading.enumerate()), sep=',')\n"
        "pocketflow.Node().run({})\n"
        "pocketflow.Flow(start=Looks()).run({})\n"
    )
    with closed_port() as port:
        bare, sent = printed(tmp_path, program, "--otlp", f"http://127.0.0.1:{port}")
    _, quiet = printed(tmp_path, program)
    _, live = printed(tmp_path, program, "-v")

    assert bare == quiet == ["MainThread"]
    assert sent == ["MainThread,pocketflow-otel-otlp"]
    assert live == ["MainThread,pocketflow-otel-heartbeat"]


def test_values_that_live_longer() -> None:
    class Value:
        pass

    class Makes(pocketflow.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["made"] = Value()
            values["made"] = weakref.ref(shared["made"])

    class Takes(pocketflow.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.clear()
            shared["in step"] = living()

    class LooksAgain(pocketflow.Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["in flow"] = living()

    def living() -> list[str]:
        return [name for name, value in values.items() if value() is not None]

    def outcome() -> tuple[list[str], list[str], list[str]]:
        shared = {"given": Value()}
        values["given"] = weakref.ref(shared["given"])
        makes = Makes()
        makes >> Takes() >> LooksAgain()
        pocketflow.Flow(start=makes).run(shared)
        return shared["in step"], shared["in flow"], living()  # type: ignore[return-value]

    values: dict[str, weakref.ref[Value]] = {}
    assert outcome() == ([], [], [])
    with capture_spans():
        assert outcome() == (["given", "made"], ["given"], [])
