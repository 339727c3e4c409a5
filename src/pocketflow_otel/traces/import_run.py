"""Put a run that was recorded elsewhere among those that ran here.

Its trace file is made as that of any run, from a journal; in a folder of its own, so that nobody ever
sees half of it.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.runtime.run_id import digits_of
from pocketflow_otel.traces import chronology, finalize, journal, run_directory, run_files
from pocketflow_otel.traces.records import UNSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pocketflow_otel.traces.records import Attributes, SpanRecord

_EXECUTION: Final = re.compile(
    rb'"%b",\s?"value":\s?\{"stringValue":\s?"([^"\\]*)"' % re.escape(semconv.EXECUTION_ID).encode()
)

_KNOWN_AT_START: Final = (
    semconv.GEN_AI_OPERATION_NAME, semconv.GEN_AI_WORKFLOW_NAME, semconv.NODE_NAME, semconv.NODE_CLASS,
    semconv.NODE_VISIT, semconv.FLOW_VISIT, semconv.SHARED_SCHEMA,
)  # fmt: skip
"""What the event of a start is made of."""


class KnownRuns:
    """The runs of a directory, to tell whether a run is there already.

    A run that was traced while pflow wrote its own trace says pflow's id of it; one that was imported
    has an id that follows from that.

    Args:
        directory: Where trace files are.
    """

    def __init__(self, directory: Path) -> None:
        self._runs: set[str] = set()
        self._executions: set[str] = set()
        for path in run_directory.run_paths(directory):
            self._runs.add(digits_of(run_files.run_id_of(path)))
            self._executions.update(_executions(path))

    def has(self, run_id: str, execution_id: str) -> bool:
        """Return whether a run is there."""
        return digits_of(run_id) in self._runs or execution_id in self._executions

    def add(self, run_id: str) -> None:
        """Take note of a run that is there from now on."""
        self._runs.add(digits_of(run_id))


def _executions(path: Path) -> set[str]:
    """Return pflow's ids in a file of ours; none of one that cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {found.decode(errors="replace") for found in _EXECUTION.findall(content)}
    except (OSError, ValueError):  # ValueError: an empty file
        return set()


def write_imported_run(
    directory: Path, run_id: str, spans: Sequence[SpanRecord], resource: Attributes
) -> Path:
    """Make the trace file of a run.

    Args:
        directory: Where trace files are; made if need be.
        run_id: The run's id.
        spans: Its spans, the root first; one without an end makes it an interrupted run.
        resource: What is said of where it ran.

    Returns:
        The trace file.

    Raises:
        OSError: It cannot be written.
    """
    run_files.make_directory(directory)
    with TemporaryDirectory(prefix=run_files.IMPORT_FOLDER, dir=directory) as folder:
        path = run_files.journal_path(Path(folder), run_id)
        with open(path, "wb", opener=run_files.open_private) as file:
            root = spans[0]
            header = journal.Header(
                run_id=run_id,
                trace_id=root.trace_id,
                root_id=root.span_id,
                start=root.start,
                pid=0,
                resource=journal.resource_json(resource),
            )
            file.write(journal.header_line(header))
            for _, kind, span, _ in chronology.in_order(spans):
                if kind == "start":
                    file.write(journal.start_line(_at_start(span)))
                elif kind == "end":
                    file.write(journal.end_line(span))
        made = finalize.write_trace_file(path)
        return made.replace(directory / made.name)


def _at_start(span: SpanRecord) -> SpanRecord:
    """Return a span as it is known at its start; one that never ends is known whole, for want of an end."""
    if not span.end:
        return span
    known = {name: span.attributes[name] for name in _KNOWN_AT_START if name in span.attributes}
    return replace(span, end=0, attributes=known, events=(), status=UNSET, status_message="")
