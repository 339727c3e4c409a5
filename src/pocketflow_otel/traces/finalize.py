"""Make the trace file of a journal: when the run ends, or when its process is found gone."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import ExitStack, suppress
from functools import partial
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, Self

from pocketflow_otel.traces import document_layout, journal, lock, otlp_json, run_files
from pocketflow_otel.traces.fold import JournalFold
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IN_MEMORY: Final = 4_000_000
"""Characters of a part of a trace file that are kept in memory, as UTF-8; a larger part waits on disk."""

_json: Final = partial(json.dumps, ensure_ascii=False)


def write_trace_file(path: Path, status: str | None = None) -> Path:
    """Make the trace file of a journal, put it in its place at once, and remove the journal.

    Works in bounded memory, however long the run was.

    Args:
        path: The journal.
        status: The run's, when its root's end does not tell (`interrupted`).

    Returns:
        The trace file.

    Raises:
        OSError: The disk is full, or the directory is gone; the journal is still there.
        TraceError: The journal has no readable first line.
    """
    target, draft = run_files.trace_path(path), run_files.draft_path(path)
    with ExitStack() as stack:
        events, spans = (stack.enter_context(_Part(path.parent)) for _ in range(2))
        fields = _write_parts(path, events, spans, status)
        stack.callback(draft.unlink, missing_ok=True)
        with open(draft, "w", encoding="utf-8", errors="replace", opener=run_files.open_private) as file:
            file.write(_json(fields, indent=1)[:-2])
            file.write(f",{document_layout.EVENTS}\n")
            events.copy_to(file)
            file.write(f"\n ],{document_layout.SPANS}")
            spans.copy_to(file)
            file.write(document_layout.END)
        draft.replace(target)
    path.unlink(missing_ok=True)
    return target


class _Part:
    """The text of a part: in memory, and if it is large in a file without a name.

    Not a `SpooledTemporaryFile`, whose `__del__` is Python: what a signal handler raises there is lost.
    A lone surrogate, which no collector would take, becomes a `?`.

    Args:
        directory: Where the file is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._memory: io.BytesIO | None = io.BytesIO()
        self._text: IO[str] = io.TextIOWrapper(self._memory, "utf-8", errors="replace", newline="")
        self._length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._text.close()

    def write(self, text: str) -> None:
        self._text.write(text)
        self._length += len(text)
        if self._memory is not None and self._length > _IN_MEMORY:
            self._text.flush()
            file = TemporaryFile(  # noqa: SIM115 - `__exit__` closes it
                "w+", encoding="utf-8", errors="replace", newline="", dir=self._directory
            )
            file.buffer.write(self._memory.getvalue())
            self._text, self._memory = file, None

    def copy_to(self, file: IO[str]) -> None:
        self._text.seek(0)
        shutil.copyfileobj(self._text, file)


def _write_parts(path: Path, events_part: _Part, spans_part: _Part, status: str | None) -> dict[str, Any]:
    """Write the events and the spans of a journal; return the fields before them."""
    damaged: list[int] = []
    try:
        fold = JournalFold(journal.read_lines(path, damaged))
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None
    events, groups = _Events(events_part), _Groups(spans_part, fold.header)
    for line in fold:
        events.write(line.events)
        if line.kind == "end":
            groups.write(line.content["end"], line.content)
    fold.run.damaged += len(damaged)
    if not fold.run.complete:
        for span in fold.run.interrupt():
            groups.write(otlp_json.encode_span(span), {"scope": otlp_json.encode_scope(span.scope)})
    groups.close()
    return fold.summary(status)


class _Events:
    """Writes events as the elements of a JSON list, one a line."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._separator = ""

    def write(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._part.write(f"{self._separator}  {_json(event)}")
            self._separator = ",\n"


class _Groups:
    """Writes spans as the elements of `resourceSpans`, one a line; a new group for a new scope."""

    def __init__(self, part: _Part, header: dict[str, Any]) -> None:
        self._part = part
        self._resource = _json(header["resource"])
        self._schema = _json(header.get("schema_url", ""))
        self._scope: object = None

    def write(self, span: dict[str, Any], line: dict[str, Any]) -> None:
        scope = (line.get("scope", {}), line.get("schema_url", ""))
        if scope == self._scope:
            self._part.write(",\n")
        else:
            self._part.write(
                f'\n  {{"resource": {self._resource}, "schemaUrl": {self._schema}, "scopeSpans": [{{"scope": '
                if self._scope is None
                else '\n  ]},\n  {"scope": '
            )
            self._part.write(f'{_json(scope[0])}, "schemaUrl": {_json(scope[1])}, "spans": [\n')
        self._scope = scope
        self._part.write(f"   {_json(span)}")

    def close(self) -> None:
        if self._scope is not None:
            self._part.write("\n  ]}]}")


def recover(directory: Path) -> Iterator[Path]:
    """Make trace files of the journals whose process is gone, and yield them.

    What cannot be written or read stays as it is: readers take journals too.
    """
    for path in run_files.journals(directory):
        with suppress(OSError, TraceError):
            if path.stat().st_size and not lock.is_running(path):
                yield write_trace_file(path)
