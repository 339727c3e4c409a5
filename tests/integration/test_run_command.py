"""`pocketflow-otel run`: every kind of target, and that the target cannot tell."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import (
    APP,
    BIN,
    ECHO,
    FLOW,
    PYTHON,
    environment,
    ours,
    run,
    script,
    with_commands,
    write,
)

REPORT = """
import json, multiprocessing, os, sys

def seen():
    return {
        "argv": sys.argv,
        "path": sys.path,
        "environ": dict(os.environ),
        "name": __name__,
        "file": __file__,
        "main": [vars(sys.modules["__main__"]).get(name) for name in ("__file__", "__package__")],
        "spec": getattr(__spec__, "name", None),
        "executable": sys.executable,
        "flags": list(sys.flags),
        "warnings": sys.warnoptions,
        "cwd": os.getcwd(),
    }

def child():
    return {**seen(), "ours": sorted(name for name in sys.modules if name.startswith("pocketflow_otel"))}

if __name__ == "__main__" and __package__ is None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps([seen(), pool.apply(child), sys.stdin.read()]))
elif __name__ == "__main__":  # What `python -m` runs, multiprocessing cannot start.
    print(json.dumps([seen(), None, sys.stdin.read()]))
"""
"""A program that says all it can see of how it was started."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the programs, a package among them."""
    write(tmp_path / "app.py", APP)
    write(tmp_path / "flows.py", FLOW + "flow = create_greeting_flow()\n")
    write(tmp_path / "report.py", REPORT)
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "__main__.py", REPORT)
    return tmp_path


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where trace files go."""
    folder = tmp_path / "traces"
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(folder))
    return folder


def trace_files(traces: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in traces.glob("*.json")]


# What may be run


def test_a_script_is_traced_and_its_trace_file_named_on_stderr(folder: Path, traces: Path) -> None:
    result = ours("run", "app.py", cwd=folder)
    (path,) = traces.iterdir()

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert result.stderr == f"Trace saved: {path}\n"
    assert [found["flow"] for found in trace_files(traces)] == ["greeting_flow"]


def test_a_module_is_traced(folder: Path, traces: Path) -> None:
    result = ours("run", "-m", "app", cwd=folder)

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert len(trace_files(traces)) == 1


@pytest.mark.parametrize("target", ["flows:flow", "./flows.py:create_greeting_flow"])
def test_a_flow_or_what_makes_one_is_run_and_traced(folder: Path, traces: Path, target: str) -> None:
    result = ours("run", target, cwd=folder)

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert len(trace_files(traces)) == 1


def test_the_store_of_a_flow_is_filled_from_options_and_a_file(tmp_path: Path, traces: Path) -> None:
    write(tmp_path / "echo.py", ECHO)
    write(tmp_path / "store.json", '{"topic": "coffee", "depth": 1, "é": [null]}')
    result = ours(
        *("run", "--summary", "echo.py:flows.echo", "--shared-file", "store.json"),
        *(
            "--shared",
            "topic=tea",
            "--shared",
            "n=1",
            "--shared",
            'o={"a": [1]}',
            "--shared",
            "e=a=b",
            "--shared",
            "t=",
        ),
        cwd=tmp_path,
    )

    assert (result.returncode, result.stderr.splitlines()[0][:3]) == (0, "ok "), result.stderr
    assert json.loads(result.stdout) == {
        "topic": "tea",
        "depth": 1,
        "é": [None],
        "n": 1,
        "o": {"a": [1]},
        "e": "a=b",
        "t": "",
    }


OWN_CLICK = """
import click
from pocketflow import Flow, Node

class Answer(Node):
    def exec(self, prepared):
        print(click.ANSWER)

