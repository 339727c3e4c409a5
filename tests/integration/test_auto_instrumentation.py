"""`opentelemetry-instrument python app.py`, with our distro and with OpenTelemetry's in its place."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.processes import APP, BIN, PYTHON, environment, run, write

if TYPE_CHECKING:
    from pathlib import Path


BOTH = "pocketflow_console,pocketflow_file"
INSTRUMENT = BIN / "opentelemetry-instrument"
OURS = {"OTEL_PYTHON_DISTRO": "pocketflow", "OTEL_PYTHON_CONFIGURATOR": "pocketflow"}
"""Needed only where another distro is installed too; else ours is the one there is."""
THEIRS = {
    "OTEL_PYTHON_DISTRO": "distro",
    "OTEL_PYTHON_CONFIGURATOR": "configurator",
    # It would send these to a collector on this machine.
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
DISTROS = [
    pytest.param(OURS, id="pocketflow"),
    pytest.param(
        THEIRS,
        id="opentelemetry-distro",
        marks=pytest.mark.skipif(
            not metadata.entry_points(group="opentelemetry_distro", name="distro"),
            reason="opentelemetry-distro is not installed",
        ),
    ),
]


def instrumented(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(INSTRUMENT, *command, cwd=folder, env=environment(**variables))


def lines_of(stderr: str) -> list[str]:
    """Return the lines on stderr without OpenTelemetry's about distros that are installed but not taken."""
    return [line for line in stderr.splitlines() if not line.startswith("Configuration of ")]


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "traces"
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(folder))
    return folder


WATCHED = (
    """
import sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.stdout.write(f"{event} {args}\\n"))
"""
    + APP
    + """
    print([name for name in sys.modules if name.startswith(("grpc", "opentelemetry.exporter"))])
"""
)


def test_with_no_variable_set_there_are_a_trace_file_two_lines_and_no_connection(
    tmp_path: Path, traces: Path
) -> None:
    write(tmp_path / "app.py", WATCHED)
    result = instrumented(tmp_path, PYTHON, "app.py", **OURS)
    (path,) = traces.iterdir()
    first, second = lines_of(result.stderr)

    assert (result.returncode, result.stdout) == (0, "hello\n[]\n")
    assert first.startswith("ok  ")
    assert first.endswith(" · 1 step")
    assert second == f"trace {path}"
    assert json.loads(path.read_text())["status"] == "ok"


@pytest.mark.needs_program("strace")
def test_with_no_variable_set_the_process_never_asks_the_system_to_connect(
    tmp_path: Path, traces: Path
) -> None:
    write(tmp_path / "app.py", APP)
    log = tmp_path / "strace.log"
    result = run(
        *("strace", "-f", "-e", "trace=connect,sendto,sendmsg", "-o", log, INSTRUMENT, PYTHON, "app.py"),
        cwd=tmp_path,
        env=environment(**OURS),
    )
    if "ptrace" in result.stderr:
        pytest.skip("this machine forbids ptrace")

    assert result.stdout == "hello\n"
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []


WAITS = """
import pocketflow

class Fast(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        shared["x"] = 1

class Slow(pocketflow.Node):
    def exec(self, prep_res):
        input()

fast = Fast()
fast >> Slow()
waiting = pocketflow.Flow(start=fast)
waiting.run({})
print("done")
"""


