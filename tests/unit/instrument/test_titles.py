"""What a flow is called that nobody gave a name: it tells programs apart, and the flows of one program."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import re
import runpy
import sys
import textwrap
import weakref
from typing import TYPE_CHECKING, Any, Final

import pytest
from pocketflow import AsyncNode, Flow, Node

from pocketflow_otel.guard import set_strict
from pocketflow_otel.instrument import bindings
from pocketflow_otel.instrument.titles import _program, says_nothing
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Ask(Node):
    pass


class Check(Node):
    pass


class Pack(Node):
    pass


class AskLater(AsyncNode):
    pass


def names(run: Callable[[], object]) -> list[str]:
    """Return the names of the flows that a call runs, outermost first."""
    with capture_spans() as captured:
        run()
    flows = [line.strip() for line in captured.tree().splitlines() if "invoke_workflow" in line]
    return [line.removeprefix("invoke_workflow").strip() for line in flows]


PRELUDE = """\
import asyncio, contextlib, copy, dataclasses, functools
import pocketflow
from pocketflow import AsyncFlow, AsyncNode, BatchFlow, Flow, Node
class Ask(Node): pass
class Check(Node): pass
class Pack(Node): pass
class AskLater(AsyncNode): pass
def kinds(): return {"ask": Ask, "check": Check}
"""


def cases(text: str) -> list[Any]:
    """Return the programs of a text; a line says what each shows, and the names of its flows."""
    _, *found = re.split("^# (.*?): (.*)\n", text, flags=re.MULTILINE)
    return [
        pytest.param(code, expected.split(", "), id=shows)
        for shows, expected, code in zip(found[::3], found[1::3], found[2::3], strict=True)
    ]


PROGRAMS: Final = """\
# a variable of the module: qa
qa = Flow(start=Ask())
qa.run({})

# a variable of a function: qa
def main():
    qa = Flow(start=Ask())
    qa.run({})
main()

# two variables of one flow: qa
flow = qa = Flow(start=Ask())
flow.run({})

# an assignment in a condition: qa
if (qa := Flow(start=Ask())):
    qa.run({})

# a variable with a type: qa
def main():
    qa: Flow = Flow(start=Ask())
    qa.run({})
main()

# a private variable: qa
_qa = Flow(start=Ask())
_qa.run({})

# a variable of an enclosing function: qa
def main():
    def go():
        qa.run({})
    qa = Flow(start=Ask())
    go()
main()

# an attribute: qa
class Bot:
    def __init__(self):
        self.qa = Flow(start=Ask())
Bot().qa.run({})

# an attribute that says nothing: Bot (Ask)
class Bot:
    def __init__(self):
        self.flow = Flow(start=Ask())
Bot().flow.run({})

# a variable of a class: Bot
class Bot:
    flow = Flow(start=Ask())
Bot.flow.run({})

# a key in the code: qa
flows = {}
flows['qa'] = Flow(start=Ask())
flows['qa'].run({})

# a key that is computed: report
flows = {}
user = 'ada'
flows[user] = Flow(start=Ask())
flows[user].run({})

# a function that builds: qa_flow
def create_qa_flow():
    return Flow(start=Ask())
flow = create_qa_flow()
flow.run({})

# a function that builds and configures: qa_flow
def create_qa_flow():
    flow = Flow(start=Ask())
    flow.x = 1
    return flow
create_qa_flow().run({})

# a function whose variable says more: chat
def create_flow():
    chat = Flow(start=Ask())
    return chat
flow = create_flow()
flow.run({})

# a function whose caller says more: agent
def create_flow():
    return Flow(start=Ask())
agent = create_flow()
agent.run({})

# functions one in another: agent
def build():
    return Flow(start=Ask())
def get_flow():
    flow = build()
    return flow
agent = get_flow()
agent.run({})

# a coroutine that builds: agent
async def create_flow():
    return AsyncFlow(start=AskLater())
async def main():
    agent = await create_flow()
    await agent.run_async({})
