"""Imported runs in a directory that is pruned."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.support.command_line import run
from tests.support.pflow_traces import ALL, LINEAR, imported, write
from tests.support.retention import written

from pocketflow_otel.traces.retention import FLOOR, Keep, prune

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_what_was_imported_stays_for_its_days_and_drives_nothing_out(tmp_path: Path) -> None:
    """The limits count the days of an imported run from the import, and its number and size not at all."""
    own = []
    for number in range(FLOOR + 5):
        start = NOW - timedelta(hours=number)
        own.append(written(write(tmp_path / f"{start:%Y%m%dT%H%M%SZ}-{number:08x}.json", [number]), start))
    old = [written(path, NOW - timedelta(days=29)) for path in imported(tmp_path, *ALL)]
    keep = Keep(runs=FLOOR + 2, days=30, bytes=None)
    assert set(prune(tmp_path, keep, now=NOW.timestamp())) == set(own[-3:])
    later = NOW + timedelta(days=2)
    gone = prune(tmp_path, keep, now=later.timestamp())
    assert (set(gone), {path.exists() for path in own[:-3]}) == (set(old), {True})


def test_what_a_killed_import_left_behind_goes_and_what_runs_stays(tmp_path: Path) -> None:
    """A folder of an import; a day after the last change in it nobody is at work there any more."""
    now = NOW.timestamp()
    for name, folder_age, file_age in [
        (".adopting-killed", 2, 2), (".adopting-started", 0, None), (".adopting-at-work", 2, 0),
        (".adopting-empty", 2, None), ("of-somebody", 2, 2), (".adopting", 2, 2),
    ]:  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        if file_age is not None:
            (folder / "journal.jsonl").touch()
            written(folder / "journal.jsonl", NOW - timedelta(days=file_age))
        written(folder, NOW - timedelta(days=folder_age))
    (tmp_path / ".adopting-linked").symlink_to(tmp_path / "of-somebody")
    (tmp_path / ".adopting-file").touch()
    os.utime(tmp_path / ".adopting-file", (1, 1))
    leftovers = {tmp_path / ".adopting-killed", tmp_path / ".adopting-empty"}
    stay = set(tmp_path.iterdir()) - leftovers
    assert set(prune(tmp_path, Keep(), now=now, dry=True)) == leftovers
    assert set(tmp_path.iterdir()) == stay | leftovers
    assert set(prune(tmp_path, Keep(), now=now)) == leftovers
    assert set(tmp_path.iterdir()) == stay
    assert (tmp_path / "of-somebody" / "journal.jsonl").exists()


def test_an_import_works_in_a_folder_that_prune_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def killed(path: Path) -> Path:
        found.append(path.parent)
        later = time.time() + 2 * 86_400
        found.extend(prune(tmp_path, Keep(), now=later))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pocketflow_otel.traces.finalize.write_trace_file", killed)
    run("import-pflow", "--dir", tmp_path, LINEAR)
    assert len(found) == 2
    assert found[0] == found[1]