@pytest.mark.parametrize("distro", DISTROS)
def test_lines_appear_and_are_saved_while_the_steps_run(
    tmp_path: Path, traces: Path, distro: dict[str, str]
) -> None:
    write(tmp_path / "app.py", WAITS)
    with subprocess.Popen(
        [INSTRUMENT, PYTHON, "app.py"],
        cwd=tmp_path,
        env=environment(OTEL_TRACES_EXPORTER=BOTH, **distro),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        before: list[str] = []
        for line in process.stderr:  # The step waits for us: what is to come, comes while it runs.
            before.append(line[8:].rstrip())
            if "→ Slow" in line:
                break
        (journal,) = traces.iterdir()
        finished = journal.read_text(encoding="utf-8")
        out, after = process.communicate("\n", timeout=180)

    assert [re.sub(r" +run .*| \d\.\d\ds", "", line) for line in before if line[:1] in ("→", " ")] == [
        "→ Flow: waiting",
        "  → Fast",
        "  ✓ Fast  → default  +x",
        "  → Slow",
    ]
    assert '{"end":' in finished
    assert (process.returncode, out) == (0, "done\n")
    told = [line.split()[0] for line in lines_of(after) if not line.startswith((" ", "slowest "))]
    assert told == ["ok", "trace"]
    assert [json.loads(path.read_text())["status"] for path in traces.iterdir()] == ["ok"]


@pytest.mark.parametrize("distro", DISTROS)
@pytest.mark.parametrize(
    ("variables", "shown", "files"),
    [
        ({"POCKETFLOW_OTEL_CONSOLE": "summary", "POCKETFLOW_OTEL_FILE": "all"}, ["ok", "trace"], 1),
        ({"POCKETFLOW_OTEL_CONSOLE": "off", "POCKETFLOW_OTEL_FILE": "off"}, [], 0),
        (
            {
                "POCKETFLOW_OTEL_CONSOLE": "summary",
                "OTEL_TRACES_EXPORTER": "pocketflow_console,pocketflow_file",
            },
            ["ok", "trace"],
            1,
        ),
    ],
)
def test_either_way_to_ask_for_views_works_and_asking_twice_gives_one(
    tmp_path: Path,
    traces: Path,
    distro: dict[str, str],
    variables: dict[str, str],
    shown: list[str],
    files: int,
) -> None:
    write(tmp_path / "app.py", APP)
    result = instrumented(tmp_path, PYTHON, "app.py", **{"OTEL_TRACES_EXPORTER": "none"} | distro | variables)

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert [line.split()[0] for line in lines_of(result.stderr)] == shown
    assert len([*traces.glob("*.json")]) == files


@pytest.mark.parametrize("distro", DISTROS)
def test_a_bad_variable_is_one_line_and_the_default_is_used(
    tmp_path: Path, traces: Path, distro: dict[str, str]
) -> None:
    write(tmp_path / "app.py", APP)
    variables = {"OTEL_TRACES_EXPORTER": "pocketflow_file", "POCKETFLOW_OTEL_MAX_BATCH_ITEMS": "many"}
    result = instrumented(tmp_path, PYTHON, "app.py", POCKETFLOW_OTEL_CONSOLE="off", **distro, **variables)

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert lines_of(result.stderr) == [
        "POCKETFLOW_OTEL_MAX_BATCH_ITEMS='many': a number of at least 0; the default is used"
    ]
    assert len([*traces.glob("*.json")]) == 1


def test_a_seeded_program_prints_the_same_numbers(tmp_path: Path, traces: Path) -> None:
    write(tmp_path / "app.py", f"import random\nrandom.seed(7)\n{APP}    print(random.random())\n")
    result = instrumented(tmp_path, PYTHON, "app.py", POCKETFLOW_OTEL_CONSOLE="off", **OURS)

    assert result.stdout == run(PYTHON, "app.py", cwd=tmp_path).stdout
    assert len([*traces.glob("*.json")]) == 1


def test_the_spans_of_other_instrumentations_are_in_the_file(tmp_path: Path, traces: Path) -> None:
    code: Any = """
import pocketflow
from opentelemetry import trace
class Ask(pocketflow.Node):
    def exec(self, prep_res):
        with trace.get_tracer("llm").start_as_current_span("chat"):
            pass
asking = pocketflow.Flow(start=Ask())
asking.run({})
"""
    write(tmp_path / "app.py", code)
    instrumented(tmp_path, PYTHON, "app.py", **OURS)
    (path,) = traces.iterdir()
    scopes = json.loads(path.read_text())["resourceSpans"][0]["scopeSpans"]

    assert [(scope["scope"]["name"], [span["name"] for span in scope["spans"]]) for scope in scopes] == [
        ("llm", ["chat"]),
        ("pocketflow_otel", ["invoke_node Ask", "invoke_workflow asking"]),
    ]
