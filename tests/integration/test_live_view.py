"""The live view as people meet it: in a real terminal, and on a stderr that is no good."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.support.pages import DEMO_SLOWEST, with_slowest
from tests.support.processes import BIN, PYTHON, environment
from tests.support.snapshots import snapshot_text
from tests.support.terminals import on_terminal

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def normalised(shown: str, directory: Path) -> str:
    """Take out what differs from run to run: times, shares, the run's id, the directory."""
    shown = shown.replace(str(directory), "DIR")
    shown = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "20261122T193012Z-7f3a91c2", shown)
    return re.sub(r"\(\d+%\)", "(33%)", re.sub(r"\d+\.\d\ds", "0.00s", shown))


@pytest.mark.parametrize("columns", [100, 80, 50])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
def test_the_demo_looks_right_on_a_terminal(columns: int, colour: bool, tmp_path: Path) -> None:
    variables = {} if colour else {"NO_COLOR": "1"}
    command = BIN / "pocketflow-otel", "demo", "--dir", tmp_path
    shown = with_slowest(on_terminal(columns, *command, **variables), DEMO_SLOWEST)
    shown = normalised(shown, tmp_path)
    snapshot = SNAPSHOTS / f"demo-{columns}-{'colour' if colour else 'plain'}.txt"
    assert shown == snapshot_text(snapshot, shown)


APP = """
import os, sys, time
import pocketflow, pocketflow_otel

pocketflow_otel.configure()

class Work(pocketflow.Node):
    def exec(self, prep_res):
        {work}
        return 7

    def post(self, shared, prep_res, exec_res):
        print("answer", exec_res)

pocketflow.Flow(start=Work()).run({{}})
raise SystemExit(3)
"""


def outcome(work: str, redirection: str = "", **variables: str) -> tuple[int, str, str]:
    """Run a flow by the shell, and return exit code, stdout and stderr."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', PYTHON, APP.format(work=work)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(**variables),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("work", "redirection", "variables"),
    [
        ("pass", "2>&-", {}),
        ("pass", "2>/dev/full", {}),
        ("pass", "", {"PYTHONIOENCODING": "ascii"}),
        ("sys.stderr.close()", "", {}),
        ("os.close(2)", "", {}),
        ("sys.stderr.write = lambda text: 1 / 0", "", {}),
    ],
    ids=["closed", "full", "ascii", "closed amid", "descriptor closed amid", "write raises"],
)
def test_a_stderr_that_is_no_good_changes_nothing(
    work: str, redirection: str, variables: dict[str, str]
) -> None:
    assert outcome(work, redirection, **variables)[:2] == (3, "answer 7\n")


def test_lines_of_the_application_stay_whole() -> None:
    work = (
        "sys.stderr.write('loading'); sys.stderr.flush(); "
        "__import__('logging').warning('logged'); "
        "__import__('subprocess').run(['sh', '-c', 'echo from a child >&2']); "
        "[(sys.stderr.write(f'\\r{done}/3'), sys.stderr.flush()) for done in range(4)]"
    )
    code, printed, shown = outcome(work)
    lines = [re.sub(r"\d+\.\d\ds", "0.00s", line) for line in shown.splitlines() if line]
    assert (code, printed) == (3, "answer 7\n")
    assert lines[1:8] == [
        "  0.00s   → Work",
        "loadingWARNING:root:logged",
        "from a child",
        "0/3",
        "1/3",
        "2/3",
        "3/3",
    ]
    assert lines[8] == "  0.00s   ✓ Work 0.00s  → default"


IMPATIENT = """
from pocketflow_otel.export.console.console_view import ConsoleView
ConsoleView.__init__.__kwdefaults__["silence"] = 0.5
"""


def test_a_step_says_that_it_still_runs_after_a_silence() -> None:
    """Ten seconds of silence, shortened: the step goes on when its line has come."""
    with subprocess.Popen(
        [PYTHON, "-c", IMPATIENT + APP.format(work="sys.stdin.readline()")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("…"))
        printed, _ = process.communicate("\n", timeout=180)
    assert re.fullmatch(r"… still running: Work \d+s\n", line)
    assert (process.returncode, printed) == (3, "answer 7\n")


RUNS = """\
import pocketflow
import pocketflow_otel

pocketflow_otel.configure({options})
for name in ("first", "second"):
    flow = pocketflow.Flow(start=pocketflow.Node())
    flow.name = name
    flow.run({{}})
