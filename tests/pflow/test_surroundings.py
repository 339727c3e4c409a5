"""What surrounds a run of pflow: the processes it starts, the end of its own, and where spans go."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.pflow.environments import NEWEST, VERSIONS, bin_of
from tests.pflow.homes import furnish
from tests.pflow.pairs import WORKFLOWS
from tests.processes import write
from tests.receiver import Receiver, free_port

from pocketflow_otel import semconv
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pocketflow_otel.traces.model import SpanRecord
    from pocketflow_otel.traces.trace import Trace

pytestmark = pytest.mark.integration

OLDEST: Final = VERSIONS[0]
LAUNCHERS: Final = {
    "bare": (),
    "launcher": ("opentelemetry-instrument",),
    "run": ("pocketflow-otel", "run", "--"),
}
"""What stands before pflow: a command of its environment, and that command's arguments."""


class Home:
    """A home in which pflow is run."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.variables = furnish(folder, version)
        self.work = folder / "work"
        self.traces = folder / ".pflow" / "traces"

    def command(self, launcher: str, *arguments: str | Path) -> list[str]:
        """Return how pflow is started: by the path of its command, so that `$_` is no difference."""
        folder = bin_of(self.version)
        command = [*LAUNCHERS[launcher], folder / "pflow", *arguments]
        return [str(folder / command[0]), *map(str, command[1:])]

    def run(
        self, launcher: str, *arguments: str | Path, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(launcher, *arguments),
            cwd=self.work,
            env=self.variables | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def saved(self) -> list[Trace]:
        """Return the runs in the order of their starts."""
        traces = [reader.read(path) for path in self.traces.iterdir()]
        return sorted(traces, key=lambda trace: trace.head.start)


@pytest.fixture
def home(tmp_path: Path, version: str) -> Home:
    return Home(tmp_path / "home", version)


each_end = pytest.mark.parametrize("version", [OLDEST, NEWEST])
newest = pytest.mark.parametrize("version", [NEWEST])


# What a shell step's processes see

LOOK: Final = WORKFLOWS / "environment.pflow.md"


def seen(output: bytes) -> list[bytes]:
    """Return what a step's processes said, without the shell's own note of what it started last."""
    return [line for line in output.splitlines() if not line.startswith(b"_=")]


@each_end
def test_a_shell_steps_processes_see_what_they_see_without_us(home: Home) -> None:
    look = ("-p", LOOK, f"python={bin_of(home.version) / 'python'}")
    bare, *traced = [home.run(launcher, *look) for launcher in LAUNCHERS]

    assert (bare.returncode, b"GREETING=hello" in bare.stdout, b"\n[]\n" in bare.stdout) == (0, True, True)
    assert [seen(done.stdout) for done in traced] == [seen(bare.stdout)] * 2
    assert len(home.saved()) == 2


OUTER: Final = """# Outer

Runs another workflow, for each of two words at once.

## Steps

### each

Runs it.

- type: shell
- batch:
    items: [one, two]
    as: word
    parallel: true

```shell command
{pflow} -p inner.pflow.md word=${{word}}
```

### collect

Collects what they said, on either stream.

- type: code
- inputs:
    results: ${{each.results}}

```python code
results: list
result: list = [[each["stdout"], each["stderr"]] for each in results]
```

## Outputs

### said

All of it.

- source: ${{collect.result}}
"""

INNER: Final = """# Inner

Says a word.

## Inputs

### word

What is said.

- type: string
- required: true

## Steps

### say

Says it.

- type: shell
- command: echo "${word}!"

## Outputs

### said

The word.

