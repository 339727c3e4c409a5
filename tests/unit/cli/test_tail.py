"""`tail`: a run of another process, while it goes."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.support.command_line import run
from tests.support.saved import create_flow, save, save_journal

from pocketflow_otel.traces import follow, lock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_run_that_is_over_is_told_at_once(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow())
    begun = time.monotonic()
    assert run("tail", path).stdout == run("replay", path, "--speed", "0").stdout
    assert time.monotonic() - begun < 30


def test_without_a_run_that_goes_there_is_nothing_to_follow(tmp_path: Path) -> None:
    save_journal(tmp_path, create_flow(), 4)  # Its process is gone.
    result = run("tail", "--dir", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"Error: no run is going on in {tmp_path}\n")


def test_the_newest_that_goes_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_journal(tmp_path, create_flow(), 5)
    save(tmp_path, create_flow("newer"))
    descriptor = os.open(path, os.O_WRONLY)
    lock.hold(descriptor)
    # It ends when it has been looked at once.
    monkeypatch.setattr(follow, "time", SimpleNamespace(sleep=lambda _: lock.release(descriptor)))
    text = run("tail", "--dir", tmp_path).stdout
    assert ("Flow: flow" in text, "it was in Flaky" in text) == (True, True)
