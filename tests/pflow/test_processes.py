"""pflow's process, and what happens to it: closed pipes, Ctrl-C, kills, receivers, full disks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.pflow.environments import ENDS
from tests.pflow.pipes import read_line
from tests.pflow.users import TRACED, User, outline, spans_of
from tests.support.patience import patient
from tests.support.receiver import Receiver, closed_port, stay_silent, tcp_server

from pocketflow_otel.traces.validation import read_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.pflow.commands import Commands

    from pocketflow_otel.traces.records import SpanRecord


LINEAR = """\
invoke_workflow linear
  invoke_node greet
  invoke_node shout
  invoke_node frame"""
QUIET = {"POCKETFLOW_OTEL_CONSOLE": "off"}
"""Nothing of ours on stderr but what is wrong."""


@dataclass
class Ended:
    """How a process ended, and what it said."""

    code: int
    stdout: bytes
    stderr: bytes


def arrived(receiver: Receiver) -> list[SpanRecord]:
    """Return what a receiver got, as readers of trace files have it."""
    return [read_span(span, span["scope"]) for span in receiver.spans]


def by_id(spans: list[SpanRecord]) -> dict[str, SpanRecord]:
    return {span.span_id: span for span in spans}


# Readers that go away: pflow ends its process on the spot


def piped(user: User, launcher: str, workflow: str, size: int, **variables: str) -> Ended:
    """Run a workflow with a reader that takes so many bytes, and goes."""
    process = user.start(launcher, "-p", f"{workflow}.pflow.md", **QUIET, **variables)
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        read = process.stdout.read(size)
        process.stdout.close()
        return Ended(process.wait(60), read, process.stderr.read())


@pytest.mark.parametrize(
    ("version", "launcher", "workflow", "size", "steps"),
    [
        ("0.8.1", "instrument", "big-output", 10, 1),
        ("newest", "instrument", "big-output", 10, 1),
        ("newest", "run", "big-output", 10, 1),
        ("newest", "instrument", "linear", 0, 3),
    ],
)
def test_a_reader_that_goes_away_leaves_a_whole_trace_here_and_there(
    version: str, launcher: str, workflow: str, size: int, steps: int, tmp_path: Path
) -> None:
    bare = piped(User(tmp_path / "home", version), "bare", workflow, size)
    user = User(tmp_path / "home", version)
    with Receiver().running() as receiver:
        endpoint = f"http://127.0.0.1:{receiver.grpc_port}"
        waits = patient(tmp_path / "patient")
        traced = piped(user, launcher, workflow, size, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, PYTHONPATH=waits)
    trace = user.trace()

    assert (bare.code, len(bare.stdout)) == (0, size)
    assert traced == bare
    assert (trace.summary.path.suffix, trace.summary.status, trace.summary.steps) == (".json", "ok", steps)
    assert by_id(arrived(receiver)) == by_id(spans_of([trace]))


def test_a_trace_too_long_to_wait_for_is_whole_when_the_reader_goes_away(tmp_path: Path) -> None:
    user = User(tmp_path / "home", "newest")
    traced = piped(
        user,
        "instrument",
        "crowd",
        10,
        POCKETFLOW_OTEL_MAX_BATCH_ITEMS="1000",
        POCKETFLOW_OTEL_PFLOW_DETAILS="errors",
    )
    trace = user.trace()

    assert (traced.code, traced.stdout) == (0, b"699 699 69")
    assert (trace.summary.path.suffix, trace.summary.status) == (".json", "degraded")
    assert trace.summary.path.stat().st_size > 1_000_000  # The limit is on the journal, which is larger.
    assert len(spans_of([trace])) == 1 + 3 + 700


# Signals


def signalled(user: User, launcher: str, number: signal.Signals, **variables: str) -> Ended:
    """Send a signal while a shell step runs; that of Ctrl-C goes to all in the terminal."""
    os.mkfifo(user.work / "waiting")
    process = user.start(launcher, "-p", "waiting.pflow.md", **QUIET, **variables)
    child = int(read_line(user.work / "waiting"))
    try:
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
        return Ended(process.returncode, stdout, stderr)
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("version", "launcher"), [("0.8.1", "instrument"), ("newest", "instrument"), ("newest", "run")]
)
def test_ctrl_c_ends_pflow_as_ever_and_leaves_a_trace(version: str, launcher: str, tmp_path: Path) -> None:
    bare = signalled(User(tmp_path / "home", version), "bare", signal.SIGINT)
    user = User(tmp_path / "home", version)
    traced = signalled(user, launcher, signal.SIGINT)
    trace = user.trace()

    assert (bare.code, bare.stdout) == (130, b"")
    assert traced == bare
    assert trace.summary.path.suffix == ".json"
    assert outline(spans_of([trace]), "error.type") == (
        "invoke_workflow waiting SystemExit\n  invoke_node begin\n  invoke_node wait SystemExit"
    )


@pytest.mark.parametrize(
    ("version", "number"),
    [("0.8.1", signal.SIGKILL), ("newest", signal.SIGKILL), ("newest", signal.SIGTERM)],
)
def test_a_killed_pflow_leaves_a_journal_that_can_be_read(
    version: str, number: signal.Signals, tmp_path: Path
) -> None:
    user = User(tmp_path / "home", version)
    traced = signalled(user, "instrument", number)
    trace = user.trace()

    assert (traced.code, traced.stdout) == (-number, b"")
    assert (trace.summary.path.suffix, trace.summary.status) == (".jsonl", "interrupted")
    assert outline(spans_of([trace]), "pocketflow.interrupted") == (
        "invoke_workflow waiting True\n  invoke_node begin\n  invoke_node wait True"
    )


# Receivers


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_saved_workflow_is_sent_as_it_is_in_its_file(protocol: str, tmp_path: Path) -> None:
    user = User(tmp_path / "home", "newest")
    assert user.run("bare", "save", "linear.pflow.md", "--name", "hello").returncode == 0
    with Receiver().running() as receiver:
        port = receiver.grpc_port if protocol == "grpc" else receiver.http_port
        done = user.run(
            "instrument",
            *("run", "-p", "hello", "name=ada"),
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            PYTHONPATH=patient(tmp_path / "patient"),
            **QUIET,
        )
    spans = spans_of([user.trace()])

    assert (done.returncode, done.stdout, done.stderr) == (0, b"* HELLO ADA *\n", b"")
    assert by_id(arrived(receiver)) == by_id(spans)
    assert outline(spans) == LINEAR.replace("linear", "hello")
    assert len(receiver.spans) == len(spans)


@contextmanager
def deaf(how: str) -> Iterator[str]:
    """Yield the address of one who takes no spans."""
    if how == "refuses":
        with closed_port() as port:
            yield f"http://127.0.0.1:{port}"
    else:
        with tcp_server(stay_silent) as port:
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("how", "protocol"), [("refuses", "grpc"), ("is silent", "http/protobuf")])
def test_an_endpoint_that_takes_nothing_costs_one_line(
    how: str, protocol: str, tmp_path: Path, forks: Commands
) -> None:
    bare = User(tmp_path / "home", "newest", forks).run("bare", "-p", "linear.pflow.md")
    user = User(tmp_path / "home", "newest")
    with deaf(how) as endpoint:
        traced = user.run(
            "instrument",
            *("-p", "linear.pflow.md"),
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_TIMEOUT="600",
            **QUIET,
        )

    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert (bare.returncode, bare.stdout, bare.stderr) == (0, b"* HELLO WORLD *\n", b"")
    (line,) = traced.stderr.decode().splitlines()
    assert line.startswith("pocketflow-otel: 4 of 4 spans did not reach ")
    assert line.endswith("; the trace files have them, for pocketflow-otel send")
    assert outline(spans_of([user.trace()])) == LINEAR


# Disks


@contextmanager
def small_disk(place: Path) -> Iterator[str]:
    """Mount a disk that is full after 4 kB, and yield its folder."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield str(place)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_costs_one_line(tmp_path: Path, forks: Commands) -> None:
    user = User(tmp_path / "home", "newest", forks)
    bare = user.run("bare", "-p", "batch-parallel.pflow.md")
    with small_disk(tmp_path / "disk") as place:
        traced = user.run("instrument", "-p", "batch-parallel.pflow.md", POCKETFLOW_OTEL_DIR=place, **QUIET)

    assert (bare.returncode, bare.stderr) == (0, b"")
    assert (traced.returncode, traced.stdout) == (0, bare.stdout)
    assert re.fullmatch(
        rb"pocketflow-otel: the trace of run \S+ stops here: No space left on device\n", traced.stderr
    )