- source: ${say.stdout}
"""


def spans_named(traces: Sequence[Trace], name: str) -> list[SpanRecord]:
    return [span for trace in traces for span in trace.spans if span.name == name]


@each_end
@pytest.mark.parametrize("launcher", ["launcher", "run"])
def test_a_workflow_that_a_step_starts_is_of_its_trace_where_that_is_asked_for(
    home: Home, launcher: str
) -> None:
    write(home.work / "outer.pflow.md", OUTER.format(pflow=bin_of(home.version) / "pflow"))
    write(home.work / "inner.pflow.md", INNER)
    bare = home.run("bare", "-p", "outer.pflow.md")
    apart = home.run(launcher, "-p", "outer.pflow.md")
    separate = home.saved()
    joined = home.run(launcher, "-p", "outer.pflow.md", POCKETFLOW_OTEL_CHILDREN="trace")
    together = home.saved()[1:]

    assert (apart.returncode, apart.stdout) == (joined.returncode, joined.stdout) == (0, bare.stdout)
    assert ([trace.head.title for trace in separate], len(together)) == (["outer"], 3)
    assert len({span.trace_id for trace in together for span in trace.spans}) == 1
    items = {span.span_id for span in spans_named(together, semconv.BATCH_ITEM)}
    assert {span.parent_id for span in spans_named(together, "invoke_workflow inner")} == items
    assert len(items) == 2


# How it ends


@each_end
def test_a_reader_that_closes_its_pipe_leaves_a_whole_trace(home: Home) -> None:
    codes = []
    for launcher in ("bare", "launcher"):
        read, write_ = os.pipe()
        process = subprocess.Popen(
            home.command(launcher, "-p", WORKFLOWS / "big-output.pflow.md"),
            cwd=home.work,
            env=home.variables,
            stdin=subprocess.DEVNULL,
            stdout=write_,
            stderr=subprocess.PIPE,
        )
        os.close(write_)
        os.read(read, 10)
        os.close(read)
        process.communicate(timeout=60)
        codes.append(process.returncode)
    (trace,) = home.saved()

    assert codes[0] == codes[1]
    assert (trace.head.status, [path.suffix for path in home.traces.iterdir()]) == ("ok", [".json"])


@each_end
@pytest.mark.parametrize(
    ("sent", "status"), [("INT", "failed"), ("TERM", "interrupted"), ("KILL", "interrupted")]
)
def test_a_signal_ends_pflow_as_without_us_and_the_trace_says_where(
    home: Home, sent: str, status: str
) -> None:
    arguments = (WORKFLOWS / "interrupted.pflow.md", f"signal={sent}")
    bare, traced = home.run("bare", *arguments), home.run("launcher", *arguments)
    (trace,) = home.saved()

    assert bare.returncode in (-signal.Signals[f"SIG{sent}"], 128 + signal.Signals[f"SIG{sent}"])
    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert trace.head.status == status
    steps = {step.span.title: (step.span.failed, step.interrupted) for step in trace.walk()}
    hit = (True, status == "interrupted")
    assert steps == {"interrupted": hit, "begin": (False, False), "signal-pflow": hit}


# Where spans go


def ids(spans: Sequence[Any]) -> set[tuple[str, str, str]]:
    """Return the names of spans, their ids, and those of their parents."""
    return {(span["name"], span["spanId"], span.get("parentSpanId", "")) for span in spans}


@newest
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_receiver_gets_the_tree_that_the_file_has(home: Home, protocol: str) -> None:
    with Receiver().running() as receiver:
        port = receiver.grpc_port if protocol == "grpc" else receiver.http_port
        done = home.run(
            "launcher",
            "-p",
            WORKFLOWS / "batch-parallel.pflow.md",
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )
        arrived = receiver.spans
    (path,) = home.traces.iterdir()
    resources = json.loads(path.read_text())["resourceSpans"]
    kept = [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]
    service = {
        attribute["value"]["stringValue"]
        for span in arrived
        for attribute in span["resource"]["attributes"]
        if attribute["key"] == "service.name"
    }

    assert (done.returncode, len(kept), service) == (0, 23, {"pflow"})
    assert ids(arrived) == ids(kept)


@newest
def test_an_endpoint_that_is_down_does_not_change_what_pflow_does(home: Home) -> None:
    linear = WORKFLOWS / "linear.pflow.md"
    bare = home.run("bare", "-p", linear)
    traced = home.run("launcher", "-p", linear, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")

    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert b"4 of 4 spans did not reach" in traced.stderr
    assert [trace.head.status for trace in home.saved()] == ["ok"]


# Threads

THREADS: Final = """# Threads

Makes spans in threads.

## Steps

### work

Makes a span in the step's own thread, and looks around in others.

- type: code
- batch:
    items: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    as: number
    parallel: true
    max_concurrent: 20
- inputs:
    number: ${number}

```python code
import concurrent.futures
import threading
from opentelemetry import context, trace

number: int
with trace.get_tracer("theirs").start_as_current_span(f"theirs {number}"):
    pass
seen = []
thread = threading.Thread(target=lambda: seen.append(str(dict(context.get_current()))))
thread.start()
thread.join()
with concurrent.futures.ThreadPoolExecutor() as pool:
    seen.append(str(dict(pool.submit(context.get_current).result())))
    seen.append(type(pool).__module__)
result: list = seen
```

## Outputs

### seen

What was seen.

