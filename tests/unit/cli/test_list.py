"""`list` and `stats`: what ran, and what it came to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import run
from tests.support.saved import create_flow, save, save_journal

from pocketflow_otel.traces import reader, run_directory


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs: ok, failed, ok, interrupted."""
    place = tmp_path_factory.mktemp("runs")
    save(place, create_flow("summarize"), shared={"answer": 1})
    save(place, create_flow("summarize"))
    save(place, create_flow("translate"), shared={"answer": 1})
    save_journal(place, create_flow("translate"), 5)
    return place


def listed(place: Path, *options: object) -> list[tuple[str, str]]:
    result = run("list", "--dir", place, "--json", *options)
    assert result.exit_code == 0
    return [(row["flow"], row["status"]) for row in json.loads(result.stdout)]


OK, FAILED = ("summarize", "ok"), ("summarize", "failed")
NEWER, CUT = ("translate", "ok"), ("translate", "interrupted")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [CUT, NEWER, FAILED, OK]),
        (("--flow", "summ"), [FAILED, OK]),
        (("--flow", "SUMM", "--failed"), [FAILED]),
        (("--failed",), [CUT, FAILED]),
        (("-n", 2), [CUT, NEWER]),
        (("-n", 0), [CUT, NEWER, FAILED, OK]),
        (("--since", "1h"), [CUT, NEWER, FAILED, OK]),
        (("--since", "0s"), []),
        (("--since", "2999-01-01"), []),
        (("--min-cost", "0.01"), []),
        (("--min-cost", "0"), [CUT, NEWER, FAILED, OK]),
    ],
)
def test_list_chooses(place: Path, options: tuple[object, ...], expected: list[tuple[str, str]]) -> None:
    assert listed(place, *options) == expected


def test_list_is_a_table(place: Path) -> None:
    head, *lines = run("list", "--dir", place).stdout.splitlines()
    assert head.split() == ["run", "when", "(UTC)", "flow", "status", "duration", "steps", "tokens", "cost"]
    assert [line.split()[3:5] for line in lines] == [
        ["translate", "interrupted"], ["translate", "ok"], ["summarize", "failed"], ["summarize", "ok"],
    ]  # fmt: skip
    assert lines[1].split()[6:] == ["3", "7", "$?"]


def test_list_has_what_json_has_of_a_run(place: Path) -> None:
    row = json.loads(run("list", "--dir", place, "--json").stdout)[1]
    path = row["path"]
    names = ("run_id", "steps", "llm_calls", "tokens", "cost", "unpriced_calls")
    assert [row[name] for name in names] == [Path(path).stem, 3, 1, 7, None, 1]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_listed(place: Path, tmp_path: Path) -> None:
    (whole,) = save(tmp_path, create_flow())
    broken = tmp_path / "20261122T193012Z-00000001.json"
    broken.write_bytes(whole.read_bytes()[:500])
    (tmp_path / "20261122T193012Z-00000002.jsonl").touch()  # A run that is just about to begin
    (tmp_path / "20261122T193012Z-00000003.json").mkdir()
    result = run("list", "--dir", tmp_path)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert [line.partition(" breaks")[0] for line in sorted(result.stderr.splitlines())] == [
        f"Warning: {broken}",
        f"Warning: {tmp_path / '20261122T193012Z-00000003.json'} is a directory",
    ]


def test_no_runs_are_no_error(tmp_path: Path) -> None:
    for command in ("list", "stats"):
        result = run(command, "--dir", tmp_path / "absent")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (0, "", 1)
        assert (run(command, "--dir", tmp_path, "--json").stdout, result.exit_code) == ("[]\n", 0)


@pytest.mark.parametrize("since", ["yesterday", "2x", "-1d", "9" * 40 + "d"])
def test_a_time_that_is_none_is_one_sentence(tmp_path: Path, since: str) -> None:
    result = run("list", "--dir", tmp_path, f"--since={since}")
    assert (result.exit_code, f"{since!r} is no time" in result.stderr) == (2, True)


def stats(place: Path, by: str) -> dict[str, tuple[Any, ...]]:
    rows = json.loads(run("stats", "--dir", place, "--by", by, "--json").stdout)
    return {row["name"]: (row["count"], row["failed"], row["llm_calls"], row["tokens"]) for row in rows}


def test_stats_add_up(place: Path) -> None:
    assert stats(place, "flow") == {"summarize": (2, 1, 2, 14), "translate": (2, 1, 2, 14)}
    assert stats(place, "model") == {"acme-7b": (3, 0, 3, 21)}  # An interrupted run does not say which.
    assert stats(place, "node") == {
        "summarize.Ask": (2, 0, 2, 14), "summarize.Flaky": (2, 0, 0, 0), "summarize.Last": (2, 1, 0, 0),
        "translate.Ask": (2, 0, 2, 14), "translate.Flaky": (1, 0, 0, 0), "translate.Last": (1, 0, 0, 0),
    }  # fmt: skip
    head, *lines = run("stats", "--dir", place).stdout.splitlines()
    assert head.split() == ["flow", "runs", "failed", "troubled", "p50", "p95", "tokens", "cost"]
    assert [line.split()[:3] for line in lines] == [["summarize", "2", "1"], ["translate", "2", "1"]]


def test_list_reads_no_more_than_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 files take as long as 10,000 summaries; measured: 0.5 s, where reading all takes minutes."""
    (path,) = save(tmp_path, create_flow())
    content = path.read_bytes()
    end = content.rindex(b'\n "resourceSpans"')
    path.write_bytes(content[:end] + b" " * 5_000_000 + content[end:])
    read = []
    load = reader._load
    monkeypatch.setattr(reader, "_load", lambda path, data: read.append(len(data)) or load(path, data))
    (summary,) = run_directory.summaries([path])
    assert (summary.run_id, sum(read) < 2_000) == (path.stem, True)


def test_a_large_head_is_read_all_the_same(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow())
    document = json.loads(path.read_bytes())
    document["summary"]["models"] = {f"model {number}": {"calls": number} for number in range(1_000)}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    assert reader.read_summary(path).models["model 999"]["calls"] == 999


def test_the_later_of_two_runs_of_one_second_is_the_last(tmp_path: Path) -> None:
    first, second = save(tmp_path, create_flow("first"), create_flow("second"))
    names = [tmp_path / f"20261122T193012Z-{digits}.json" for digits in ("ffffffff", "00000000")]
    first.rename(names[0])
    names[1].write_bytes(second.read_bytes())
    later = names[0].stat().st_mtime_ns + 1
    os.utime(names[1], ns=(later, later))
    second.unlink()
    assert run_directory.run_paths(tmp_path) == names[::-1]
