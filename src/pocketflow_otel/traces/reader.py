"""Read trace files and journals, whatever became of them; what cannot be read is one sentence.

Every problem is a `TraceError` that names the file and, where it breaks, the place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.fields import text
from pocketflow_otel.traces import document_layout, journal, lock, run_files
from pocketflow_otel.traces.fold import JournalFold
from pocketflow_otel.traces.json_file import load_object, open_regular
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.traces.trace import RunSummary, Trace, parse_summary, tree
from pocketflow_otel.traces.validation import read_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.records import SpanRecord

_EVENTS: Final = document_layout.EVENTS.encode()
_SPANS: Final = document_layout.SPANS.encode()
_END: Final = document_layout.END.encode()

_SUMMARY: Final = 8_192
"""Bytes in which nearly every summary fits."""


def read(path: Path) -> Trace:
    """Read a run from its trace file or its journal.

    Raises:
        TraceError: There is no such file, or it is damaged, or no trace.
    """
    path = _finished(path)
    with open_regular(path) as file:
        start = file.read(len(journal.BEGINNING))
        if start == journal.BEGINNING:
            return _read_journal(path)
        return _read_document(path, _load(path, start + file.read()))


def _finished(path: Path) -> Path:
    """Return the trace file of a journal whose run has ended since its name was read."""
    finished = run_files.trace_path(path)
    return finished if run_files.is_journal(path) and finished.exists() else path


def read_summary(path: Path) -> RunSummary:
    """Read the fields before the events, and no more of the file than that takes.

    A journal is read whole: its run has no summary yet.

    Raises:
        TraceError: As `read`; and the file is cut off.
    """
    path = _finished(path)
    if run_files.is_journal(path):
        return read(path).summary
    with open_regular(path) as file:
        data = file.read(_SUMMARY)
        cut = data.find(_EVENTS)
        if cut < 0:
            return _read_document(path, _load(path, data + file.read())).summary
        # The rest is not looked at, but that it is there is cheap to see.
        file.seek(-len(_END), os.SEEK_END)
        if file.read() != _END:
            file.seek(0)
            return _read_document(path, _load(path, file.read())).summary
    return parse_summary(_checked(path, _load(path, data[:cut].rstrip(b",") + b"}")), path)


def events(path: Path) -> list[dict[str, Any]]:
    """Read the timeline alone: a third of the file, and none of its spans.

    Raises:
        TraceError: As `read`.
    """
    path = _finished(path)
    with open_regular(path) as file:
        data = file.read()
    begin = data.find(_EVENTS)
    end = data.find(_SPANS, begin)
    if begin < 0 or end < 0:
        return [dict(event) for event in read(path).events]
    found = _load(path, b"{" + data[begin:end].rstrip(b",") + b"}")["events"]
    return [event for event in found if isinstance(event, dict)]


def _load(path: Path, data: bytes) -> dict[str, Any]:
    return load_object(path, data, of="pocketflow-otel")


def _checked(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    if document.get("format") != document_layout.FORMAT:
        problem = journal.version_problem(document.get("format"), document_layout.FORMAT)
        raise TraceError(f"{path} cannot be read: {problem}")
    return document


def _read_document(path: Path, document: dict[str, Any]) -> Trace:
    _checked(path, document)
    try:
        spans = [
            read_span(span, group.get("scope"))
            for resource in document["resourceSpans"]
            for group in resource["scopeSpans"]
            for span in group["spans"]
        ]
        resources = document["resourceSpans"]
        first = resources[0] if resources else {}
        events = [dict(event) for event in document["events"]]
        resource, schema_url = first.get("resource", {}), first.get("schemaUrl", "")
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise TraceError(f"{path} is damaged: events or resourceSpans are not as they should be") from None
    if not isinstance(resource, dict) or not isinstance(schema_url, str):
        resource, schema_url = {}, ""
    return Trace(parse_summary(document, path), events, spans, resource, schema_url, tree(spans))


def _read_journal(path: Path) -> Trace:
    """Read a journal as the trace file it would become; what runs is left open."""
    # Asked first: a run that ends while it is read is then complete, never cut off.
    running = lock.is_running(path)
    damaged: list[int] = []
    fold = fold_of(path, _lines(path, damaged))
    events: list[dict[str, Any]] = []
    spans: list[SpanRecord] = []
    for line in fold:
        events += line.events
        if line.kind == "end":
            spans.append(line.span)
    run = fold.run
    run.damaged += len(damaged)
    if not run.complete:
        spans += run.open_spans() if running else run.interrupt()
    fields = fold.summary("running" if running else "interrupted")
    return Trace(
        parse_summary(fields, path),
        events,
        spans,
        fold.header["resource"],
        text(fold.header.get("schema_url")),
        tree(spans),
    )


def fold_of(path: Path, lines: Iterator[dict[str, Any]]) -> JournalFold:
    """Return the fold of a journal's lines.

    Raises:
        TraceError: They are none of a journal.
    """
    try:
        return JournalFold(lines)
    except TraceError as error:
        raise TraceError(f"{path} cannot be read: {error}") from None


def _lines(path: Path, damaged: list[int]) -> Iterator[dict[str, Any]]:
    try:
        yield from journal.read_lines(path, damaged)
    except FileNotFoundError:  # Its run has ended just now.
        raise TraceError(f"there is no file {path}") from None
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