asyncio.run(main())

# a cached function: agent
@functools.cache
def create_flow():
    return Flow(start=Ask())
agent = create_flow()
agent.run({})

# a decorated function: qa_flow
def logged(f):
    def wrapper(*a):
        return f(*a)
    return wrapper
@logged
def create_qa_flow():
    return Flow(start=Ask())
flow = create_qa_flow()
flow.run({})

# a lambda: agent
make = lambda: Flow(start=Ask())
agent = make()
agent.run({})

# a partial: agent
make = functools.partial(Flow, Ask())
agent = make()
agent.run({})

# three flows of one function: heartbeat_flow, check_flow, pack_flow
def create_heartbeat_flow():
    check_flow = Flow(start=Check())
    pack_flow = Flow(start=Pack())
    ask = Ask()
    ask >> check_flow >> pack_flow
    return Flow(start=ask)
create_heartbeat_flow().run({})

# three flows of a function, two of no variable: heartbeat_flow, heartbeat_flow (Check), heartbeat_flow (Pack)
def create_heartbeat_flow():
    ask = Ask()
    ask >> Flow(start=Check()) >> Flow(start=Pack())
    return Flow(start=ask)
create_heartbeat_flow().run({})

# flows with numbers: report (Ask), report (Check), report (Pack)
flow1 = Flow(start=Check())
flow2 = Flow(start=Pack())
ask = Ask()
ask >> flow1 >> flow2
flow = Flow(start=ask)
flow.run({})

# a flow that starts with a flow: report (Flow: Check), report (Check)
Flow(start=Flow(start=Check())).run({})

# built in a node: outer, report (Check)
class Outer(Node):
    def exec(self, _):
        flow = Flow(start=Check())
        flow.run({})
outer = Flow(start=Outer())
outer.run({})

# by a function's arguments: report (Ask), report (Check)
def build_graph(kind):
    return Flow(start=kinds()[kind]())
for kind in kinds():
    build_graph(kind).run({})

# by the arguments of a function with a name: order_graph (Ask), order_graph (Check)
def build_order_graph(kind):
    start = kinds()[kind]()
    return Flow(start=start)
for kind in kinds():
    graph = build_order_graph(kind)
    graph.run({})

# by the branches of a function: order_graph (Ask), order_graph (Check)
ready = False
def build_order_graph():
    if ready:
        return Flow(start=Check())
    return Flow(start=Ask())
build_order_graph().run({})
ready = True
build_order_graph().run({})

# for each request: order (Ask), order (Check), order (Ask)
def build_graph(kind):
    return Flow(start=kinds()[kind]())
def serve(kind):
    order = build_graph(kind)
    order.run({})
serve('ask'), serve('check'), serve('ask')

# in a loop: order (Ask), order (Check)
for kind in kinds().values():
    order = Flow(start=kind())
    order.run({})

# in a list: report (Ask), report (Check)
for flow in [Flow(start=kind()) for kind in kinds().values()]: flow.run({})

# one after the other: report (Ask), report (Check)
flow = Flow(start=Ask())
flow.run({})
flow = Flow(start=Check())
flow.run({})

# one after the other, in one variable: chat (Ask), chat (Check)
chat = Flow(start=Ask())
chat.run({})
chat = Flow(start=Check())
chat.run({})

# a script: report
flow = Flow(start=Ask())
flow.run({})

# the main function of a script: report
def main():
    Flow(start=Ask()).run({})
main()

# code in a string: report (Ask)
exec('flow = Flow(start=Ask()); flow.run({})')

# a class that says nothing: qa
class MyFlow(Flow):
    def __init__(self):
        super().__init__(start=Ask())
qa = MyFlow()
qa.run({})

# a class that is a name: Support
class Support(Flow):
    pass
flow = Support(start=Ask())
flow.run({})

# its own name: mine
flow = Flow(start=Ask())
flow.name = 'mine'
flow.run({})

# a start that is set later: report (Ask)
flow = Flow()
flow.start(Ask())
flow2 = Flow(Check())
flow.run({})

