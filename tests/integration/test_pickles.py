"""What a traced program sends to other processes is what it would send without us, and no more."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.nodes_to_send import IMPORTS, NODES, WORKER
from tests.support.processes import BIN, PYTHON, environment, run, write

if TYPE_CHECKING:
    import subprocess

SWITCHED_ON = """
import sys
import pocketflow_otel
pocketflow_otel.configure(console=False, modules={modules})
"""
SHELL = """
import pathlib, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in pathlib.Path(sys.argv[0]).with_name("cells.py").read_text().split("# %%"):
    shell.run_cell(cell).raise_error()
"""
"""Runs the cells beside it as a notebook does."""


def says(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON that a program printed last, without addresses in memory."""
    assert done.returncode == 0, done.stderr
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x", done.stdout.splitlines()[-1]))


def source_of(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def script(folder: Path, *, traced: bool) -> Path:
    """A program that imports PocketFlow."""
    return write(folder / "send.py", SWITCHED_ON.format(modules=[]) * traced + IMPORTS + NODES)


def single_file(folder: Path, *, traced: bool) -> Path:
    """A program with PocketFlow's classes in it."""
    classes = source_of("pocketflow").read_text(encoding="utf-8")
    switched_on = SWITCHED_ON.format(modules=["__main__"]) * traced
    return write(folder / "send.py", classes + switched_on + NODES)


def notebook(folder: Path, *, traced: bool) -> Path:
    """Cells that run in IPython."""
    write(folder / "cells.py", SWITCHED_ON.format(modules=[]) * traced + "# %%" + IMPORTS + NODES)
    return write(folder / "send.py", SHELL)


@pytest.fixture(scope="module", params=[script, single_file, notebook], ids=lambda kind: kind.__name__)
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder of one kind of program, and by "bare" and "traced" what was said of its pickles."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    said: dict[str, Any] = {"folder": folder}
    for name in ("bare", "traced"):
        program = request.param(folder / name, traced=name == "traced")
        pickles, traces = folder / name / "pickles", folder / name / "traces"
        pickles.mkdir()
        env = environment(POCKETFLOW_OTEL_DIR=str(traces), IPYTHONDIR=str(folder / "ipython"))
        said[name] = says(run(PYTHON, program, pickles, env=env, cwd=folder / name))
        assert len(list(traces.glob("*.json"))) == (len(said[name]) * 3 // 5 if name == "traced" else 0)
    return said


def test_a_traced_program_sends_what_a_bare_one_does(sent: dict[str, Any]) -> None:
    assert sent["traced"] == sent["bare"]
    names = [
        [path.name for path in sorted((sent["folder"] / kind / "pickles").iterdir())]
        for kind in ("bare", "traced")
    ]
    assert names[0] == names[1]


def test_nothing_of_ours_is_in_a_pickle(sent: dict[str, Any]) -> None:
    pickles = sorted((sent["folder"] / "traced" / "pickles").iterdir())
    found = {path.name for path in pickles if re.search(rb"pocketflow_otel|opentelemetry", path.read_bytes())}
    assert found == set()


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not installed"])
def test_what_was_sent_runs_as_bare_in_another_process(
    sent: dict[str, Any], installed: bool, tmp_path: Path
) -> None:
    worker = write(tmp_path / "worker.py", WORKER)
    folders = [sent["folder"] / kind / "pickles" for kind in ("bare", "traced")]
    command, env = [PYTHON], environment()
    if not installed:
        for name in ("cloudpickle", "dill", "pocketflow", "wrapt"):
            (tmp_path / name).symlink_to(source_of(name).parent)
        command, env = [PYTHON, "-S"], environment(PYTHONPATH=str(tmp_path))
    said = says(run(*command, worker, "-", *folders, env=env, cwd=tmp_path))

    assert (said["installed"], said["loaded"]) == (installed, [])
    bare, traced = (said["results"][str(folder)] for folder in folders)
    assert traced == bare
    assert len(bare) == len(list(folders[0].iterdir()))


STEPS = """
from pocketflow import Flow, Node

class Add(Node):
    def prep(self, shared):
        return shared["n"]
    def exec(self, number):
        return number + 1
    def post(self, shared, prepared, executed):
        shared["n"] = executed

class Twice(Add):
    def _run(self, shared):
        super()._run(shared)
        return super()._run(shared)

def create_flow(cls=Add):
    add = cls()
    add >> cls()
    return Flow(start=add)

def ran(flow):
    shared = {"n": 1}
    flow.run(shared)
    return shared["n"]
"""
POOLS = """
import copy, multiprocessing, pickle
from steps import Add, Flow, Twice, create_flow, ran

class Mine(Add):
    def exec(self, number):
        return number + 10

def all_of(flow):
    return vars(flow), dir(flow), vars(flow.start_node), dir(flow.start_node)

def main():
    import joblib

    for flow in (create_flow(), create_flow(Twice), create_flow(Mine)):
        print(ran(flow), [sorted(each) for each in all_of(flow)])
        print(pickle.dumps(flow), ran(pickle.loads(pickle.dumps(flow))), ran(copy.deepcopy(flow)))
        print(joblib.Parallel(n_jobs=2)(joblib.delayed(ran)(each) for each in (flow, flow)))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(ran, (flow,)))

if __name__ == "__main__":
    main()
"""


def test_pools_and_copies_give_what_they_give_without_us(tmp_path: Path) -> None:
    write(tmp_path / "steps.py", STEPS)
    write(tmp_path / "app.py", POOLS)
    env = environment(POCKETFLOW_OTEL_DIR=str(tmp_path / "traces"))
    bare, traced = (
        run(*command, "app.py", env=env, cwd=tmp_path)
        for command in ([PYTHON], [BIN / "pocketflow-otel", "run"])
    )

    assert (traced.stdout, traced.returncode) == (bare.stdout, 0), traced.stderr
    assert len(bare.stdout.splitlines()) == 12, bare.stderr
