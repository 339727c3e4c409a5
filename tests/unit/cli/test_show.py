"""`show`, `replay`, `graph`, `diff`, `export`, `path`: one run, looked at in every way."""

from __future__ import annotations

import csv
import io
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from tests.support.command_line import run
from tests.support.saved import create_flow, save, save_journal

from pocketflow_otel.instrument import naming
from pocketflow_otel.traces import finalize, reader
from pocketflow_otel.views.styled_text import width

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def printed(*arguments: object) -> str:
    """Return what a command prints, without what differs from run to run."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN", result.stdout)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    text = re.sub(r"\d+\.\d\ds", "0.00s", text)
    text = re.sub(r"saved\.py:\d+", "saved.py:LINE", text)
    return re.sub(r"\(\d+%\)", "N%", text)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = save(tmp_path_factory.mktemp("failed"), create_flow())
    return path


def test_show_draws_the_tree(failed: Path) -> None:
    assert printed("show", failed) == (
        """\
flow  failed  RUN
began DATE UTC · 0.00s · 3 steps · 1 LLM call · 7 tokens · cost $? (1 call unpriced: acme-7b)
✗ Flow: flow  0.00s  KeyError: 'answer'  +question +llm_usage  $? · 5→2 tok · acme-7b (no price)
├─ ✓ Ask  0.00s N%  → default  +question +llm_usage  $? · 5→2 tok · acme-7b (no price)
├─ ✓ Flaky ×2  0.00s N%  → default
│  ├─ ✓ [0]  0.00s N%  2 attempts
│  │     ↻ attempt 1/2 failed: ConnectionError: 429: busy
│  └─ ✓ [1]  0.00s N%
└─ ✗ Flow: inner  0.00s N%  KeyError: 'answer'
   └─ ✗ Last  0.00s N%  KeyError: 'answer' in post (saved.py:LINE)
