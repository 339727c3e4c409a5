"""Read a trace file of pflow, of whatever version; what cannot be read is one sentence.

Until 0.13 pflow writes one JSON document at the end of the run. From 0.14 on it writes a line of JSON
for each start and end of a step while the run goes, so the trace of a killed run is there too.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any, Final

from pocketflow_otel import pflow_names
from pocketflow_otel.fields import mapping, members
from pocketflow_otel.formats.pflow import listed_calls, trace_values
from pocketflow_otel.formats.pflow.recorded_run import RecordedRun, RecordedWarning
from pocketflow_otel.formats.pflow.step_events import RecordedScope, read_step
from pocketflow_otel.formats.pflow.streamed_trace import StreamedTrace
from pocketflow_otel.store.redaction import shorten
from pocketflow_otel.traces.json_file import load_object, open_regular
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MARKER: Final = "pflow_trace"
_TRANSPORT: Final = "jsonl/1"
_SHOWN: Final = 40
"""Characters of a value in a sentence."""
_FORMATS: Final = ("1.", "2.")
_ADVISERS: Final = ("parser", "validator")
"""Sources of warnings about the workflow's text, which are about no run."""
_FAILED: Final = "failed"
_WENT_ON: Final = "on_error_recovery"
_UNROUTED: Final = "no successor edge matches"
"""Part of the warning about an action that leads nowhere, which turns out once its step has ended."""
_UNNAMED: Final = "unnamed"
"""The name of a run that was given none, of a workflow without a file."""
_FILE: Final = ".pflow.md"


def read(path: Path) -> RecordedRun:
    """Read a run.

    Raises:
        TraceError: There is no such file, or it is damaged, or no trace of pflow.
    """
    with open_regular(path) as file:
        try:
            first = file.readline()
            head = _object(first)
            if head is not None and MARKER in head:
                return _read_lines(path, head, file)
            return _read_document(path, load_object(path, first + file.read(), of="pflow"))
        except OSError as error:
            raise TraceError(f"{path} cannot be read: {error.strerror}") from None
        except RecursionError:
            raise TraceError(f"{path} is no trace of pflow: it is nested too deeply") from None


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the object that a line is; `None` for anything else."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_document(path: Path, document: Mapping[str, Any]) -> RecordedRun:
    events = document.get("nodes")
    if not isinstance(events, list) or "format_version" not in document:
        raise TraceError(f"{path} is no trace of pflow: it has no nodes")
    run = _begin(path, document)
    try:
        scope = RecordedScope({})
        # Until 0.9 a workflow could be repaired while it ran; the trace has that between the steps.
        events = [event for event in events if "type" not in mapping(event)]
        run.steps = [read_step(event, f"nodes[{number}]", scope) for number, event in enumerate(events)]
    except TraceError as error:
        raise TraceError(f"{path} is damaged: {error}") from None
    if listed_calls.is_listed(events):
        before = mapping(mapping(events[0]).get("shared_before"))
        run.inputs = trace_values.types(before)
        run.file = trace_values.base_name(before.get(pflow_names.WORKFLOW_FILE))
        run.strays = listed_calls.assign(run.steps, events)
    _end(run, document, {})
    if run.status == _FAILED and run.steps and run.steps[-1].failure is None:
        # Until 0.13 the trace, and not pflow itself, calls a run failed that went on after a failure.
        went_on = any(warning.category == _WENT_ON for warning in run.warnings)
        run.status = "degraded" if went_on else ""
    return run


def _read_lines(path: Path, head: Mapping[str, Any], file: IO[bytes]) -> RecordedRun:
    if head[MARKER] != _TRANSPORT:
        raise TraceError(
            f"{path} was written by a newer pflow: {MARKER} is {_shown(head[MARKER])}, not {_TRANSPORT!r}"
        )
    run = _begin(path, head)
    run.inputs = trace_values.types(head.get("inputs"))
    lines = StreamedTrace()
    try:
        for number, line in _numbered(file):
            lines.take(line, f"line {number}")
        run.steps = lines.steps()
    except TraceError as error:
        raise TraceError(f"{path} is damaged: {error}") from None
    run.restored = lines.restored
    if lines.trailer is not None:
        _end(run, lines.trailer, lines.blobs)
    return run


def _shown(value: object) -> str:
    """Return a value for a sentence."""
    return shorten(repr(value), _SHOWN)


def _numbered(file: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines after the first with their numbers; one that was cut off is the last, and left out."""
    for number, line in enumerate(file, 2):
        found = _object(line)
        if found is not None:
            yield number, found
        elif line.endswith(b"\n") and line.strip():
            raise TraceError(f"line {number} is no JSON object")


def _begin(path: Path, fields: Mapping[str, Any]) -> RecordedRun:
    """Read what is known of a run from its start."""
    version = fields.get("format_version")
    if not isinstance(version, str) or not version.startswith(_FORMATS):
        raise TraceError(f"{path} has the format {_shown(version)}, which this version does not know")
    start = trace_values.moment(fields.get("start_time"))
    if start is None:
        raise TraceError(f"{path} is damaged: it has no start_time")
    execution_id = trace_values.name(fields.get("execution_id"))
    return RecordedRun(
        identity=execution_id or path.name,
        execution_id=execution_id,
        name=_name(fields.get("workflow_name"), fields.get("workflow_path")),
        file=trace_values.base_name(fields.get("workflow_path")),
        start=start,
        resumed_from=trace_values.name(fields.get("resumed_from")),
        only_node=trace_values.name(fields.get("only_node")),
    )


def _name(given: object, path: object) -> str:
    """Return the name of a workflow; of a run that was given none, pflow has the path in its place."""
    if not isinstance(given, str) or given == _UNNAMED:
        return ""
    is_path = given == path or "/" in given or "\\" in given or given.endswith(_FILE)
    return trace_values.name(pflow_names.stem(given) if is_path else given)


def _end(run: RecordedRun, fields: Mapping[str, Any], blobs: Mapping[str, str]) -> None:
    """Read what is known of a run at its end."""
    end = trace_values.moment(fields.get("end_time"))
    if end is None or end < run.start:
        end = run.start + trace_values.nanoseconds(fields.get("duration_ms"))
    run.end = end
    run.status = trace_values.name(fields.get("final_status"))
    warnings = [mapping(warning) for warning in members(fields.get("warnings"))]
    warnings = [warning for warning in warnings if warning.get("source") not in _ADVISERS]
    run.warnings = [_warning(warning, blobs) for warning in warnings]
    if not run.steps and not run.restored and run.status == "success":
        # Every workflow has a node: it was refused, or broke down before the first.
        run.status = _FAILED
    contexts = {
        trace_values.name(warning.get("node_id")): mapping(warning.get("context")) for warning in warnings
    }
    for step in run.steps:
        context, failure = contexts.get(step.node_id, {}), step.failure
        if failure is None:
            continue
        kind, category = context.get("type"), trace_values.name(context.get("category"))
        if kind == _WENT_ON and category:
            step.failure = failure.as_category(category)
        elif kind == pflow_names.API_WARNING and failure.category == pflow_names.EXCEPTION:
            step.failure = failure.as_category(pflow_names.API_WARNING)


def _warning(fields: Mapping[str, Any], blobs: Mapping[str, str]) -> RecordedWarning:
    text = trace_values.words(fields.get("message"), blobs)
    return RecordedWarning(
        category=trace_values.name(pflow_names.warning_category(fields)),
        severity=trace_values.name(fields.get("severity")) or pflow_names.WARNING,
        text=text,
        node_id=trace_values.name(fields.get("node_id")),
        late=_UNROUTED in text,
    )
