"""Write the journal of one run."""

from __future__ import annotations

import os
from itertools import chain, count
from typing import TYPE_CHECKING

from pocketflow_otel.guard import let_through
from pocketflow_otel.traces import journal, lock, run_files

if TYPE_CHECKING:
    from pathlib import Path

    from pocketflow_otel.export.run_processor import OpenRun


class JournalWriter:
    """A journal that is being written: one system call for each line, none held back.

    Locked until it is closed, which readers take for the life of its run.

    Args:
        directory: Where to; made when needed, for the user alone.
        run_id: The run's id.

    Attributes:
        path: The journal.
        size: Its bytes.
        broken: Whether a line could not be written; nothing is written after it.
    """

    def __init__(self, directory: Path, run_id: str) -> None:
        self._directory = directory
        self.path = run_files.journal_path(directory, run_id)
        self._file = -1
        self.size = 0
        self.broken = True

    def open(self, run: OpenRun) -> None:
        """Create the journal. Whoever has the writer can close it then, wherever an interrupt comes.

        Raises:
            OSError: It cannot be written.
        """
        run_files.make_directory(self._directory)
        self.path, self._file = _create(self._directory, run.id)
        try:
            header = journal.Header(
                run_id=run_files.run_id_of(self.path),
                trace_id=run.trace_id,
                root_id=run.root_id,
                start=run.start,
                pid=os.getpid(),
                resource=journal.resource_json(run.resource.attributes),
                resource_schema_url=run.resource.schema_url,
            )
            self.write(journal.header_line(header))
            self.broken = False
        except BaseException:
            self.path.unlink(missing_ok=True)
            self.close()
            raise

    def write(self, line: bytes) -> None:
        """Write a line, whole.

        Raises:
            OSError: There is no room for it.
        """
        self.size += len(line)
        while line:  # A full disk, or a signal, may take only a part.
            line = line[os.write(self._file, line) :]

    def close(self) -> None:
        """Let go of the journal: whoever reads it now sees a run that has ended."""
        try:
            lock.release(self._file)
        finally:
            self._file = -1  # By now it may be the number of another file.


def _create(directory: Path, name: str) -> tuple[Path, int]:
    """Create a journal that nobody else has, with a number behind the name if need be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    for stem in chain([name], (f"{name}-{number}" for number in count(2))):
        path = run_files.journal_path(directory, stem)
        if not run_files.exists(run_files.trace_path(path)):
            opened: list[int] = []
            try:
                # In one call of C: an interrupt that comes amid it finds the descriptor in the list.
                opened.extend(map(os.open, [path], [flags], [run_files.PRIVATE]))
                lock.hold(opened[0])
            except BaseException as error:
                for descriptor in opened:
                    os.close(descriptor)
                    path.unlink(missing_ok=True)
                if isinstance(error, FileExistsError):
                    let_through(error)
                    continue
                raise
            return path, opened[0]
    raise AssertionError
