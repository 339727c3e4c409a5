"""`import-pflow`: the trace files it makes, each run once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from tests.support.command_line import run
from tests.support.pflow_traces import ALL, LINEAR, documents, imported, name_of, trace_of, write, zone
from tests.support.schema import VALIDATOR

from pocketflow_otel import __version__, semconv
from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import run_id, spans
from pocketflow_otel.traces import reader
from pocketflow_otel.usage.pricing import PriceBook
from pocketflow_otel.views import tree
from pocketflow_otel.views.styled_text import render


def test_the_file_is_as_any_other_and_says_where_it_is_from(tmp_path: Path) -> None:
    (made,) = imported(tmp_path / "new", LINEAR)
    document = json.loads(made.read_text(encoding="utf-8"))
    resource = {
        pair["key"]: pair["value"]["stringValue"]
        for pair in document["resourceSpans"][0]["resource"]["attributes"]
    }
    assert made.name == "20261125T230009Z-cccfad50.json"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (made.parent, made)] == [0o700, 0o600]
    assert resource == {
        "service.name": "pflow",
        "telemetry.distro.name": "pocketflow-otel",
        "telemetry.distro.version": __version__,
        semconv.IMPORTED_FROM: "workflow-trace-linear.json",
    }
    assert {name: document[name] for name in ("flow", "starts_at", "status", "start_time", "duration")} == {
        "flow": "linear", "starts_at": "greet", "status": "ok",
        "start_time": "2026-11-25T23:00:09.527+00:00", "duration": 0.038833,
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_the_file_fits_the_schema_and_reads_as_the_spans_it_is_made_of(path: Path, tmp_path: Path) -> None:
    (made,) = imported(tmp_path, path)
    VALIDATOR.validate(json.loads(made.read_text(encoding="utf-8")))
    ours = {span.span_id: span.name for span in spans(read(path), PriceBook())}
    assert {span.span_id: span.name for span in reader.read(made).spans} == ours


def test_events_stand_in_their_order(tmp_path: Path) -> None:
    (made,) = imported(tmp_path, trace_of("0.16.0/batch"))
    events = reader.events(made)
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert [(event["type"], event["name"]) for event in events if event["depth"] < 2] == [
        ("flow_start", "batchbad"), ("node_start", "words"), ("node_complete", "words"),
        ("node_start", "each"), ("node_complete", "each"), ("flow_complete", "batchbad"),
    ]  # fmt: skip


def test_a_run_that_was_killed_is_interrupted(tmp_path: Path) -> None:
    (made,) = imported(tmp_path, trace_of("0.16.0/killed"))
    assert reader.read_summary(made).status == "interrupted"
    lines = [render(line) for line in tree.tree_lines(reader.read(made))]
    assert lines[2] == "its process ended before the run did · was running nap, sleep"


# Each run once


def test_a_run_is_imported_once(tmp_path: Path) -> None:
    shutil.copy(LINEAR, tmp_path / "copy.json")
    place = tmp_path / "runs"
    first = run("import-pflow", "--dir", place, LINEAR, tmp_path / "copy.json")
    assert first.stderr == "1 run imported, 1 already there\n"
    (made,) = place.glob("*")
    content = made.read_bytes()
    again = run("import-pflow", "--dir", place, LINEAR)
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "0 runs imported, 1 already there\n")
    assert (list(place.glob("*")), made.read_bytes()) == ([made], content)


def test_the_same_trace_always_makes_the_same_file(tmp_path: Path) -> None:
    (one,), (other,) = imported(tmp_path / "one", LINEAR), imported(tmp_path / "other", LINEAR)
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_times_are_those_of_this_machines_zone_and_a_change_of_zone_makes_no_other_run(
    tmp_path: Path,
) -> None:
    imported(tmp_path, LINEAR)
    with zone("America/New_York"):
        assert run_id(read(LINEAR)) == "20261126T040009Z-cccfad50"
        assert run("import-pflow", "--dir", tmp_path, LINEAR).stderr == "0 runs imported, 1 already there\n"


def test_a_run_that_was_traced_too_is_there_already(tmp_path: Path) -> None:
    """Its root says pflow's id of it, in a trace file or in a journal."""
    (made,) = imported(tmp_path / "other", LINEAR)
    for suffix in ("json", "jsonl"):
        place = tmp_path / suffix
        place.mkdir()
        content = made.read_bytes()
        if suffix == "jsonl":
            content = json.dumps(json.loads(content), separators=(",", ":")).encode()
        (place / f"20261125T230009Z-00000001.{suffix}").write_bytes(content)
        result = run("import-pflow", "--dir", place, LINEAR)
        assert result.stderr == "0 runs imported, 1 already there\n"


