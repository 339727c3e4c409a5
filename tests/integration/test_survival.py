"""What is left of a run whose process, disk or directory went away: everything that had been said."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_line import run

if TYPE_CHECKING:
    from collections.abc import Iterator


HERE = Path(__file__).parent
_ENDED = re.compile(r"^ *[\d.]+s +(?:(\[\d+\]) )?[✓✗⚠] ([A-Za-z]\w*) [\d.]+s", re.MULTILINE)


def shown(path: Path) -> dict[str, Any]:
    result = run("show", path, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def ended_on_stderr(stderr: str) -> Counter[tuple[str, str]]:
    """Count the steps whose end was told, by the round they ran in and their name."""
    return Counter((match[1] or "", match[2]) for match in _ENDED.finditer(stderr) if match[2] != "Flow")


def ended_in(trace: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Count the steps that ended in what `show` says."""
    found: Counter[tuple[str, str]] = Counter()
    label = {0: ""}
    for row in trace["tree"]:
        above = label.get(row["depth"] - 1, "")
        label[row["depth"]] = f"[{row['index']}]" if row["kind"] == "item" else above
        if row["kind"] == "node" and row["status"] in ("ok", "failed"):
            found[above, row["name"]] += 1
    return found


def victims(place: Path, how: str, count: int, seed: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, HERE / "victims.py", place, how, str(count), str(seed)],
        capture_output=True,
        text=True,
        timeout=900,  # Half a minute on an idle machine
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("how", "count", "code"),
    [("kill", 50, -9), ("term", 12, -15), ("exit", 12, 3)],
    ids=["kill", "term", "exit"],
)
def test_every_step_that_was_told_is_shown(tmp_path: Path, how: str, count: int, code: int) -> None:
    whole, *dead = victims(tmp_path, how, count, seed=5)
    assert (whole["code"], sum(ended_on_stderr(whole["stderr"]).values())) == (0, 300)
    # Some were done before their end came, as they would be without us.
    assert {victim["code"] for victim in dead} <= {code, 0}
    interrupted = 0
    for victim in dead:
        told = ended_on_stderr(victim["stderr"])
        files = sorted(Path(victim["directory"]).glob("*.json*"))
        if not files:
            assert not told
            continue
        (path,) = {file.stem: file for file in files}.values()
        if path.suffix == ".jsonl" and not path.stat().st_size:
            assert not told
            continue
        trace = shown(path)
        kept = ended_in(trace)
        assert told - kept == Counter(), f"{path}: told, not shown"
        assert kept.total() - told.total() <= 1, "shown before it was told: at most the last one"
        assert trace["status"] in ("ok", "interrupted")
        interrupted += trace["status"] == "interrupted"
        following = run("list", "--dir", victim["directory"])
        assert (following.exit_code, following.stderr) == (0, "")
    assert interrupted, "the moments were no good"  # How many are in time depends on the machine.


def test_prune_makes_the_trace_file_of_a_dead_process(tmp_path: Path) -> None:
    _, *dead = victims(tmp_path, "exit", 3, seed=7)
    for victim in dead:
        directory = Path(victim["directory"])
        assert [path.suffix for path in directory.iterdir()] == [".jsonl"]
        before = shown(next(directory.iterdir()))
        result = run("prune", "--dir", directory)
        assert (result.exit_code, result.stderr) == (0, "0 files removed, 1 interrupted run recovered\n")
        (path,) = directory.iterdir()
        assert path.suffix == ".json"
        after = shown(path)
        assert {**after, "path": ""} == {**before, "path": ""}


PROGRAM = """
import sys, shutil, os
from pathlib import Path
import pocketflow, pocketflow_otel

class Work(pocketflow.Node):
    def post(self, shared, prepared, executed):
        shared["left"] -= 1
        if shared["left"] == 150 and "--remove" in sys.argv:
            shutil.rmtree(os.environ["POCKETFLOW_OTEL_DIR"])
        return "again" if shared["left"] else "done"

work = Work()
work - "again" >> work
pocketflow_otel.configure()
shared = {"left": 300}
pocketflow.Flow(start=work).run(shared)
print("left", shared["left"])
"""