"""
    )


def test_show_says_what_was_running(tmp_path: Path) -> None:
    path = save_journal(tmp_path, create_flow(), 6)
    lines = printed("show", path).splitlines()
    assert lines[2] == "its process ended before the run did · was running Flaky"
    assert lines[-2:] == ["└─ … Flaky  0.00s N%  interrupted", "   └─ … [0]  0.00s N%  interrupted"]


def test_show_has_values_that_were_recorded(failed: Path) -> None:
    text = printed("show", failed, "--values")
    assert "│     question = [1]\n" in text
    document = json.loads(run("show", failed, "--json").stdout)
    assert document["tree"][1]["values"]["question"] == [1]


def test_show_says_that_no_values_were_recorded(tmp_path: Path) -> None:
    (path,) = save(tmp_path, pocketflow.Flow(start=pocketflow.Node()))
    result = run("show", path, "--values")
    assert result.stderr == "no values were recorded; POCKETFLOW_OTEL_CAPTURE_VALUES chooses which are\n"


def test_bars_begin_in_one_column_beside_wide_names(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow("質問"))
    lines = printed("show", path, "--gantt").splitlines()[2:]
    assert len({width(re.split("s │", line)[0]) for line in lines}) == 1


def test_show_draws_bars(failed: Path) -> None:
    lines = printed("show", failed, "--gantt").splitlines()[2:]
    assert [line.partition("  ")[0] if line[0] == "F" else line[:12].rstrip() for line in lines] == [
        "Flow: flow", "├─ Ask", "├─ Flaky", "│  ├─ [0]", "│  └─ [1]", "└─ Flow: inn", "   └─ Last",
    ]  # fmt: skip
    bars = [line.split("│")[-2] for line in lines]
    assert len({len(bar) for bar in bars}) == 1
    starts = [bar.index("█") for bar in bars]
    assert starts[0] == 0
    assert starts[1:] == sorted(starts[1:])
    assert bars[0].strip("█").strip() == ""


def test_show_tells_the_timeline(failed: Path) -> None:
    kinds = [line.split()[1] for line in printed("show", failed, "--events").splitlines()[2:]]
    assert kinds == [
        "flow_start", "node_start", "node_complete", "node_start", "node_complete", "flow_start",
        "node_start", "error", "node_complete", "flow_complete", "flow_complete",
    ]  # fmt: skip


def test_show_makes_markdown_that_nothing_in_it_can_end(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow("``` <b>|x"))
    text = printed("show", path, "--markdown")
    assert text.startswith("## Run of ```` ``` <b>|x ````: failed\n")
    fences = re.findall(r"^(`{3,})(?:text)?$", text, re.MULTILINE)
    assert fences == ["````", "````", "```", "```"]
    assert "### Error in `Last.post`" in text
    assert "KeyError: 'answer'\n```\n" in text
    assert "| `acme-7b` | 1 | 7 | $? |" in text


def test_show_has_a_flat_tree_as_json(failed: Path) -> None:
    document = json.loads(run("show", failed, "--json").stdout)
    assert [(row["depth"], row["kind"], row["name"], row["status"]) for row in document["tree"]] == [
        (0, "flow", "flow", "failed"), (1, "node", "Ask", "ok"), (1, "node", "Flaky", "ok"),
        (2, "item", "batch_item", "ok"), (2, "item", "batch_item", "ok"), (1, "flow", "inner", "failed"),
        (2, "node", "Last", "failed"),
    ]  # fmt: skip
    assert document["tree"][6]["error_type"] == "KeyError"
    assert document["models"] == {"acme-7b": {"calls": 1, "tokens": 7, "cost": None, "unpriced_calls": 1}}


@pytest.mark.parametrize("options", [[], ["--gantt"], ["--events"], ["--markdown"]], ids=str)
def test_what_a_flow_says_cannot_drive_the_terminal(tmp_path: Path, options: list[str]) -> None:
    class Evil(pocketflow.Node):
        def post(self, shared: Any, prepared: object, executed: object) -> str:
            shared["\x1b[2Jkey\r"] = "\x1b[2Jvalue"
            return "\x1b[2Jgo"

    evil = Evil()
    evil.name = "\x1b[2Jevil"
    evil - "x" >> Evil()
    flow = pocketflow.Flow(start=evil)
    flow.name = "a\x1b]0;title\x07\u202e"
    with pytest.warns(UserWarning, match="Flow ends"):
        (path,) = save(tmp_path, flow)
    for arguments in (["show", path, *options], ["show", path, "--values"], ["list", "--dir", tmp_path]):
        text = run(*arguments).stdout
        assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_replay_tells_what_the_live_view_told(failed: Path) -> None:
    lines = printed("replay", failed, "--speed", "0").splitlines()
    assert [line.strip().partition(" ")[2].strip() for line in lines[1:4]] == [
        "→ Ask",
        "✓ Ask 0.00s  → default  +question +llm_usage  $? · 5→2 tok · acme-7b (no price)",
        "→ Flaky ×2",
    ]
    assert lines[-2].startswith("FAILED at Last.post · 0.00s · 3 steps (2 ok, 1 failed)")


def test_replay_tells_in_which_phase_an_attempt_failed(tmp_path: Path) -> None:
    class Again(pocketflow.Node):  # type: ignore[misc]
        def _run(self, shared: dict[str, Any]) -> object:
            try:
                return super()._run(shared)
            except ConnectionError:
                return super()._run(shared)

        def post(self, shared: dict[str, Any], prep_res: object, exec_res: object) -> None:
            if shared.setdefault("tries", 1) == 1:
                shared["tries"] = 2
                raise ConnectionError("busy")

    (path,) = save(tmp_path, Again())
    assert "↻ attempt 1 failed: ConnectionError: busy in post (test_show.py" in printed("replay", path)


@pytest.mark.parametrize("speed", [1, 4])
def test_replay_keeps_the_tempo(failed: Path, monkeypatch: pytest.MonkeyPatch, speed: int) -> None:
    told = [line["elapsed"] for line in json.loads(run("replay", failed, "--json").stdout)]
    now, moments = 0.0, [0.0]

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        moments.append(now)

    monkeypatch.setattr(
        "pocketflow_otel.cli.replay.time", SimpleNamespace(sleep=sleep, monotonic=lambda: now)
    )
    run("replay", failed, "--speed", speed)
    assert moments[1:] == pytest.approx([elapsed / speed for elapsed in told])
    assert 0 < moments[2] < moments[-1]


def test_replay_of_an_interrupted_run_says_what_was_running(tmp_path: Path) -> None:
    path = save_journal(tmp_path, create_flow(), 6)
    for _ in range(2):
        lines = printed("replay", path, "--speed", "0").splitlines()
        assert lines[-2] == "INTERRUPTED · 0.00s · 1 step · was running Flaky"
        assert not any("✗" in line for line in lines)
        if path.suffix == ".jsonl":
            path = finalize.write_trace_file(path)


def test_graph_draws_the_way_that_was_taken(tmp_path: Path) -> None:
    class Count(pocketflow.Node):
        def post(self, shared: Any, prepared: object, executed: object) -> str:
            shared["left"] -= 1
            return "again" if shared["left"] else 'do "it"'

    count, last = Count(), pocketflow.Node()
    count - "again" >> count
    count - 'do "it"' >> last
    inner = pocketflow.Flow(start=count)
    (path,) = save(tmp_path, pocketflow.Flow(start=inner), shared={"left": 3})
    found = json.loads(run("graph", path, "--json").stdout)
    assert [(node["path"][1:], node["visits"]) for node in found["nodes"]] == [
        ([], 1), (["test_show (Count)"], 1), (["test_show (Count)", "Count"], 3),
        (["test_show (Count)", "Node"], 1),
    ]  # fmt: skip
    assert [(edge["from"][-1], edge["to"][-1], edge["action"], edge["times"]) for edge in found["edges"]] == [
        ("Count", "Count", "again", 2), ("Count", "Node", 'do "it"', 1),
    ]  # fmt: skip
    assert printed("graph", path).splitlines()[-2:] == [
        '  n2 -->|"again 2×"| n2',
        '  n2 -->|"do #quot;it#quot;"| n3',
    ]
    assert printed("graph", path, "--format", "dot").splitlines()[-3:] == [
        '  n2 -> n2 [label="again 2×"];', '  n2 -> n3 [label="do \\"it\\""];', "}",
    ]  # fmt: skip


def test_a_flow_without_a_name_is_called_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traces of earlier versions have such flows."""
    monkeypatch.setattr(naming, "flow_name", lambda flow, *, is_framework_class: None)
    (path,) = save(tmp_path, pocketflow.Flow(start=pocketflow.Flow(start=pocketflow.Node())))
    outer, inner = "Flow (starts at Flow)", "Flow (starts at Node)"

    for command in (("list", "--dir", tmp_path), ("stats", "--dir", tmp_path)):
        assert outer in printed(*command)
    for view in ((), ("--events",), ("--gantt",), ("--markdown",)):
        shown = printed("show", path, *view)
        assert shown.count(outer) > 1, shown
        assert inner in shown
    replayed = printed("replay", path, "--speed", 0).splitlines()
    assert [line.count(outer) for line in (replayed[0], replayed[-3])] == [1, 1]
    assert inner in printed("graph", path)
    assert inner in printed("export", path, "--format", "csv")