def test_a_folder_that_cannot_be_made_costs_one_line(tmp_path: Path, forks: Commands) -> None:
    user = User(tmp_path / "home", "newest", forks)
    place = user.work / "linear.pflow.md" / "traces"  # Below a file, where not even root can make one.
    traced = user.run("instrument", "-p", "linear.pflow.md", POCKETFLOW_OTEL_DIR=str(place), **QUIET)

    assert (traced.returncode, traced.stdout) == (0, b"* HELLO WORLD *\n")
    assert traced.stderr.decode() == f"pocketflow-otel: no trace file in {place}: Not a directory\n"


# Imports


@pytest.mark.parametrize("version", ENDS)
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_pflow_imports_no_more_of_itself_than_without_us(version: str, option: str, tmp_path: Path) -> None:
    user = User(tmp_path / "home", version)
    bare, *traced = (imported(user, launcher, option) for launcher in ("bare", *TRACED))

    assert "pflow.cli" in bare
    assert traced == [bare] * len(TRACED)
    assert user.files() == []


def imported(user: User, launcher: str, option: str) -> list[str]:
    """Return the modules of pflow that a command of its imports, with those of the launcher."""
    done = user.run(launcher, option, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    return re.findall(r"^import time:[^|]*\|[^|]*\| +(pflow(?:\.\S+)?)$", done.stderr.decode(), re.MULTILINE)