def run_program(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
        env={**os.environ, "POCKETFLOW_OTEL_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


@contextmanager
def small_disk(place: Path) -> Iterator[dict[str, Any]]:
    """Make a directory whose disk is full after 100 kB: a tmpfs, or a limit on the size of files."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        import resource
        import signal

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        yield {"preexec_fn": limit}
        return
    try:
        yield {}
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_costs_one_warning_and_what_came_after_it(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    with small_disk(place) as options:
        done = run_program(place, **options)
        assert (done.returncode, done.stdout) == (0, "left 0\n")
        before, *after = done.stderr.split("pocketflow-otel: ")
        assert len(after) == 1
        assert "stops here" in after[0]
        (path,) = place.iterdir()
        trace = shown(path)
        told = ended_on_stderr(before)
        assert told.total() > 10
        assert told - ended_in(trace) == Counter()
        assert trace["status"] == "interrupted"
        assert run("list", "--dir", place).exit_code == 0
        path.unlink()
        following = run_program(place, **options)
        assert following.returncode == 0


def test_a_directory_that_goes_costs_one_warning(tmp_path: Path) -> None:
    place = tmp_path / "traces"
    done = run_program(place, "--remove")
    assert (done.returncode, done.stdout, done.stderr.count("pocketflow-otel: ")) == (0, "left 0\n", 1)
    assert sum(ended_on_stderr(done.stderr).values()) == 300
    assert not place.exists()
    following = run_program(place)
    assert (following.returncode, following.stderr.count("pocketflow-otel: ")) == (0, 0)
    (path,) = place.iterdir()
    assert shown(path)["steps"] == 300


CROWD = """
import os, sys, threading
from pathlib import Path
sys.path.insert(0, {here!r})
import victims
import pocketflow_otel.sdk.configure
children = []
gate, go = os.pipe()
for number in range(20):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(gate, 1)  # All at once
        code = 1
        try:
            sys.stderr = open(os.devnull, "w")
            victims.run(Path(sys.argv[1]), {{}})
            code = 0
        finally:
            os._exit(code)
    children.append(child)
os.close(go)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_twenty_processes_in_one_directory_leave_twenty_whole_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CROWD.format(here=str(HERE)), tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"{[0] * 20}\n", "")
    files = list(tmp_path.iterdir())
    assert (len(files), {path.suffix for path in files}) == (20, {".json"})
    traces = [shown(path) for path in files]
    assert [(trace["status"], trace["steps"]) for trace in traces] == [("ok", 300)] * 20
    assert len({trace["trace_id"] for trace in traces}) == 20
    assert [len(trace["tree"]) for trace in traces] == [312] * 20  # and the two flows, and ten rounds


LONG = """
import os, sys
import pocketflow, pocketflow_otel

def memory():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")

class Work(pocketflow.Node):
    def post(self, shared, prepared, executed):
        shared["left"] -= 1
        if shared["left"] == 7_000:
            shared["before"] = memory()
        return "again" if shared["left"] else "done"

work = Work()
work - "again" >> work
provider = pocketflow_otel.configure(console="summary")
shared = {"left": 8_000}
pocketflow.Flow(start=work).run(shared)
provider.shutdown()
print(memory() - shared["before"])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to see memory")
def test_8_000_steps_are_all_there_and_cost_no_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LONG],
        env={**os.environ, "POCKETFLOW_OTEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert int(done.stdout) < 7_000 * 500  # A span of a step that is kept takes thousands of bytes.
    (path,) = tmp_path.iterdir()
    with path.open(encoding="utf-8") as file:
        assert sum(line.startswith('   {"traceId"') for line in file) == 8_001
    result = run("show", path)
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines) < 200) == (0, True)
    assert "… 7,900 more left out (7,900 ok); --all shows them" in result.stdout
    assert "8,000 steps" in lines[1]


FORKS = """
import os, time
import pocketflow, pocketflow_otel

class Fork(pocketflow.Node):
    def exec(self, prepared):
        child = os.fork()
        if not child:
            os.close(1)
            os.close(2)
            time.sleep(600)
        print(child, flush=True)
        os._exit(3)

pocketflow_otel.configure()
pocketflow.Flow(start=Fork()).run({})
"""


def test_a_child_that_lives_on_does_not_keep_the_run_of_its_dead_parent_running(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        env={**os.environ, "POCKETFLOW_OTEL_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    child = int(done.stdout)
    try:
        os.kill(child, 0)  # It lives.
        (path,) = tmp_path.iterdir()
        assert (done.returncode, shown(path)["status"]) == (3, "interrupted")
    finally:
        os.kill(child, 9)