flow = Flow(start=Answer())
"""


@pytest.mark.parametrize("target", ["app:flow", "app.py:flow"])
def test_a_flow_finds_its_own_module_that_is_called_like_one_of_ours(
    tmp_path: Path, traces: Path, target: str
) -> None:
    write(tmp_path / "click.py", "ANSWER = 42\n")
    write(tmp_path / "app.py", OWN_CLICK)
    result = ours("run", target, "--shared", "a=1", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, "42\n"), result.stderr


# Console scripts


def test_a_console_script_is_found_on_path_and_traced(tmp_path: Path, traces: Path) -> None:
    command = script(tmp_path / "bin" / "greet", f"#!{PYTHON}")
    result = ours("run", "--summary", "greet", env=with_commands(command.parent), cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, "hello\n"), result.stderr
    assert len(trace_files(traces)) == 1


# What is shown


def test_verbose_is_the_live_view_and_summary_its_last_lines(folder: Path, traces: Path) -> None:
    verbose = ours("run", "-v", "app.py", cwd=folder)
    summary = ours("run", "--summary", "app.py", cwd=folder)

    assert [re.sub(r"\d+\.\d\ds| +run \S+|/\S+", "#", line) for line in verbose.stderr.splitlines()] == [
        "  # → Flow: greeting_flow#",
        "  #   → Greet",
        "  #   ✓ Greet #  → default  +greeting",
        "  # ✓ Flow: greeting_flow #",
        "ok  # · 1 step",
        "trace #",
    ]
    assert [line.split()[0] for line in summary.stderr.splitlines()] == ["ok", "trace"]
    assert verbose.stdout == summary.stdout == "hello\n"


def test_the_variables_say_what_is_shown_where_no_option_does(folder: Path, traces: Path) -> None:
    env = environment(POCKETFLOW_OTEL_CONSOLE="off", POCKETFLOW_OTEL_FILE="failed")
    quiet = ours("run", "app.py", cwd=folder, env=env)
    loud = ours("run", "--summary", "app.py", cwd=folder, env=env)

    assert (quiet.stdout, quiet.stderr) == ("hello\n", "")
    assert loud.stderr.startswith("ok ")
    assert trace_files(traces) == []


def test_trace_files_go_where_dir_says(folder: Path, traces: Path) -> None:
    result = ours("run", "--dir", "here", "app.py", cwd=folder)
    (path,) = (folder / "here").iterdir()

    assert result.stderr == f"Trace saved: {path}\n"
    assert not traces.exists()


def test_without_trace_nothing_of_ours_is_loaded(folder: Path, traces: Path) -> None:
    write(folder / "modules.py", APP + "\n    import sys; print(sorted(sys.modules))")
    without = ours("run", "--no-trace", "modules.py", cwd=folder)

    assert "opentelemetry" not in without.stdout.replace("pocketflow_otel", "opentelemetry")
    assert without.stdout == run(PYTHON, "modules.py", cwd=folder).stdout
    assert without.stderr == ""
    assert not traces.exists()


def test_a_program_that_configures_itself_is_shown_once(folder: Path, traces: Path) -> None:
    write(folder / "own.py", "import pocketflow_otel; pocketflow_otel.configure(console='summary')\n" + APP)
    result = ours("run", "-v", "own.py", cwd=folder)

    assert [line.split()[0] for line in result.stderr.splitlines()] == ["ok", "trace"]
    assert len(trace_files(traces)) == 1


def test_a_bad_variable_is_one_line_and_its_default_is_used(folder: Path, traces: Path) -> None:
    result = ours("run", "app.py", cwd=folder, env=environment(POCKETFLOW_OTEL_FILE="some"))
    (path,) = traces.iterdir()

    assert result.stderr.splitlines() == [
        "POCKETFLOW_OTEL_FILE='some': choose one of all, failed, off; the default is used",
        f"Trace saved: {path}",
    ]


# The target cannot tell


def saw(command: list[str | Path], folder: Path, **variables: str) -> Any:
    result = run(*command, cwd=folder, stdin="typed in\n", env=environment(**variables))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["report.py", "-v", "--dir", "x"], {}),
        (["./report.py"], {"PYTHONPATH": "/nowhere:."}),
        (["-m", "report"], {"PYTHONPATH": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}),
        (["-m", "package", "--", "one"], {"PYTHONPATH": "/nowhere"}),
    ],
)
def test_argv_path_environment_main_stdin_and_children_are_those_of_python(
    folder: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    bare = saw([PYTHON, *arguments], folder, **variables)
    traced = saw([BIN / "pocketflow-otel", "run", *arguments], folder, **variables)

    assert traced == bare
    assert bare[2] == "typed in\n"
    assert bare[1] is None or bare[1]["ours"] == []


def test_a_console_script_sees_what_it_sees_without_us(tmp_path: Path) -> None:
    command = script(tmp_path / "bin" / "report", f"#!{PYTHON}", REPORT)
    env = with_commands(command.parent)
    bare = run(command, "-x", env=env)
    traced = ours("run", "report", "-x", env=env)

    assert json.loads(traced.stdout) == json.loads(bare.stdout)


def test_stdout_is_byte_for_byte_the_targets(folder: Path) -> None:
    write(
        folder / "bytes.py",
        APP + "    import sys; sys.stdout.flush(); sys.stdout.buffer.write(bytes(range(256)) * 5000)",
    )
    bare, traced = (
        subprocess.run([*command, "bytes.py"], cwd=folder, capture_output=True, check=True)
        for command in ([PYTHON], [BIN / "pocketflow-otel", "run", "-v"])
    )

    assert traced.stdout == bare.stdout
    assert len(bare.stdout) == 256 * 5000 + 6


FAILING = (
    FLOW
    + """
