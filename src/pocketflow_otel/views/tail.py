"""The lines of a run of another process, while it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel.traces import run_files
from pocketflow_otel.traces.follow import follow
from pocketflow_otel.views.live import LiveRenderer
from pocketflow_otel.views.replay import event_lines
from pocketflow_otel.views.styled_text import DIM, SEPARATOR, WARN, Part
from pocketflow_otel.views.summary import path_line
from pocketflow_otel.views.wording import joined, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pocketflow_otel.traces.fold import RunAccumulator
    from pocketflow_otel.views.styled_text import Line


def tail_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a run while it goes, and how it ended.

    What happened inside a step comes with the end of the step: the journal has it from then on.

    Raises:
        FileNotFoundError: The run has ended.
        TraceError: It is no journal.
    """
    fold = follow(path)
    run, renderer = fold.run, LiveRenderer(fold.header["run_id"], fold.header["start"])
    for kind, span, *_ in fold:
        if kind == "start":
            yield from renderer.started(span)
            continue
        for event in span.events:
            yield from event_lines(renderer, span, event)
        yield from renderer.ended(span)
        if span.span_id == run.root_id:
            yield from renderer.summary(span, late=run.late)
            yield path_line(run_files.trace_path(path))
            return
    yield _interrupted(run)


def _interrupted(run: RunAccumulator) -> Line:
    names = ", ".join(span.title for span in run.open_spans() if span.role == "node") or "no step"
    took = seconds(max(run.end - run.start, 0) / 1e9)
    facts = joined([took, "its process is gone; it was in "])
    return Part("INTERRUPTED", WARN), Part(f"{SEPARATOR}{facts}"), Part(names, DIM)
