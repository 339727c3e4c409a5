"""Traces that pflow wrote, and what becomes of them, for the tests of the import."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_line import run

from pocketflow_otel import semconv
from pocketflow_otel.analysis.rows import status
from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import spans
from pocketflow_otel.traces import trace
from pocketflow_otel.usage.pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import SpanNode

HERE = Path(__file__).parents[1] / "pflow" / "traces"
ALL = sorted(HERE.glob("*/*.json"))

_WORDS = {
    semconv.NODE_VISIT: "visit {}",
    semconv.LOOP_ITERATION: "round {}",
    semconv.GATE_OUTCOME: "gate {}",
    semconv.NODE_CACHED: "cached",
    semconv.NODE_CACHE_SOURCE: "from {}",
    semconv.BATCH_MODE: "{}",
    semconv.BATCH_UNTRACED: "{} untraced",
    semconv.FLOW_STATUS: "{}",
    semconv.FLOW_RESTORED_NODES: "restored {}",
    semconv.NODE_ACTION: "→ {}",
    semconv.ERROR_TYPE: "{}",
}


def trace_of(name: str) -> Path:
    """Return a trace by version and what it shows: `0.16.0/loop`."""
    version, _, subject = name.partition("/")
    return HERE / version / f"workflow-trace-{subject}.json"


def name_of(path: Path) -> str:
    """Return a trace's version and its file's name, for the id of a test."""
    return f"{path.parent.name}/{path.stem}"


LINEAR = trace_of("0.16.0/linear")


@contextmanager
def zone(name: str) -> Iterator[None]:
    """Have this machine in a time zone: traces of pflow do not say theirs."""
    try:
        with pytest.MonkeyPatch.context() as patches:
            patches.setenv("TZ", name)
            time.tzset()
            yield
    finally:
        time.tzset()


def steps_of(path: Path, **options: Any) -> list[SpanNode]:
    """Return the steps of a trace of pflow, each before what it contains."""
    roots = trace.tree(spans(read(path), PriceBook(), **options))
    return [step for root in roots for step in root.walk()]


def lines_of(path: Path, **options: Any) -> list[str]:
    """Return a run in lines, without times."""
    return ["  " * step.depth + " · ".join(_pieces(step)) for step in steps_of(path, **options)]


def _pieces(step: SpanNode) -> Iterator[str]:
    span, attributes = step.span, step.span.attributes
    index = attributes.get(semconv.BATCH_INDEX)
    yield (
        f"{span.name} {status(step) if span.end else 'open'}"
        if index is None
        else f"[{index}] {status(step)}"
    )
    for name, words in _WORDS.items():
        value = attributes.get(name)
        if value is not None and (name, value) != (semconv.NODE_VISIT, 1):
            yield words.format(" ".join(value) if isinstance(value, tuple) else value)
    keys = [
        mark + key
        for mark, kind in (("+", semconv.SHARED_ADDED_KEYS), ("~", semconv.SHARED_MODIFIED_KEYS))
        for key in attributes.get(kind, ())
    ]
    if keys:
        yield " ".join(keys if len(keys) < 4 else [*keys[:2], f"and {len(keys) - 2} more"])
    if semconv.SUM_CALLS in attributes:
        tokens, output = attributes[semconv.SUM_INPUT_TOKENS], attributes[semconv.SUM_OUTPUT_TOKENS]
        yield f"{attributes[semconv.SUM_CALLS]}× {tokens}→{output}"
        yield f"${attributes[semconv.COST]:.6f}" if semconv.COST in attributes else "$?"
    for event in span.events:
        detail = event.attributes.get(semconv.WARNING_CATEGORY, event.attributes.get(semconv.EXCEPTION_TYPE))
        yield f"({event.name.rpartition('.')[2]} {detail})"


def documents(path: Path) -> list[dict[str, Any]]:
    """Return what a trace is made of: its lines, or the one document."""
    text = path.read_text(encoding="utf-8")
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def write(path: Path, content: list[Any]) -> Path:
    """Write what `documents` returned."""
    path.write_text("".join(json.dumps(each) + "\n" for each in content), encoding="utf-8")
    return path


def imported(place: Path, *paths: object) -> list[Path]:
    """Import traces, and return the new files."""
    before = set(place.glob("*"))
    result = run("import-pflow", "--dir", place, *paths)
    assert result.exit_code == 0, result.output
    return sorted(set(place.glob("*")) - before)