def test_diff_says_what_changed(tmp_path: Path) -> None:
    first, second = save(tmp_path, create_flow()) + save(tmp_path, create_flow(), shared={"answer": 1})
    lines = printed("diff", first, second).splitlines()
    assert [line.split()[3] for line in lines[1:3]] == ["failed", "ok"]
    (last,) = (line for line in lines if line.lstrip().startswith("Last"))
    assert "status: failed → ok; action: - → 1; error type: KeyError → -; error place: saved.py" in last
    document = json.loads(run("diff", first, second, "--json").stdout)
    assert [step["changed"] for step in document["steps"]][-1] == [
        "status", "action", "error_type", "error_place",
    ]  # fmt: skip


def test_diff_shows_steps_of_one_run_alone(tmp_path: Path) -> None:
    short, long = pocketflow.Node(), pocketflow.Node()
    long >> pocketflow.BatchNode()
    one, other = save(tmp_path, pocketflow.Flow(start=short), pocketflow.Flow(start=long))
    marked = [line.split() for line in printed("diff", one, other).splitlines() if line.startswith(">")]
    assert marked[-1] == [">", "BatchNode", "0.00s", "only", "in", "this", "run"]
    assert any(
        line.startswith("<") and "BatchNode" in line for line in printed("diff", other, one).splitlines()
    )