def test_a_trace_without_an_id_goes_by_its_name(tmp_path: Path) -> None:
    content = documents(LINEAR)
    del content[0]["execution_id"]
    paths = [write(tmp_path / name, content) for name in ("one", "other")]
    for _ in range(2):
        result = run("import-pflow", "--dir", tmp_path / "runs", *paths)
    assert result.stderr == "0 runs imported, 2 already there\n"


def test_a_run_that_still_goes_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    shutil.copy(trace_of("0.16.0/killed"), path)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("import-pflow", "--dir", tmp_path / "runs", path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{path} is of a run that still goes\n0 runs imported, 1 still running\n"
    assert len(imported(tmp_path / "runs", path)) == 1


# The command


def test_each_imported_run_is_a_line(tmp_path: Path) -> None:
    result = run("import-pflow", "--dir", tmp_path, LINEAR, trace_of("0.16.0/ask"), trace_of("0.16.0/denied"))
    assert result.stdout == (
        "linear  ok  20261125T230009Z-cccfad50  2 steps\n"
        "ask-litellm  ok  20261125T230030Z-c9127975  3 steps · $0.00010\n"
        "gate  denied  20261125T230407Z-f445834f  1 step\n"
    )
    assert result.stderr == "3 runs imported\n"


def test_json_says_what_became_of_each_file(tmp_path: Path) -> None:
    absent = tmp_path / "absent.json"
    result = run("import-pflow", "--dir", tmp_path, "--json", LINEAR, LINEAR, absent)
    content = json.loads(result.stdout)
    assert [(row["file"], row["state"], row["problem"]) for row in content] == [
        (str(LINEAR), "imported", None),
        (str(LINEAR), "already there", None),
        (str(absent), "unreadable", f"there is no file {absent}"),
    ]
    assert [row["run"] and row["run"]["run_id"] for row in content] == [
        "20261125T230009Z-cccfad50",
        None,
        None,
    ]


def test_pflows_own_folder_is_where_traces_come_from(tmp_path: Path) -> None:
    debug = tmp_path / ".pflow" / "debug"
    debug.mkdir(parents=True)
    for number, name in enumerate(("0.16.0/linear", "0.8.1/failing")):
        path = Path(shutil.copy(trace_of(name), debug))
        os.utime(path, (number, number))
    (debug / "planner-trace-20261125.json").write_text("{}", encoding="utf-8")
    result = run("import-pflow", env={"HOME": str(tmp_path)})
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["linear", "failing"]
    assert run("import-pflow", debug, env={"HOME": "/nowhere"}).stderr == "0 runs imported, 2 already there\n"


def test_no_traces_are_no_error(tmp_path: Path) -> None:
    result = run("import-pflow", "--json", env={"HOME": str(tmp_path)})
    assert (result.exit_code, result.stdout, result.stderr) == (0, "[]\n", "0 runs imported\n")


def test_since_leaves_older_runs_out(tmp_path: Path) -> None:
    old, new = (Path(shutil.copy(LINEAR, tmp_path / name)) for name in ("old.json", "new.json"))
    os.utime(old, (1, 1))
    for since, path, expected in [
        ("2026-11-25", old, "0 runs imported, 1 older\n"),  # It was written before, and is not even read.
        ("2099-11-26", new, "0 runs imported, 1 older\n"),
        ("2026-11-25", new, "1 run imported\n"),
    ]:
        os.utime(new, None)
        assert run("import-pflow", "--dir", tmp_path / "runs", "--since", since, path).stderr == expected


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    result = run("import-pflow", "--dir", place / "runs", LINEAR)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2, f"Error: {place / 'runs'} cannot be read: Not a directory",
    )  # fmt: skip


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketflow_otel.traces.finalize.write_trace_file", full)
    result = run("import-pflow", "--dir", tmp_path / "runs", LINEAR)
    assert (result.exit_code, list((tmp_path / "runs").iterdir())) == (2, [])
    assert result.stderr == f"Error: {tmp_path / 'runs'} cannot be written: No space left on device\n"