- source: ${work.results}
"""


# Up to 0.11 code steps that run at once swap each other's sys.stdout, and pflow then prints nothing.
@newest
def test_twenty_items_in_threads_hold_what_is_done_in_them_and_other_threads_see_nothing(home: Home) -> None:
    write(home.work / "threads.pflow.md", THREADS)
    done = home.run("launcher", "-p", "threads.pflow.md")
    (trace,) = home.saved()
    steps = {step.span.span_id: step for step in trace.walk()}
    items = {
        step.span.attributes[semconv.BATCH_INDEX]: step for step in steps.values() if step.span.role == "item"
    }

    assert done.returncode == 0, done.stderr
    assert {steps[item.span.parent_id].span.title for item in items.values()} == {"work"}
    assert {index: [child.span.name for child in item.children] for index, item in items.items()} == {
        number: [f"theirs {number}"] for number in range(20)
    }
    assert done.stdout.count(b"concurrent.futures.thread") >= 20
    assert b"pocketflow-otel-scope" not in done.stdout
    assert b"current-span" not in done.stdout


# What is not there


@pytest.fixture
def other_pflow(tmp_path: Path) -> Path:
    """A copy of the newest pflow whose engine calls its nodes by another name."""
    (package,) = bin_of(NEWEST).parent.glob("lib/python*/site-packages/pflow")
    folder = tmp_path / "other"
    shutil.copytree(package, folder / "pflow")
    engine = folder / "pflow/runtime/engine/engine.py"
    engine.write_text(engine.read_text().replace("_execute_node(", "_do_node("))
    return folder


@newest
def test_a_pflow_made_otherwise_is_told_of_once_and_the_rest_is_traced(home: Home, other_pflow: Path) -> None:
    nested = WORKFLOWS / "nested.pflow.md"
    bare = home.run("bare", "-p", nested, PYTHONPATH=str(other_pflow))
    traced = home.run("launcher", "-p", nested, PYTHONPATH=str(other_pflow))
    (trace,) = home.saved()

    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout) == (0, bare.stdout)
    assert traced.stderr.count(b"pocketflow-otel knows it") == 1
    assert b"without pflow.runtime.engine.engine.WorkflowEngine._execute_node, a part of" in traced.stderr
    assert [step.span.name for step in trace.walk()] == ["invoke_workflow nested"] + [
        f"invoke_workflow {name}" for name in ("middle", "innermost")
    ]


UNDONE: Final = """
import importlib
from pocketflow_otel import PflowInstrumentor

NAMES = {names!r}

def found():
    modules = [vars(importlib.import_module(module)) for module, _, _ in NAMES]
    return [
        (vars(module[owner]) if owner else module)[name]
        for module, (_, owner, name) in zip(modules, NAMES)
    ]

bare = found()
for _ in range(2):
    PflowInstrumentor().instrument()
    traced = found()
    PflowInstrumentor().uninstrument()
    undone = found()
    print(
        [new is not old for new, old in zip(traced, bare)],
        [new is old for new, old in zip(undone, bare)],
    )
"""

HOOKED: Final = {
    OLDEST: [
        ("pflow.execution.executor_service", "WorkflowExecutorService", "execute_workflow"),
        ("pflow.pocketflow", "Flow", "_run"),
        ("pflow.pocketflow", "Node", "_exec"),
        ("pflow.runtime.instrumented_wrapper", "InstrumentedNodeWrapper", "_run"),
        ("pflow.runtime.batch_node", "PflowBatchNode", "_exec_single_with_node"),
        ("pflow.nodes.python.python_code", "", "ThreadPoolExecutor"),
        ("pflow.nodes.shell.shell", "ShellNode", "exec"),
    ],
    NEWEST: [
        ("pflow.execution.runner", "WorkflowRunner", "run"),
        ("pflow.runtime.engine.engine", "WorkflowEngine", "_execute_node"),
        ("pflow.runtime.engine.batch_executor", "", "_execute_batch_item"),
        ("pflow.core.node", "Node", "_exec"),
        ("pflow.nodes.llm.llm", "", "ThreadPoolExecutor"),
        ("pflow.nodes.shell.shell", "ShellNode", "exec"),
        ("pflow.core.output_controller", "OutputController", "create_progress_callback"),
    ],
}


@each_end
def test_everything_replaced_is_put_back_the_very_same(home: Home) -> None:
    names = HOOKED[home.version]
    done = subprocess.run(
        [bin_of(home.version) / "python", "-c", UNDONE.format(names=names)],
        env=home.variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    all_ = [True] * len(names)

    assert (done.returncode, done.stdout.splitlines()) == (0, [f"{all_} {all_}"] * 2), done.stderr


# Nothing more is imported


@each_end
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_pflow_that_only_says_what_it_is_imports_no_more_of_itself(home: Home, option: str) -> None:
    imported = [
        {
            line.rpartition(b"|")[2].strip()
            for line in home.run(launcher, option, PYTHONPROFILEIMPORTTIME="1").stderr.splitlines()
            if line.startswith(b"import time:") and line.rpartition(b"|")[2].strip().startswith(b"pflow")
        }
        for launcher in ("bare", "launcher")
    ]

    assert imported[1] == imported[0] != set()
