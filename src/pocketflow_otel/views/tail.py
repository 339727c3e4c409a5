"""Follow the journal of a run of another process, line by line."""

from __future__ import annotations

import json
import time
from typing import IO, TYPE_CHECKING, Any, Final

from pocketflow_otel.traces import journal, lock
from pocketflow_otel.traces.fold import RunAccumulator, fold
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.views.live import LiveRenderer
from pocketflow_otel.views.replay import event_lines
from pocketflow_otel.views.styled_text import DIM, WARN, Part
from pocketflow_otel.views.summary import path_line
from pocketflow_otel.views.wording import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.views.styled_text import Line

PAUSE: Final = 0.1
"""Seconds between two looks at a journal."""


def tail(path: Path) -> Iterator[Line]:
    """Yield the lines of a run while it goes, and how it ended.

    What happened inside a step is told when the step ends: the journal has it from then on.

    Raises:
        TraceError: It is no journal.
    """
    with path.open("rb") as file:
        lines = _lines(file, path)
        try:
            header = journal.read_header(next(lines, None))
        except TraceError as error:
            raise TraceError(f"{path} cannot be read: {error}") from None
        run = RunAccumulator(header["root_id"], header["start"])
        renderer = LiveRenderer(header["run_id"], header["start"])
        for line, span, _ in fold(lines, run):
            if "start" in line:
                yield from renderer.started(span)
                continue
            for event in span.events:
                yield from event_lines(renderer, span, event)
            yield from renderer.ended(span)
            if span.span_id == header["root_id"]:
                yield from renderer.summary(span, late=run.late)
                yield path_line(path.with_suffix(".json"))
                return
    yield _interrupted(run.open_spans(), run)


def _lines(file: IO[bytes], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines as they are written, until nobody is there to write more."""
    rest = b""
    while True:
        # Asked before reading: what was written until then is read after it.
        running = _is_running(path)
        rest += file.read()
        *whole, rest = rest.split(b"\n")
        for line in whole:
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict):
                yield content
        if not running:
            return
        time.sleep(PAUSE)


def _is_running(path: Path) -> bool:
    try:
        return lock.is_running(path)
    except OSError:  # Finished, and gone
        return False


def _interrupted(open_spans: list[SpanRecord], run: RunAccumulator) -> Line:
    names = ", ".join(span.title for span in open_spans if span.role == "node") or "no step"
    took = seconds(max(run.end - run.start, 0) / 1e9)
    return Part("INTERRUPTED", WARN), Part(f" · {took} · its process is gone; it was in "), Part(names, DIM)
