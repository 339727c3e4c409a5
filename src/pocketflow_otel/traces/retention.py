"""Keep a directory of trace files from growing without end.

A run that was imported began long before its file came. It stays as long as one that ends on the day
of the import, and it is counted apart, so that an import drives nothing out, and is not itself gone
after the next run.

Only names of ours are touched, never a run that still goes, never the newest few. Other processes may
write, read and prune at the same time: a file that is gone already is no error, and one that somebody
reads stays readable until it is closed.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pocketflow_otel.guard import let_through, quiet
from pocketflow_otel.runtime.run_id import start_of
from pocketflow_otel.traces import lock, run_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOOR: Final = 20
"""This many of the newest runs always stay."""

_DAY: Final = 86_400.0
_ABANDONED: Final = _DAY
"""Seconds after which a draft, or the folder of an import, that nobody finished goes."""
_LATER: Final = _DAY
"""Seconds after its start from which on the file of a run came later: it was imported, or took so long."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays; `None` is no limit. A run goes when it is past any of the limits.

    Attributes:
        runs: How many runs, the newest.
        days: How long, by the start of the run; by its file, where that came later.
        bytes: How much together, the newest first.
    """

    runs: int | None = None
    days: float | None = None
    bytes: int | None = None


@dataclass(slots=True)
class _Run:
    """The files of one run."""

    id: str
    paths: list[Path] = field(default_factory=list)
    size: int = 0
    written: float = 0.0

    @property
    def came_later(self) -> bool:
        """Whether its file is no sign of when it ran."""
        return self.written - start_of(self.id) > _LATER

    def is_running(self) -> bool:
        """Return whether it still goes, or nobody can tell."""
        return any(_is_running(path) for path in self.paths)


def prune(directory: Path, keep: Keep, *, now: float | None = None, dry: bool = False) -> list[Path]:
    """Remove the files of runs past a limit, and what a killed process left half done.

    Args:
        directory: Where trace files are.
        keep: The limits.
        now: Seconds since the epoch; the clock's by default.
        dry: Remove nothing.

    Returns:
        The files that went, or would, the newest first; before them, drafts and folders of imports.

    Raises:
        OSError: The directory cannot be read.
    """
    now = time.time() if now is None else now
    runs, drafts = _scan(directory)
    going = [draft for draft, changed in drafts if now - changed > _ABANDONED]
    for run in _past(runs, keep, now):
        going += run.paths
    return [path for path in going if dry or _removed(path)]


def _past(runs: list[_Run], keep: Keep, now: float) -> Iterator[_Run]:
    """Yield the runs that are past a limit and do not go any more, the newest first."""
    oldest = -math.inf if keep.days is None else now - keep.days * _DAY
    size = place = 0
    for run in sorted(runs, key=lambda run: run.id, reverse=True):
        if run.came_later:
            if run.written < oldest and not run.is_running():
                yield run
            continue
        size += run.size
        past = (
            (keep.runs is not None and place >= keep.runs)
            or start_of(run.id) < oldest
            or (keep.bytes is not None and size > keep.bytes)
        )
        if place >= FLOOR and past and not run.is_running():
            size -= run.size
            yield run
        place += 1


def _scan(directory: Path) -> tuple[list[_Run], list[tuple[Path, float]]]:
    """Return the runs of a directory, and what is half done there, with the time of its last change."""
    runs: dict[str, _Run] = {}
    drafts = []
    with os.scandir(directory) as entries:
        for entry in entries:
            name, path = run_files.parse_name(entry.name), directory / entry.name
            if name is None:
                drafts += _import_in(entry, path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                let_through(error)
                continue
            if name.is_draft:
                drafts.append((path, status.st_mtime))
                continue
            run = runs.setdefault(name.run_id, _Run(name.run_id))
            run.paths.append(path)
            run.size += status.st_size
            run.written = max(run.written, status.st_mtime)
    return list(runs.values()), drafts


def _import_in(entry: os.DirEntry[str], path: Path) -> list[tuple[Path, float]]:
    """Return the folder of an import, with the last change in it; nothing for anything else."""
    if not entry.name.startswith(run_files.IMPORT_FOLDER) or not entry.is_dir(follow_symlinks=False):
        return []
    try:
        return [(path, max(each.lstat().st_mtime for each in (path, *path.iterdir())))]
    except OSError as error:  # It has gone, or nobody can tell.
        let_through(error)
        return []


def _is_running(path: Path) -> bool:
    try:
        return run_files.is_journal(path) and lock.is_running(path)
    except OSError as error:  # It has gone, or nobody can tell.
        let_through(error)
        return not isinstance(error, FileNotFoundError)


def _removed(path: Path) -> bool:
    with quiet(OSError):
        if path.name.startswith(run_files.IMPORT_FOLDER):
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    return False