# without a start: report
flow = Flow()
other = Flow()
with contextlib.suppress(Exception): flow.run({})
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Callable[[], Any]]:
    """Write a program; return what runs it."""

    def write(code: str, path: str = "report.py") -> Callable[[], Any]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(PRELUDE + code)
        return lambda: runpy.run_path(str(file), run_name="__main__")

    return write


@pytest.mark.parametrize(("code", "expected"), cases(PROGRAMS))
def test_a_flow_is_called_what_its_authors_code_calls_it(
    program: Callable[..., Callable[[], Any]], code: str, expected: list[str]
) -> None:
    run = program(code)
    assert (names(run), names(run)) == (expected, expected), textwrap.indent(code, "    ")


BUILT_BEFORE: Final = """\
# a variable of the module: qa
qa = Flow(start=Ask())
def go():
    qa.run({})

# a function that builds: qa_flow
def create_qa_flow():
    return Flow(start=Ask())
def go():
    flow = create_qa_flow()
    trace()
    flow.run({})

# a variable of a function: agent
def go():
    agent = Flow(start=Ask())
    trace()
    agent.run({})

# a coroutine: agent
async def main():
    agent = AsyncFlow(start=AskLater())
    trace()
    await agent.run_async({})
def go():
    asyncio.run(main())

# a task: qa
qa = AsyncFlow(start=AskLater())
flow = qa
def go():
    asyncio.run(flow.run_async({}))

# a helper's argument: report (Ask)
def create():
    return Flow(start=Ask())
flow = create()
def run_it(target):
    target.run({})
def go():
    run_it(flow)

# flows in flows: whole, check_flow, report (Pack)
check_flow = Flow(start=Check())
ask = Ask()
ask >> check_flow >> Flow(start=Pack())
whole = Flow(start=ask)
def go():
    whole.run({})

# of no variable: report (Ask)
flows = [Flow(start=Ask())]
def go():
    flows[0].run({})

# which starts with a flow that has a name: report (inner), inner
inner = Flow(start=Ask())
inner.name = "inner"
flows = [Flow(start=inner)]
def go():
    flows[0].run({})
"""


@pytest.mark.parametrize(("code", "expected"), cases(BUILT_BEFORE))
def test_a_flow_that_was_built_before_tracing_has_a_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: list[str]
) -> None:
    file = tmp_path / "report.py"
    file.write_text(PRELUDE + code)
    module = type(sys)("report")
    monkeypatch.setitem(sys.modules, "report", module)
    module.__file__ = str(file)
    captured: list[Any] = []
    tracing = capture_spans()
    module.trace = lambda: captured.append(tracing.__enter__()) if not captured else None  # type: ignore[attr-defined]
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    try:
        if "trace()" not in code:
            module.trace()
        module.go()
    finally:
        tracing.__exit__(None, None, None)
    lines = [line.strip() for line in captured[0].tree().splitlines() if "invoke_workflow" in line]
    assert lines == [f"invoke_workflow {name}" for name in expected]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("main.py", "bot"),
        ("flow.py", "bot"),
        ("app.py", "bot"),
        ("src/app/main.py", "bot"),
        ("my_flow.py", "bot"),
        ("chat.py", "chat"),
        ("test_search.py", "test_search"),
    ],
)
def test_a_name_that_says_nothing_gives_way_to_the_programs(
    program: Callable[..., Callable[[], Any]], path: str, expected: str
) -> None:
    run = program("flow = Flow(start=Ask())\nflow.run({})", f"bot/{path}")
    assert names(run) == [expected if expected in path else f"{expected} (Ask)"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/home/ada/main.py", ""),
        ("/Users/ada/Desktop/main.py", ""),
        ("/home/ada/projects/bot/src/main.py", "bot"),
        ("/srv/main.py", ""),
        ("/app/src/main.py", ""),
        ("/tmp/tmpab12cd34/main.py", ""),
        ("/tmp/tmp.Xy12/main.py", ""),
        ("/tmp/ipykernel_4711/2023.py", ""),
        ("/srv/bot/releases/20261128/main.py", "bot"),
        ("/srv/bot/7f3a91c2/main.py", "bot"),
        ("/srv/template-bot/main.py", "template-bot"),
        ("/srv/pocketflow-batch-flow/main.py", "pocketflow-batch-flow"),
        ("", ""),
    ],
)
def test_a_program_is_not_called_after_a_person_or_a_temporary_folder(file: str, expected: str) -> None:
    assert _program(file)[0] == expected


