"""A program that looks at itself sees what it sees without us: signatures, callers, warnings, its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.processes import BIN, PYTHON, environment, run, write

if TYPE_CHECKING:
    from pathlib import Path

LOOKS = """
import asyncio, functools, inspect, os, sys, typing, warnings
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchNode, Flow, Node

def look(self, name, *received):
    # Tell what a method, which calls this, received and who calls it.
    caller = sys._getframe(2)
    code = caller.f_code
    print(type(self).__name__, name, received, code.co_name, os.path.dirname(code.co_filename))
    print(caller.f_lineno, inspect.stack()[2].code_context, sorted(caller.f_locals))
    warnings.warn(f"{name} of {type(self).__name__}", UserWarning, stacklevel=3)

class Look(Node):
    def prep(self, shared: dict[str, int]) -> list[int]:
        look(self, "prep", shared)
        return [1]
    def exec(self, prepared: list[int], much: "int" = 2) -> str:
        "Look."
        look(self, "exec", prepared, much)
        return "seen"
    def post(self, shared, prepared, executed) -> str | None:
        look(self, "post", shared, prepared, executed)
        print(sorted(vars(self)), getattr(self, "cur_retry", None), super().post(shared, prepared, executed))

class Retried(Look):
    def exec(self, prepared):
        look(self, "exec", prepared, self.cur_retry)
        if not self.cur_retry:
            raise ValueError("not yet")
    def exec_fallback(self, prepared, error):
        return look(self, "exec_fallback", prepared, error)

class Failed(Retried):
    def exec(self, prepared):
        raise ValueError("never")

class Items(BatchNode):
    def prep(self, shared):
        return [1, 2]
    def exec(self, item):
        look(self, "exec", item)

class AsyncLook(AsyncNode):
    async def prep_async(self, shared: dict[str, int]) -> list[int]:
        look(self, "prep_async", shared)
    async def exec_async(self, prepared, *, much: int = 2) -> str:
        look(self, "exec_async", prepared, much)
    async def post_async(self, shared, prepared, executed):
        look(self, "post_async", shared, prepared, executed)

class AsyncItems(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return [1]
    async def exec_async(self, item):
        look(self, "exec_async", item)

class OwnRun(Look):
    def _run(self, shared: dict[str, int]) -> str | None:
        return super()._run(shared)

class OwnAttempts(Look):
    def _exec(self, prepared: list[int]) -> str:
        return self.exec(prepared)

class Cached(Look):
    prep = functools.partialmethod(lambda self, shared: ())
    exec = functools.lru_cache(lambda self, prepared: None)

def describe(cls, name):
    method = getattr(cls, name)
    unwrapped = inspect.unwrap(method)
    print(cls.__name__, name, method.__qualname__, method.__module__, method.__name__, method.__doc__)
    print(inspect.signature(method), inspect.getfullargspec(method), typing.get_type_hints(method))
    print(hasattr(method, "__wrapped__"), unwrapped.__code__.co_argcount, unwrapped.__code__.co_varnames)
    print(vars(method), method.__defaults__, method.__kwdefaults__, method.__code__.co_flags)
    print(inspect.getsource(method), inspect.iscoroutinefunction(method), type(method), callable(method))
    print(name in vars(cls), method is getattr(cls, name))
    if cls not in (OwnRun, OwnAttempts):  # What takes PocketFlow's place is replaced: docs/limits.md.
        print(method == getattr(cls(), name).__func__)

warnings.simplefilter("always")
warnings.showwarning = lambda message, category, filename, line, *_: print(
    "warned", message, os.path.basename(filename), line
)
CLASSES = (Look, Retried, Failed, Items, OwnRun, OwnAttempts, Cached, AsyncLook, AsyncItems)
for cls in CLASSES:
    if cls is OwnAttempts:  # Its `exec` is called from a frame of ours: docs/limits.md.
        continue
    node = cls(**({} if issubclass(cls, AsyncNode) else {"max_retries": 2}))
    flow = (AsyncFlow if issubclass(cls, AsyncNode) else Flow)(start=node)
    print(sorted(vars(flow)), sorted(vars(node)), dir(flow), dir(node))
    if isinstance(flow, AsyncFlow):
        asyncio.run(flow.run_async({"n": 1}))
    else:
        flow.run({"n": 1})
    print(sorted(vars(flow)), sorted(vars(node)), sorted(vars(cls)))
for cls in (Look, Retried, OwnRun, OwnAttempts, AsyncLook):
    for name in ("prep", "exec", "post", "_run", "_exec", "prep_async", "exec_async", "_run_async"):
        if name in vars(cls):
            describe(cls, name)
"""
"""Says what its nodes see of themselves, and of who calls them."""


@pytest.mark.parametrize("switched_on", ["run", "configure"])
def test_a_program_sees_of_itself_what_it_sees_without_us(tmp_path: Path, switched_on: str) -> None:
    env = environment(POCKETFLOW_OTEL_DIR=str(tmp_path / "traces"))
    write(tmp_path / "looks.py", LOOKS)
    write(tmp_path / "traced.py", "import pocketflow_otel\npocketflow_otel.configure()\nimport looks\n")
    write(tmp_path / "bare.py", "import looks\n")
    bare = run(PYTHON, "looks.py" if switched_on == "run" else "bare.py", env=env, cwd=tmp_path)
    command = [BIN / "pocketflow-otel", "run", "looks.py"] if switched_on == "run" else [PYTHON, "traced.py"]
    traced = run(*command, env=env, cwd=tmp_path)

    assert (traced.stdout.splitlines(), traced.returncode) == (bare.stdout.splitlines(), 0), traced.stderr
    assert bare.stdout.count("\nwarned ") == 20, bare.stderr
    assert len(list((tmp_path / "traces").glob("*.json"))) == 8
