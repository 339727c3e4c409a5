"""The runs of a directory: their files, by the names people type."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pocketflow_otel.guard import let_through
from pocketflow_otel.runtime.run_id import start_text
from pocketflow_otel.traces import lock, reader, run_files
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pocketflow_otel.traces.trace import RunSummary

LAST: Final = "last"
_NAMED: Final = 5
"""Run ids that an error names when several fit."""


def run_paths(directory: Path) -> list[Path]:
    """Return the trace files, and the journals without one, the newest run first.

    Raises:
        TraceError: The directory cannot be read.
    """
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are enough, and ten thousand are many
    except FileNotFoundError:
        return []
    except OSError as error:
        let_through(error)
        raise TraceError(f"{directory} cannot be read: {error.strerror}") from None
    found: dict[str, str] = {}
    for name in sorted(names, reverse=True):  # A journal comes before its trace file, which wins.
        parsed = run_files.parse_name(name)
        if parsed is not None and not parsed.is_draft:
            found[parsed.run_id] = name
    paths: list[Path] = []
    for _, same_second in groupby(found.items(), key=lambda item: start_text(item[0])):
        tied = [directory / name for _, name in same_second]
        paths += sorted(tied, key=_changed, reverse=True) if len(tied) > 1 else tied
    return paths


def _changed(path: Path) -> int:
    """Return when a file was last written: the later of two runs that began in one second."""
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        let_through(error)
        return 0


def summaries(paths: Iterable[Path]) -> Iterator[RunSummary | TraceError]:
    """Yield the run summary of each file, or what is wrong with the file.

    A file that went in the meantime, and a journal without a line yet, are passed over.
    """
    for path in paths:
        try:
            yield reader.read_summary(path)
        except TraceError as error:
            if run_files.is_journal(path) and _is_new(path):
                continue
            if path.exists():
                yield error


def _is_new(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError as error:
        let_through(error)
        return False


def find(directory: Path, wanted: str) -> Path:
    """Return the file of a run.

    Args:
        directory: Where trace files are.
        wanted: `last`, a run id, any part of one that no other has, or a file.

    Raises:
        TraceError: None fits, or several do.
    """
    if run_files.is_file_name(wanted):
        return Path(wanted)
    found = run_paths(directory)
    if wanted == LAST:
        if not found:
            raise TraceError(f"there is no run in {directory} yet")
        return found[0]
    fitting = [path for path in found if wanted in run_files.run_id_of(path)]
    exact = [path for path in fitting if run_files.run_id_of(path) == wanted]
    if len(fitting) == 1 or exact:
        return (exact or fitting)[0]
    if not fitting:
        if Path(wanted).exists():
            return Path(wanted)
        raise TraceError(f"no run in {directory} has {wanted!r} in its id")
    names = ", ".join(run_files.run_id_of(path) for path in fitting[:_NAMED])
    more = ", ..." if len(fitting) > _NAMED else ""
    raise TraceError(f"{wanted!r} fits {len(fitting):,} runs: {names}{more}")


def running(directory: Path) -> list[Path]:
    """Return the journals of runs that still go, the newest first."""
    found = []
    for path in run_paths(directory):
        try:
            if run_files.is_journal(path) and lock.is_running(path):
                found.append(path)
        except OSError as error:  # It has ended just now.
            let_through(error)
            continue
    return found