@pytest.mark.parametrize(
    ("name", "nothing"),
    [
        *[
            (name, True)
            for name in ("", "_", "42", "flow", "flow_2", "myFlow", "MainWorkflow", "AsyncFlow", "app")
        ],
        *[(name, False) for name in ("qa", "qa_flow", "agent", "RAGFlow", "Frage", "поток", "流程")],
    ],
)
def test_words_that_fit_any_flow_say_nothing(name: str, nothing: bool) -> None:
    assert says_nothing(name) is nothing


def test_copies_of_a_flow_have_its_name() -> None:
    def run() -> None:
        agent = Flow(start=Ask())
        for _ in range(2):
            copied = copy.copy(agent)
            Flow(start=copied).run({})
            copied.run({})

    assert [name for name in names(run) if name == "agent"] == ["agent"] * 4


def test_a_flow_has_nothing_of_ours() -> None:
    bare = vars(Flow(start=Ask())).keys()
    with capture_spans():
        flow = Flow(start=Ask())
        flow.run({})
        assert vars(flow).keys() == bare


def test_naming_keeps_nothing_alive() -> None:
    """A snapshot of a frame's variables would keep `large` until the frame ends, and does on 3.11."""

    class Large:
        pass

    died: list[str] = []

    def main() -> None:
        large = Large()
        weakref.finalize(large, died.append, "large")
        flow = Flow(start=Ask())
        del large
        died.append("deleted")
        other = Large()
        weakref.finalize(other, died.append, "other")
        flow.run({})
        before.run({})
        other = Large()
        died.append("replaced")

    before = Flow(start=Ask())
    gc.disable()
    try:
        names(main)
    finally:
        gc.enable()
    assert died == ["large", "deleted", "other", "replaced"]


def test_code_that_is_gone_is_forgotten() -> None:
    code = compile("flow = Flow(start=Ask())", "<made>", "exec")
    with capture_spans():
        exec(code, {"Flow": Flow, "Ask": Ask})
        known = weakref.ref(code)
        assert id(code) in bindings._codes
        del code
        gc.collect()
    assert known() is None
    assert all(known() is not None for known, _ in bindings._codes.values())


def test_a_flow_whose_name_cannot_be_found_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("dis has changed")

    monkeypatch.setattr(bindings, "_read", fail)
    set_strict(False)
    with capture_spans() as captured:
        flow = Flow(start=Ask())
        assert flow.run({}) is None
    assert captured.tree().splitlines() == ["invoke_workflow Ask", "  invoke_node Ask"]


def test_very_long_code_is_not_read() -> None:
    code = "\n".join(["x = str(1)"] * 2000)
    space: dict[str, Any] = {"Flow": Flow, "Ask": Ask}
    with capture_spans() as captured:
        exec(compile(f"{code}\nFlow(start=Ask()).run({{}})", "<made>", "exec"), space)
    assert captured.tree().splitlines()[0] == "invoke_workflow test_titles (Ask)"


def test_every_call_of_the_standard_library_can_be_read() -> None:
    def codes(code: Any) -> Any:
        yield code
        for constant in code.co_consts:
            if hasattr(constant, "co_code"):
                yield from codes(constant)

    for module in (asyncio.base_events, functools, textwrap, runpy):
        source = compile(inspect.getsource(module), "<made>", "exec")
        read = [bindings._read(code) for code in codes(source)]
        assert sum(len(code.calls) for code in read) > 10
