"""The tracebacks that people see of a traced program are the bare ones, with one frame of ours at most."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.processes import BIN, PYTHON, environment, ours, run, script, write

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys, threading
from pocketflow import Flow, Node

class Fails(Node):
    def post(self, shared, prep_res, exec_res):
        {statement}

def main():
    Flow(start=Flow(start=Fails())).run({{}})

{start}
"""

STATEMENTS = {
    "an error": "return shared['missing']",
    "an error from another": "raise ValueError('no such thing') from OSError(2, 'missing')",
    "an interrupt": "raise KeyboardInterrupt",
    "an exit with a message": "sys.exit('no model')",
    "a group": "raise ExceptionGroup('both', [ValueError(1), TypeError(2)])",
    "a syntax error": "compile('1 +', 'rules.txt', 'eval')",
}

HOOK = """
def hook(error_type, error, trace):
    while trace is not None:
        print("hook:", trace.tb_frame.f_code.co_filename, trace.tb_lineno, file=sys.stderr)
        trace = trace.tb_next

sys.excepthook = hook
main()
"""
STARTS = {
    "the main thread": "main()",
    "a thread": "threading.Thread(target=main).start()",
    "an exit hook": "import atexit\natexit.register(main)",
    "a hook of its own": HOOK,
    "a report in the program": "import traceback\ntry: main()\nexcept KeyError: traceback.print_exc()",
    "a log": "import logging\ntry: main()\nexcept KeyError: logging.exception('failed')",
}

_NO_TRACEBACK = re.compile(
    r"^(Trace saved: |Configuration of \w+ not loaded, pocketflow already ).*\n", re.MULTILINE
)
_FRAME = re.compile(
    r'^(?P<group>  \| )?  File "[^"]*/pocketflow_otel/.*\n(?:(?P=group)?    .*\n)*', re.MULTILINE
)
_HOOKED = re.compile(r"^hook: \S*/pocketflow_otel/.*\n", re.MULTILINE)


def without_ours(stderr: str) -> tuple[str, int]:
    """Return what is printed without us, and how many frames of ours were in it."""
    stderr = _NO_TRACEBACK.sub("", stderr)
    stderr, frames = _FRAME.subn("", stderr)
    stderr, hooked = _HOOKED.subn("", stderr)
    return stderr, frames + hooked


def assert_same(bare: str, traced: str, frames: int = 1) -> None:
    """Check that two tracebacks differ by at most so many frames of ours."""
    rest, count = without_ours(traced)
    assert rest == bare
    assert count <= frames


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its wrapper is in the traceback of each thread.
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "threading")


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_whatever_ends_a_program(statement: str, tmp_path: Path) -> None:
    write(tmp_path / "app.py", PROGRAM.format(statement=statement, start="main()"))

    bare, traced = run(PYTHON, "app.py", cwd=tmp_path), ours("run", "app.py", cwd=tmp_path)

    assert bare.stderr
    assert bare.returncode == traced.returncode
    assert_same(bare.stderr, traced.stderr)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_whoever_shows_it(start: str, tmp_path: Path) -> None:
    write(tmp_path / "app.py", PROGRAM.format(statement=STATEMENTS["an error"], start=start))
    bare = re.sub(r"0x[0-9a-f]+", "0x", run(PYTHON, "app.py", cwd=tmp_path).stderr)
    traced = re.sub(r"0x[0-9a-f]+", "0x", ours("run", "app.py", cwd=tmp_path).stderr)

    assert "app.py" in bare
    assert_same(bare, traced)


@pytest.mark.parametrize(
    ("bare", "traced"),
    [
        ((PYTHON, "-m", "app"), (BIN / "pocketflow-otel", "run", "-m", "app")),
        ((PYTHON, "-X", "dev", "app.py"), (BIN / "pocketflow-otel", "run", PYTHON, "-X", "dev", "app.py")),
        ((PYTHON, "-i", "app.py"), (BIN / "pocketflow-otel", "run", PYTHON, "-i", "app.py")),
        ((PYTHON, "-c", "import app"), (BIN / "pocketflow-otel", "run", PYTHON, "-c", "import app")),
        ((PYTHON, "./command"), (BIN / "pocketflow-otel", "run", "./command")),
        ((PYTHON, "app.py"), (BIN / "opentelemetry-instrument", PYTHON, "app.py")),
    ],
    ids=["module", "development mode", "interactive", "command line", "console script", "other launcher"],
)
def test_however_it_is_started(
    bare: tuple[str | Path, ...], traced: tuple[str | Path, ...], tmp_path: Path
) -> None:
    program = PROGRAM.format(statement=STATEMENTS["an error"], start="main()")
    write(tmp_path / "app.py", program)
    script(tmp_path / "command", f"#!{PYTHON}", program)
    env = environment(
        OTEL_PYTHON_DISTRO="pocketflow",
        OTEL_PYTHON_CONFIGURATOR="pocketflow",
        POCKETFLOW_OTEL_CONSOLE="saved",
    )

    expected, shown = run(*bare, cwd=tmp_path).stderr, run(*traced, cwd=tmp_path, env=env).stderr

    assert "KeyError: 'missing'" in expected
    assert_same(expected, shown)
