"""The files of a run: their names, and how such a file is created.

A run has a journal while it goes and a trace file from its end on, both named after its id. A draft is
a trace file that is being written; an import makes its trace file in a folder of its own. A directory
of runs may hold other files, which nobody here looks at.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE: Final = ".json"
_JOURNAL: Final = ".jsonl"
_DRAFT: Final = ".tmp"
IMPORT_FOLDER: Final = ".adopting-"
"""How the name of an import's folder begins; an import that is killed leaves it."""

_NAME: Final = re.compile(
    r"(?P<run_id>\d{8}T\d{6}Z-[0-9a-f]{8}(?:-\d+)?)(?:\.[0-9a-f]{8})?(?P<suffix>\.jsonl?|\.tmp)"
)


class FileName(NamedTuple):
    """The parts of the name of a run's file."""

    run_id: str
    suffix: str

    @property
    def is_draft(self) -> bool:
        """Whether it is a trace file that is being written."""
        return self.suffix == _DRAFT


PRIVATE: Final = 0o600
"""The mode of a file that is for the user alone."""


def parse_name(name: str) -> FileName | None:
    """Return the parts of a file's name; `None` for a file that is not ours."""
    match = _NAME.fullmatch(name)
    return None if match is None else FileName(match["run_id"], match["suffix"])


def is_journal(path: Path) -> bool:
    """Return whether a file is a journal, by its name."""
    return path.suffix == _JOURNAL


def is_file_name(text: str) -> bool:
    """Return whether what a person typed names a file, not a run."""
    return os.sep in text or text.endswith((TRACE, _JOURNAL))


def journal_path(directory: Path, run_id: str) -> Path:
    """Return the journal of a run."""
    return directory / f"{run_id}{_JOURNAL}"


def trace_path(path: Path) -> Path:
    """Return the trace file of the run that a journal, or a trace file, belongs to."""
    return path.with_suffix(TRACE)


def draft_path(journal: Path) -> Path:
    """Return a new draft: two processes may recover one journal, and then write the same trace file."""
    return journal.with_suffix(f".{secrets.token_hex(4)}{_DRAFT}")


def journals(directory: Path) -> Iterator[Path]:
    """Yield the journals of a directory by their names."""
    yield from sorted(directory.glob(f"*{_JOURNAL}"))


def run_id_of(path: Path) -> str:
    """Return the id of the run that a file belongs to."""
    return path.stem


def make_directory(directory: Path) -> None:
    """Create a directory of runs, for the user alone, unless it is there.

    Raises:
        OSError: It cannot be created.
    """
    try:
        directory.mkdir(mode=0o700, parents=True)  # `exist_ok` would take any OSError for this one.
    except FileExistsError:
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise


def exists(path: Path) -> bool:
    """Return whether a file is there; unlike `Path.exists` without swallowing what is raised meanwhile."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def open_private(path: str | Path, flags: int) -> int:
    """Open a file, as `open(opener=...)` asks for it; a new one is for the user alone."""
    return os.open(path, flags, PRIVATE)
