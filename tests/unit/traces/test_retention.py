"""What goes from a directory of traces, and what stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.outputs import show
from tests.support.retention import NOW, make, written

from pocketflow_otel.cli.main import main
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.traces import lock
from pocketflow_otel.traces.retention import FLOOR, Keep, prune

ALL = Keep(None, None, None)


def left(place: Path, keep: Keep) -> list[Path]:
    gone = prune(place, keep, now=NOW.timestamp())
    assert not any(path.exists() for path in gone)
    return sorted(place.iterdir(), reverse=True)


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        (ALL, 60),
        (Keep(runs=40, days=None, bytes=None), 40),
        (Keep(runs=None, days=30, bytes=None), 31),  # One is exactly 30 days old.
        (Keep(runs=None, days=None, bytes=255), 25),
        (Keep(runs=40, days=30, bytes=255), 25),
        (Keep(runs=0, days=None, bytes=None), FLOOR),
        (Keep(runs=None, days=0, bytes=None), FLOOR),
        (Keep(runs=None, days=None, bytes=0), FLOOR),
    ],
)
def test_what_is_past_a_limit_goes_and_the_newest_stay(tmp_path: Path, keep: Keep, stay: int) -> None:
    paths = make(tmp_path, 60)
    assert left(tmp_path, keep) == paths[:stay]


def test_only_files_of_ours_go(tmp_path: Path) -> None:
    make(tmp_path, 30)
    others = [
        "notes.json", "20261122T120000Z-0000000g.json", "20251122T120000Z-00000001.json.bak",
        "20251122T120000Z-00000001.txt", "workflow-trace-20251122-120000.json",
        ".20251122T120000Z-00000001.json",
    ]  # fmt: skip
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "20200101T000000Z-00000001.json").mkdir()
    kept = {path.name for path in left(tmp_path, Keep(0, 0, 0))}
    assert kept >= {*others, "20200101T000000Z-00000001.json"}
    assert len(kept) == FLOOR + len(others) + 1


def test_both_files_of_a_run_go_together(tmp_path: Path) -> None:
    oldest = make(tmp_path, 30)[-1]
    oldest.with_suffix(".jsonl").write_bytes(b"x")
    written(oldest.with_suffix(".jsonl"), NOW - timedelta(days=29))
    gone = prune(tmp_path, Keep(runs=29), now=NOW.timestamp())
    assert {path.name for path in gone} == {oldest.name, oldest.with_suffix(".jsonl").name}


def test_a_running_run_stays_however_old_it_is(tmp_path: Path) -> None:
    paths = make(tmp_path, 30)
    journals = [
        paths[-1].rename(paths[-1].with_suffix(".jsonl")),
        paths[-2].rename(paths[-2].with_suffix(".jsonl")),
    ]
    descriptor = os.open(journals[0], os.O_WRONLY)
    lock.hold(descriptor)
    try:
        left(tmp_path, Keep(0, 0, 0))
        assert [path.exists() for path in journals] == [True, False]
    finally:
        lock.release(descriptor)
    left(tmp_path, Keep(0, 0, 0))
    assert not journals[0].exists()


def test_a_draft_goes_when_nobody_can_be_writing_it_any_more(tmp_path: Path) -> None:
    old, new = (tmp_path / f"20261122T120000Z-0000000{number}.0123abcd.tmp" for number in (1, 2))
    old.touch()
    new.touch()
    os.utime(old, (NOW.timestamp() - 90_000,) * 2)
    os.utime(new, (NOW.timestamp() - 3_000,) * 2)
    assert left(tmp_path, Keep()) == [new]


def test_a_file_that_goes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make(tmp_path, 22)
    unlink = Path.unlink

    def late(path: Path) -> None:
        unlink(path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", late)
    assert prune(tmp_path, Keep(runs=0), now=NOW.timestamp()) == []
    assert sorted(tmp_path.iterdir(), reverse=True) == paths[:FLOOR]


def test_it_happens_after_a_run_as_the_configuration_says(tmp_path: Path) -> None:
    paths = make(tmp_path, 40, every=timedelta(minutes=1))
    for path in paths:
        written(path.rename(path.with_name(path.name.replace("2026", "2025"))), NOW - timedelta(days=365))
    limits: dict[str, Any] = {"keep_runs": 25, "keep_days": None}
    with capture_spans(fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=tmp_path, **limits)
        pocketflow.Flow(start=pocketflow.Node()).run({})
    assert len(list(tmp_path.iterdir())) == 25


def test_prune_says_what_went_and_takes_limits(tmp_path: Path) -> None:
    paths = make(tmp_path, 30)
    run = lambda *options: CliRunner().invoke(main, ["prune", "--dir", str(tmp_path), *options])  # noqa: E731
    limits = ["--keep-runs", "28", "--keep-days", "all"]
    dry = run(*limits, "--dry-run")
    assert (dry.exit_code, dry.stdout.splitlines()) == (0, [str(path) for path in paths[28:]])
    assert dry.stderr == "2 files would go, 0 interrupted runs recovered\n"
    assert all(path.exists() for path in paths)
    done = run(*limits)
    assert (done.stdout, done.stderr) == (dry.stdout, "2 files removed, 0 interrupted runs recovered\n")
    assert [path.exists() for path in paths[27:]] == [True, False, False]
    wrong = run("--keep-runs", "many")
    assert (wrong.exit_code, "'many': give a number of at least 0, or all" in wrong.stderr) == (2, True)


def test_a_program_that_sets_its_clock_loses_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = 10 * 365 * 86_400
    flow = pocketflow.Flow(start=pocketflow.Node())
    with capture_spans(fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=tmp_path, keep_days=30.0)
        for _ in range(FLOOR + 2):
            flow.run({})
        for name in ("time", "monotonic", "perf_counter"):
            real = getattr(time, name)
            monkeypatch.setattr(time, name, lambda real=real: real() + later)
        flow.run({})
    assert len(list(tmp_path.glob("*.json"))) == FLOOR + 3
