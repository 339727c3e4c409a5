"""What is left of a run when its process dies, forks, or its machine refuses to write."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.processes import APP, PYTHON, run, write

from pocketflow_otel.traces import finalize

if TYPE_CHECKING:
    from pathlib import Path


CONFIGURE = "import pocketflow_otel\npocketflow_otel.configure(directory='traces', console='summary')\n"

THREE_STEPS = """
import os, sys, time
import pocketflow

class First(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        shared["first"] = "done"

class Second(pocketflow.Node):
    def exec(self, prep_res):
        second()

class Third(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        print("third", flush=True)

first = First()
first >> Second() >> Third()
three_steps = pocketflow.Flow(start=first)
"""


def program(folder: Path, second: str, before: str = CONFIGURE) -> Path:
    """Write a program of three steps, the second of which does `second`."""
    body = "".join(f"    {line}\n" for line in second.splitlines())
    return write(folder / "app.py", f"{before}{THREE_STEPS}\ndef second():\n{body}\nthree_steps.run({{}})\n")


def trace_files(folder: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted((folder / "traces").glob("*.json"))]


def timeline(document: Any) -> list[str]:
    return [f"{event['type']} {event['name']}" for event in document["events"]]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("os._exit(3)", 3),
        ("os.abort()", -signal.SIGABRT),
        (f"os.execv({PYTHON!r}, [{PYTHON!r}, '-c', 'pass'])", 0),
    ],
)
def test_a_run_that_is_killed_leaves_a_journal_with_every_finished_step(
    tmp_path: Path, second: str, code: int
) -> None:
    result = run(PYTHON, program(tmp_path, second), cwd=tmp_path)
    (journal,) = (tmp_path / "traces").iterdir()
    found = json.loads(finalize.write_trace_file(journal).read_text())

    assert (result.returncode, journal.suffix) == (code, ".jsonl")
    assert found["status"] == "interrupted"
    assert timeline(found) == [
        "flow_start three_steps",
        "node_start First",
        "node_complete First",
        "node_start Second",
    ]


def test_a_process_that_is_killed_from_outside_leaves_a_journal(tmp_path: Path) -> None:
    path = program(tmp_path, "print('ready', flush=True)\ntime.sleep(60)")
    with subprocess.Popen([PYTHON, path], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    (journal,) = (tmp_path / "traces").iterdir()

    assert timeline(json.loads(finalize.write_trace_file(journal).read_text()))[-2:] == [
        "node_complete First",
        "node_start Second",
    ]


@pytest.mark.parametrize("child", ["os._exit(0)", "pass"], ids=["child ends at once", "child goes on"])
def test_a_fork_inside_a_step_leaves_one_whole_file_of_the_parent(tmp_path: Path, child: str) -> None:
    second = f"if os.fork() == 0:\n    {child}\nelse:\n    os.wait()"
    result = run(PYTHON, program(tmp_path, second), cwd=tmp_path)
    (found,) = trace_files(tmp_path)

    assert result.returncode == 0
    told = [line.split()[0] for line in result.stderr.splitlines() if not line.startswith("slowest ")]
    assert told == ["ok", "trace"]
    assert found["status"] == "ok"
    assert timeline(found) == [
        "flow_start three_steps",
        "node_start First",
        "node_complete First",
        "node_start Second",
        "node_complete Second",
        "node_start Third",
        "node_complete Third",
        "flow_complete three_steps",
    ]
    assert len([*(tmp_path / "traces").iterdir()]) == 1


def test_a_forked_process_has_runs_of_its_own(tmp_path: Path) -> None:
    before = CONFIGURE + "import os\n"
    path = program(tmp_path, "pass", before)
    write(
        path,
        path.read_text().replace(
            "\nthree_steps.run({})", "\npid = os.fork()\nthree_steps.run({})\npid and os.wait()"
        ),
    )
    run(PYTHON, path, cwd=tmp_path)

    assert [found["status"] for found in trace_files(tmp_path)] == ["ok", "ok"]
    assert len({found["trace_id"] for found in trace_files(tmp_path)}) == 2


FILL = """
import resource
from pathlib import Path
(journal,) = Path("traces").iterdir()
size = journal.stat().st_size + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""


def test_a_full_disk_costs_one_line_and_the_flow_goes_on(tmp_path: Path) -> None:
    """A limit on the size of files is as good: after so many bytes, `write` fails."""
    result = run(PYTHON, program(tmp_path, FILL), cwd=tmp_path)
    (journal,) = (tmp_path / "traces").iterdir()
    warning, summary, *_ = result.stderr.splitlines()  # The slowest step, if it took any time

    assert (result.returncode, result.stdout) == (0, "third\n")
    assert warning == f"pocketflow-otel: the trace of run {journal.stem} stops here: File too large"
    assert summary.startswith("ok  ")
    assert timeline(json.loads(finalize.write_trace_file(journal).read_text()))[-2:] == [
        "node_complete First",
        "node_start Second",
    ]


HOMELESS = """
import os, pwd
del os.environ["HOME"]
def getpwuid(uid):
    raise KeyError(uid)
pwd.getpwuid = getpwuid
import pocketflow_otel
pocketflow_otel.configure(console="summary")
"""


def test_a_process_without_a_home_directory_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POCKETFLOW_OTEL_DIR")
    result = run(PYTHON, program(tmp_path, "pass", HOMELESS), cwd=tmp_path)
    warning, summary, *_ = result.stderr.splitlines()  # The slowest step, if it took any time

    assert (result.returncode, result.stdout) == (0, "third\n")
    assert warning.startswith("pocketflow-otel: no trace file in ~/.pflow/traces: ")
    assert summary.startswith("ok  ")
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


@pytest.mark.parametrize(
    "stderr", ["2>&-", "2>/dev/full", "2>&1 1>&3 3>&- | true"], ids=["closed", "full", "pipe"]
)
def test_a_process_whose_stderr_cannot_be_written_goes_on(tmp_path: Path, stderr: str) -> None:
    path = program(tmp_path, "time.sleep(0.2)", CONFIGURE.replace("summary", "live"))
    code = tmp_path / "code"
    command = f"{{ {PYTHON} {path} 3>&-; echo $? >{code}; }} {stderr}"
    result = run("sh", "-c", f"exec 3>&1; {command}", cwd=tmp_path)

    assert (code.read_text(), result.stdout) == ("0\n", "third\n")
    assert [found["status"] for found in trace_files(tmp_path)] == ["ok"]


MANY_ITEMS = """
import os
os.environ["POCKETFLOW_OTEL_MAX_BATCH_ITEMS"] = "2000"
import pocketflow, pocketflow_otel
pocketflow_otel.configure(directory="traces", console="off")

class Many(pocketflow.BatchNode):
    def prep(self, shared):
        return range(1500)

pocketflow.Flow(start=Many()).run({})
"""


def test_a_file_that_is_made_in_the_background_is_there_when_the_process_has_ended(
    tmp_path: Path,
) -> None:
    run(PYTHON, write(tmp_path / "app.py", MANY_ITEMS), cwd=tmp_path)
    (path,) = (tmp_path / "traces").iterdir()
    (found,) = trace_files(tmp_path)

    assert found["status"] == "ok"
    assert path.read_text().count('"batch_item"') == 1500


def test_an_app_that_is_not_configured_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "app.py", "import pocketflow_otel\n" + APP)
    result = run(PYTHON, "app.py", cwd=tmp_path)

    assert (result.returncode, result.stdout, result.stderr) == (0, "hello\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]
