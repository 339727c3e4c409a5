"""`%autoreload 2` in a notebook: what is edited in a module arrives in a traced flow as in a bare one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.processes import PYTHON, environment, run, write

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOK = """
import os, pathlib, sys, tempfile
from IPython.core.interactiveshell import InteractiveShell

sys.dont_write_bytecode = True
folder = pathlib.Path(tempfile.mkdtemp())
sys.path.insert(0, str(folder))
shell = InteractiveShell.instance()

def cell(text):
    try:
        shell.run_cell(text).raise_error()
    except Exception as error:
        print(type(error), error)

STEPS = '''
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node

def helper(): return "helper is old"

class Answer(Node):
    def exec(self, prepared): return "exec is old"
    def post(self, shared, prepared, executed): print(executed, "post is old", helper())

class OwnRun(Answer):
    def _run(self, shared):
        print("_run is old")
        return super()._run(shared)

class OwnAttempts(Answer):
    def _exec(self, prepared): return "_exec is old", self.exec(prepared)

class Failing(Answer):
    def exec(self, prepared): raise ValueError
    def exec_fallback(self, prepared, error): return "fallback is old"

class Items(BatchNode):
    def prep(self, shared): return ["prep is old", 2]
    def exec(self, item): print(item, "exec is old")

class Late(AsyncNode):
    async def exec_async(self, prepared): return "exec_async is old"
    async def post_async(self, shared, prepared, executed): print(executed, "post_async is old")

class LateOwnRun(Late):
    async def _run_async(self, shared):
        print("_run_async is old")
        return await super()._run_async(shared)

class OwnFlow(Flow):
    def post(self, shared, prepared, executed): print("flow is old")
    def get_next_node(self, current, action): print("next is old")
'''
ADDED = '''
    def prep(self, shared): print("prep is added")
    def post(self, shared, prepared, executed): print(executed, "post is added")
'''
CLASSES = "Answer", "OwnRun", "OwnAttempts", "Failing", "Items"
EDITS = {
    "everything": STEPS.replace("is old", "is new"),
    "an attempt": STEPS.replace("exec is old", "exec is new"),
    "what follows": STEPS.replace("post is old", "post is new"),
    "an override": STEPS.replace("_run is old", "_run is new"),
    "attempts of its own": STEPS.replace("_exec is old", "_exec is new"),
    "a helper": STEPS.replace("helper is old", "helper is new"),
    "a flow": STEPS.replace("flow is old", "flow is new").replace("next is old", "next is new"),
    "a method more": STEPS.replace("class Items", ADDED + "class Items"),
    "an override more": STEPS.replace(
        "class Items",
        "    def _run(self, shared): print('_run is added'); Answer._run(self, shared)\\n\\nclass Items",
    ),
    "an override less": STEPS.replace("def _run(", "def other(").replace("def _exec(", "def another("),
}

def runs(module):
    cell(f'''
flow = pocketflow.Flow(start={module}.Answer())
following = flow.start_node
for cls in {module}.OwnRun, {module}.OwnAttempts, {module}.Failing, {module}.Items:
    following = following >> cls()
flow.run({{}})
{module}.OwnFlow(start={module}.Answer()).run({{}})
import asyncio
late = {module}.Late()
late >> {module}.LateOwnRun()
asyncio.run({module}.AsyncFlow(start=late).run_async({{}}))
''')

def again(module):
    # What was made before the edit.
    cell("kept.run({})")

cell("%load_ext autoreload\\n%autoreload 2\\nimport pocketflow")
if "traced" in sys.argv:
    cell("import pocketflow_otel\\nprovider = pocketflow_otel.configure()")
for number, (what, edited) in enumerate(EDITS.items()):
    module = f"steps{number}"
    file = folder / f"{module}.py"
    file.write_text(STEPS)
    cell(f"import {module}\\nfrom {module} import Answer, OwnRun\\nfirst = Answer()\\nfirst >> OwnRun()\\n"
         "kept = pocketflow.Flow(start=first)")
    print("before", what)
    runs(module)
    again(module)
    file.write_text(edited)
    times = file.stat().st_mtime + 5
    os.utime(file, (times, times))
    print("after", what)
    again(module)
    runs(module)
"""


def test_edits_arrive_as_without_us(tmp_path: Path) -> None:
    program = write(tmp_path / "notebook.py", NOTEBOOK)
    env = environment(
        POCKETFLOW_OTEL_DIR=str(tmp_path / "traces"), IPYTHONDIR=str(tmp_path / "ipython"), TERM="dumb"
    )
    bare, traced = (run(PYTHON, program, kind, env=env, cwd=tmp_path) for kind in ("bare", "traced"))

    assert (bare.returncode, traced.returncode) == (0, 0), traced.stdout + traced.stderr
    assert traced.stdout.splitlines() == bare.stdout.splitlines()
    assert {" ".join(line.split()[-2:]) for line in bare.stdout.splitlines() if "new" in line}
    assert len(list((tmp_path / "traces").glob("*.json"))) == 80
