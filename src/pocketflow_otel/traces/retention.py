"""Keep a directory of trace files from growing without end.

Only names of ours are touched, never a run that still goes, never the newest few. Other processes may
write, read and prune at the same time: a file that is gone already is no error, and one that somebody
reads stays readable until it is closed.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pocketflow_otel.traces import lock
from pocketflow_otel.traces.runs import NAME

if TYPE_CHECKING:
    from pathlib import Path

FLOOR: Final = 20
"""This many of the newest runs always stay."""

_DAY: Final = 86_400.0
_ABANDONED: Final = _DAY
"""Seconds after which a draft that nobody finished goes."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays; `None` is no limit. A run goes when it is past any of the limits.

    Attributes:
        runs: How many runs, the newest.
        days: How long, by the start of the run.
        bytes: How much together, the newest first.
    """

    runs: int | None = 200
    days: float | None = 30
    bytes: int | None = 500_000_000


@dataclass(slots=True)
class _Run:
    """The files of one run."""

    id: str
    files: list[Path]
    size: int = 0


def prune(directory: Path, keep: Keep, *, now: float | None = None, dry: bool = False) -> list[Path]:
    """Remove the files of runs past a limit, and drafts a process left behind.

    Args:
        directory: Where trace files are.
        keep: The limits.
        now: Seconds since the epoch; the clock's by default.
        dry: Remove nothing.

    Returns:
        The files that went, or would, the newest first.

    Raises:
        OSError: The directory cannot be read.
    """
    now = time.time() if now is None else now
    runs, drafts = _look(directory)
    going = [draft for draft, changed in drafts if now - changed > _ABANDONED]
    size = 0
    for place, run in enumerate(sorted(runs, key=lambda run: run.id, reverse=True)):
        size += run.size
        past = (
            (keep.runs is not None and place >= keep.runs)
            or (keep.days is not None and now - started(run.id) > keep.days * _DAY)
            or (keep.bytes is not None and size > keep.bytes)
        )
        if place >= FLOOR and past and not any(_is_running(path) for path in run.files):
            size -= run.size
            going += run.files
    return [path for path in going if dry or _removed(path)]


def _look(directory: Path) -> tuple[list[_Run], list[tuple[Path, float]]]:
    """Return the runs of a directory, and its drafts with the time of their last change."""
    runs: dict[str, _Run] = {}
    drafts = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = NAME.fullmatch(entry.name)
            if match is None:
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            path = directory / entry.name
            if match["kind"] == "tmp":
                drafts.append((path, status.st_mtime))
                continue
            run = runs.setdefault(match["run"], _Run(match["run"], []))
            run.files.append(path)
            run.size += status.st_size
    return list(runs.values()), drafts


def started(run_id: str) -> float:
    """Return the start that a run's id tells, in seconds since the epoch."""
    try:
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:  # Digits, but no date
        return 0.0


def _is_running(path: Path) -> bool:
    try:
        return path.suffix == ".jsonl" and lock.is_running(path)
    except FileNotFoundError:
        return False
    except OSError:  # Nobody can tell.
        return True


def _removed(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False