"""


def last_lines(tmp_path: Path, options: str = "", **variables: str) -> list[str]:
    """Return what two runs of a program on a terminal say, without lines of steps."""
    program = tmp_path / "app.py"
    program.write_text(RUNS.format(options=options), encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    variables = {"POCKETFLOW_OTEL_DIR": "", **variables}  # Empty: not set
    shown = on_terminal(80, PYTHON, program, HOME=str(home), NO_COLOR="1", **variables)
    shown = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN", re.sub(r"\d+\.\d\ds", "0.00s", shown))
    return [line for line in shown.splitlines() if not line.startswith("  0.00s")]


def test_on_a_terminal_the_first_run_ends_with_how_to_see_it_and_its_path_has_a_line(tmp_path: Path) -> None:
    assert last_lines(tmp_path) == [
        "ok  0.00s · 1 step",
        "trace ~/.pflow/traces/RUN.json",
        "show it: pocketflow-otel show last",
        "ok  0.00s · 1 step",
        "trace ~/.pflow/traces/RUN.json",
    ]


def test_where_only_the_file_is_named_the_hint_stands_below_it(tmp_path: Path) -> None:
    assert last_lines(tmp_path, 'console="saved"')[:2] == [
        "Trace saved: ~/.pflow/traces/RUN.json",
        "show it: pocketflow-otel show last",
    ]


def test_without_a_file_there_is_nothing_to_show(tmp_path: Path) -> None:
    assert last_lines(tmp_path, 'file="off"') == ["ok  0.00s · 1 step"] * 2


def test_the_hint_names_the_directory_where_show_would_not_look_by_itself(tmp_path: Path) -> None:
    shown = last_lines(tmp_path, f"directory={str(tmp_path / 'my traces')!r}")
    assert shown[2] == f"show it: pocketflow-otel show last --dir '{tmp_path}/my traces'"

    command = shown[2].partition(": ")[2].replace("pocketflow-otel", str(BIN / "pocketflow-otel"))
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("second  ok  ")


def test_a_directory_of_the_environment_need_not_be_named(tmp_path: Path) -> None:
    shown = last_lines(tmp_path, POCKETFLOW_OTEL_DIR=str(tmp_path / "elsewhere"))
    assert shown[2] == "show it: pocketflow-otel show last"


def test_a_run_that_is_not_the_last_is_shown_by_its_digits(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    (folder / "29990101T000000Z-00000000.json").touch()
    shown = last_lines(tmp_path, POCKETFLOW_OTEL_DIR=str(folder))
    assert re.fullmatch("show it: pocketflow-otel show [0-9a-f]{8}", shown[2])


def test_facts_that_have_no_room_go_on_in_the_next_line(tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    model = "acme-" + "x" * 30
    program.write_text(
        "import pocketflow, pocketflow_otel\n"
        f"pocketflow_otel.configure(directory={str(tmp_path / 'traces')!r})\n"
        "class Ask(pocketflow.Node):\n"
        "    def exec(self, prep_res):\n"
        "        usage = {'input_tokens': 123456, 'output_tokens': 9}\n"
        f"        pocketflow_otel.record_usage(usage, model={model!r})\n"
        "pocketflow.Flow(start=Ask()).run({})\n",
        encoding="utf-8",
    )
    lines = on_terminal(80, PYTHON, program, NO_COLOR="1").splitlines()

    place = next(place for place, line in enumerate(lines) if line.startswith("ok  "))
    assert lines[place].endswith("s · 1 step · 1 LLM call · 123,465 tokens")
    assert lines[place + 1] == f"    cost $? (1 call unpriced: {model})"


LONG = "a flow with a name that is longer than a line should be, which some are"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of runs with long names, large figures and much trouble."""
    folder = tmp_path_factory.mktemp("large")
    statuses = ("ok", "interrupted", "failed", "degraded")
    for number, status in enumerate(statuses):
        document = {
            "format": "pocketflow-otel/1",
            "run_id": f"20261122T19301{number}Z-7f3a91c{number}",
            "flow": LONG,
            "status": status,
            "start_time": "2026-11-22T23:30:12.481+00:00",
            "duration": 3599.9,
            "trace_id": "7f3a91c2" * 4,
            "summary": {
                "total_tokens": 12_345_678, "input_tokens": 12_345_000, "output_tokens": 678,
                "total_cost": 1234.567, "unpriced_calls": 3, "llm_calls": 4_321, "node_executions": 98_765,
                "flows_executed": 1, "errors": 7, "failed_steps": 7, "item_fallbacks": 20, "models": {},
            },
            "events": [],
            "resourceSpans": [],
        }  # fmt: skip
        path = folder / f"{document['run_id']}.json"
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return folder


FIGURES = ("98,765", "12,345,678", "≥ $1,234.57")


@pytest.mark.parametrize("columns", [80, 100, 120, 160, 250])
def test_list_keeps_to_the_width_and_cuts_names_alone(large: Path, columns: int) -> None:
    shown = on_terminal(columns, BIN / "pocketflow-otel", "list", "--dir", large, NO_COLOR="1", PAGER="cat")
    head, *lines = shown.splitlines()

    assert "when (UTC)" in head
    assert {len(line) <= columns for line in (head, *lines)} == {True}, shown
    for line in lines:
        assert [figure for figure in FIGURES if figure in line] == list(FIGURES), shown
        assert "11-22 23:30" in line
        assert "a flo" in line
        assert re.search(r"7f3a91c\d ", line)
    assert "interrupted" in shown
    assert ("ok (7 failed, 20 items fell back)" if columns > 120 else "ok ✗7⚠20") in shown
    assert (LONG in shown) == (columns > 200)


@pytest.mark.parametrize("columns", [80, 200])
def test_stats_keep_to_the_width_and_cut_names_alone(large: Path, columns: int) -> None:
    shown = on_terminal(columns, BIN / "pocketflow-otel", "stats", "--dir", large, NO_COLOR="1", PAGER="cat")

    assert {len(line) <= columns for line in shown.splitlines()} == {True}, shown
    assert "49,382,712" in shown
    assert (LONG in shown) == (columns > 80)


def test_what_is_no_terminal_gets_whole_names(large: Path) -> None:
    for command in ("list", "stats"):
        done = subprocess.run(
            [BIN / "pocketflow-otel", command, "--dir", large], capture_output=True, text=True, check=True
        )
        assert LONG in done.stdout


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_times_are_those_of_run_ids_wherever_somebody_is(large: Path, zone: str) -> None:
    env = {**os.environ, "TZ": zone}
    command = BIN / "pocketflow-otel"
    listed, shown = (
        subprocess.run([command, *more, "--dir", large], env=env, capture_output=True, text=True).stdout
        for more in (("list", "--since", "2026-11-22T19:30:11"), ("show", "7f3a91c0"))
    )
    assert listed.count("2026-11-22 23:30:12") == 3  # By their ids: one began a second earlier
    assert "began 2026-11-22 23:30:12 UTC" in shown
