"""Bring pflow's own traces among the runs that were traced: each run once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pocketflow_otel import __version__, semconv
from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import run_id, spans
from pocketflow_otel.traces import import_run, lock, reader, run_files
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.usage.pricing import PriceBook, read_prices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketflow_otel.formats.pflow.recorded_run import RecordedRun
    from pocketflow_otel.traces.trace import RunSummary

_TRACES: Final = "workflow-trace-*"
State = Literal["imported", "already there", "running", "older", "unreadable"]


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one of pflow's traces.

    Attributes:
        file: pflow's trace.
        state: In a word or two.
        summary: Of the run, if it was imported.
        problem: What is wrong with the trace, in a sentence, if it cannot be read.
    """

    file: Path
    state: State
    summary: RunSummary | None = None
    problem: str = ""


def pflow_traces(given: Sequence[Path]) -> list[Path]:
    """Return the files that are meant: of a folder pflow's traces, the oldest first; else the file.

    Args:
        given: Files and folders; without any, the folder that pflow writes its traces to.

    Raises:
        TraceError: There is no home directory.
    """
    found: list[Path] = []
    for path in given or (_home(),):
        if not given or _is_folder(path):
            found += sorted(path.glob(_TRACES), key=_changed)
        else:
            found.append(path)
    return found


def _home() -> Path:
    try:
        return Path.home() / ".pflow" / "debug"
    except RuntimeError as error:
        raise TraceError(f"say which files: {error}") from None


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; what is wrong with it shows when it is opened."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _changed(path: Path) -> float:
    """Return when a file was last written, or 0 where nobody can tell."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class Importer:
    """Makes trace files of pflow's traces.

    Args:
        directory: Where trace files are; made if need be.
        since: Seconds since the epoch; runs that began before are passed over.
        prices: A file of prices, for calls of which pflow does not say what they cost.
        texts: Whether the texts of failures and warnings come along, which hold data.

    Raises:
        TraceError: The directory cannot be read.
        ValueError: The file of prices cannot be read.
    """

    def __init__(
        self,
        directory: Path,
        *,
        since: float | None = None,
        prices: Path | None = None,
        texts: bool = False,
    ) -> None:
        self._directory = directory
        self._since = since
        self._texts = texts
        self._prices = PriceBook(read_prices(prices) if prices is not None else {})
        self._known = import_run.KnownRuns(directory)

    def take(self, path: Path) -> ImportOutcome:
        """Import one of pflow's traces.

        Raises:
            OSError: The trace file cannot be written.
        """
        # A run is over when its trace is written, so this one began before, too.
        if self._since is not None and 0 < _changed(path) < self._since:
            return ImportOutcome(path, "older")
        try:
            run = read(path)
            if self._since is not None and run.start < self._since * 1e9:
                return ImportOutcome(path, "older")
            if self._known.has(run_id(run), run.execution_id):
                return ImportOutcome(path, "already there")
            # pflow locks its trace while the run goes.
            if run.end is None and _is_running(path):
                return ImportOutcome(path, "running")
        except TraceError as error:
            return ImportOutcome(path, "unreadable", problem=str(error))
        return self._adopt(path, run)

    def _adopt(self, path: Path, run: RecordedRun) -> ImportOutcome:
        """Make the trace file of a run.

        Raises:
            OSError: It cannot be written.
        """
        resource = {
            "service.name": "pflow",
            "telemetry.distro.name": "pocketflow-otel",
            "telemetry.distro.version": __version__,
            semconv.IMPORTED_FROM: path.name,
        }
        found = spans(run, self._prices, texts=self._texts)
        made = import_run.write_imported_run(self._directory, run_id(run), found, resource)
        self._known.add(run_files.run_id_of(made))
        return ImportOutcome(path, "imported", reader.read_summary(made))


def _is_running(path: Path) -> bool:
    try:
        return lock.is_running(path)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