class Fails(pocketflow.Node):
    def exec(self, prep_res):
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("no such thing") from error

def fail():
    pocketflow.Flow(start=Fails()).run({})
"""
)


def without_ours(stderr: str) -> str:
    """Leave out the line that names the trace file, and our frames with their source."""
    lines = [line for line in stderr.splitlines() if not line.startswith("Trace saved: ")]
    return re.sub(r'  File "[^"]*/pocketflow_otel/[^\n]*\n(    [^\n]*\n)*', "", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("fail()", 1),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os._exit(7)", 7),
        ("(", 1),
    ],
)
def test_exit_code_and_traceback_are_the_targets(folder: Path, ending: str, code: int) -> None:
    write(folder / "ends.py", FAILING + f"import os, sys\ncreate_greeting_flow().run({{}})\n{ending}\n")
    bare = run(PYTHON, "ends.py", cwd=folder)
    traced = ours("run", "ends.py", cwd=folder)

    assert (bare.returncode, traced.returncode) == (code, code)
    assert without_ours(traced.stderr) == (bare.stderr or "\n")
    assert traced.stdout == bare.stdout


@pytest.mark.parametrize(
    ("leave", "code", "status"),
    [
        ("sys.exit()", 0, "ok"),
        ("sys.exit(0)", 0, "ok"),
        ("sys.exit(3)", 3, "failed"),
        ("exit('no')", 1, "failed"),
    ],
)
def test_a_step_that_leaves_the_program_fails_where_its_exit_code_says_so(
    folder: Path, traces: Path, leave: str, code: int, status: str
) -> None:
    step = f"class Leave(pocketflow.Node):\n    def exec(self, prepared):\n        {leave}\n"
    write(folder / "leaves.py", f"import sys\n{FLOW}\n{step}\npocketflow.Flow(start=Leave()).run({{}})\n")
    bare = run(PYTHON, "leaves.py", cwd=folder)
    traced = ours("run", "leaves.py", cwd=folder)
    (found,) = trace_files(traces)

    assert (bare.returncode, traced.returncode, found["status"]) == (code, code, status)
    assert without_ours(traced.stderr) == (bare.stderr or "\n")


@pytest.mark.parametrize("target", ["named.py:{}", "named:{}"])
@pytest.mark.parametrize(
    ("program", "name", "ending"),
    [
        (FAILING + "flow = pocketflow.Flow(start=Fails())\n", "flow", "ValueError: no such thing"),
        (FAILING + "def make():\n    raise KeyError('no model')\n", "make", "KeyError: 'no model'"),
        ("import surely_not_there\n", "flow", "ModuleNotFoundError: No module named 'surely_not_there'"),
        ("def make(:\n", "make", "SyntaxError: invalid syntax"),
        (FLOW + "def make():\n    raise KeyboardInterrupt\n", "make", "KeyboardInterrupt"),
    ],
)
def test_a_traceback_of_a_flow_named_begins_at_the_program(
    folder: Path, program: str, name: str, ending: str, target: str
) -> None:
    write(folder / "named.py", program)
    stderr = ours("run", target.format(name), cwd=folder).stderr
    files = re.findall(r'^  File "([^"]*)"', stderr, flags=re.MULTILINE)
    first = next(file for file in files if file != "<frozen runpy>")

    assert stderr.splitlines()[-1] == ending
    assert Path(first).name in ("named.py", "__init__.py")
    assert Path(first).parent.name in (folder.name, "pocketflow")
    assert not re.search("flow_runner|importlib", stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_target_as_it_would_without_us(folder: Path, number: signal.Signals) -> None:
    write(folder / "waits.py", "import time\nprint('ready', flush=True)\ntime.sleep(60)\n")

    def ended(*command: str | Path) -> tuple[int, list[str]]:
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            _, stderr = process.communicate(timeout=180)
            return process.returncode, stderr.splitlines()[-1:]

    assert ended(BIN / "pocketflow-otel", "run", "waits.py") == ended(PYTHON, "waits.py")


def test_the_environments_own_sitecustomize_still_runs(folder: Path, traces: Path) -> None:
    site = write(folder / "site" / "sitecustomize.py", "import sys; sys.stderr.write('theirs runs\\n')")
    write(folder / "which.py", APP + "    import sitecustomize; print(sitecustomize.__file__)")
    env = environment(PYTHONPATH=str(site.parent))
    result = ours("run", "--summary", "which.py", cwd=folder, env=env)

    assert result.stdout == f"hello\n{site}\n"
    # Once in the command, once in the target.
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["theirs", "theirs", "ok", "trace"]


@pytest.mark.parametrize("content", ["import surely_not_there", "1/0"])
def test_a_sitecustomize_that_fails_fails_as_it_would_without_us(
    folder: Path, traces: Path, content: str
) -> None:
    site = write(folder / "site" / "sitecustomize.py", content)
    env = environment(PYTHONPATH=str(site.parent))
    bare = run(PYTHON, "app.py", cwd=folder, env=env)
    traced = ours("run", "app.py", cwd=folder, env=env)

    assert "Error in sitecustomize" in bare.stderr
    assert without_ours(traced.stderr) == bare.stderr * 2  # in the command, and in the target
    assert traced.stdout == "hello\n"
    assert len(trace_files(traces)) == 1


def test_under_opentelemetry_instrument_tracing_starts_once(folder: Path, traces: Path) -> None:
    env = environment(OTEL_PYTHON_DISTRO="pocketflow", OTEL_PYTHON_CONFIGURATOR="pocketflow")
    result = run(
        BIN / "opentelemetry-instrument", BIN / "pocketflow-otel", "run", "app.py", cwd=folder, env=env
    )
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Configuration of")]

    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert [line.split()[0] for line in lines] == ["ok", "trace"]
    assert len(trace_files(traces)) == 1


def test_the_version_is_the_packages() -> None:
    import pocketflow_otel

    assert ours("--version").stdout == f"pocketflow-otel, version {pocketflow_otel.__version__}\n"
    assert sys.version_info >= (3, 11)