def test_csv_has_a_row_for_each_span(failed: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", failed, "--format", "csv").stdout)))
    assert [(row["name"], row["added"], row["index"]) for row in rows[:4]] == [
        ("flow", "question llm_usage", ""), ("Ask", "question llm_usage", ""), ("Flaky", "", ""),
        ("batch_item", "", "0"),
    ]  # fmt: skip


def overlaps(events: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield two events of one track of which neither lies in the other."""
    for one in events:
        for other in events:
            end, other_end = one["ts"] + one["dur"], other["ts"] + other["dur"]
            if one["tid"] == other["tid"] and one["ts"] < other["ts"] < end and other_end > end + 0.001:
                yield one["name"], other["name"]


def test_chrome_has_a_track_for_each_branch(tmp_path: Path) -> None:
    import asyncio

    class Work(pocketflow.AsyncParallelBatchNode):
        async def prep_async(self, shared: Any) -> list[int]:
            return [1, 2, 3]

        async def exec_async(self, item: int) -> None:
            await asyncio.sleep(0.01 * item)

    class Twice:
        def run(self, shared: Any) -> None:
            first = Work()
            first >> Work()
            asyncio.run(pocketflow.AsyncFlow(start=first).run_async(shared))

    (path,) = save(tmp_path, Twice())
    target = tmp_path / "run.chrome"
    assert run("export", path, "--format", "chrome", "-o", target).stdout == ""
    events = json.loads(target.read_text(encoding="utf-8"))["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert (len(spans), list(overlaps(spans))) == (9, [])
    tracks = [{event["tid"] for event in spans if event["name"] == f"[{item}]"} for item in range(3)]
    assert tracks == [{0}, {1}, {2}]  # The second batch takes the tracks of the first.
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {0: "main", 1: "[1]", 2: "[2]"}


def test_a_file_that_cannot_be_written_is_one_sentence(failed: Path, tmp_path: Path) -> None:
    target = tmp_path / "absent" / "run.csv"
    result = run("export", failed, "-o", target)
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: {target} cannot be written: No such file or directory\n",
    )


# RUN


def test_a_run_goes_by_last_its_id_a_part_of_it_or_a_file(tmp_path: Path) -> None:
    first, second = save(tmp_path, create_flow(), create_flow())
    path = lambda wanted: run("path", wanted, "--dir", tmp_path).stdout.strip()  # noqa: E731
    assert [path(wanted) for wanted in ("last", first.stem, first.stem[-6:], str(first))] == [
        str(second), str(first), str(first), str(first),
    ]  # fmt: skip


def test_a_run_that_is_none_or_several_is_one_sentence(tmp_path: Path) -> None:
    def refused(wanted: str) -> str:
        result = run("show", wanted, "--dir", tmp_path)
        assert (result.exit_code, result.stdout) == (2, "")
        return str(result.stderr)

    assert refused("last") == f"Error: there is no run in {tmp_path} yet\n"
    first, second = save(tmp_path, create_flow(), create_flow())
    assert refused("nothing") == f"Error: no run in {tmp_path} has 'nothing' in its id\n"
    assert refused("Z-") == f"Error: 'Z-' fits 2 runs: {second.stem}, {first.stem}\n"
    assert refused("x/y.json") == "Error: there is no file x/y.json\n"


def test_path_says_where_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path))
    assert run("path").stdout == f"{tmp_path}\n"
    assert json.loads(run("path", "--json").stdout) == {"path": str(tmp_path)}
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("POCKETFLOW_OTEL_DIR")
    assert run("path").stdout == "/home/ada/.pflow/traces\n"


def test_show_answers_of_the_file_that_a_journal_became(tmp_path: Path) -> None:
    path = save_journal(tmp_path, create_flow())
    finalize.write_trace_file(path)
    assert reader.read(path).summary.path == path.with_suffix(".json")
