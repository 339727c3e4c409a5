"""A saved run: its run summary, its spans, and the tree of span nodes they make."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.fields import count, instant, mapping, number, text
from pocketflow_otel.traces import run_files
from pocketflow_otel.traces.records import ENDED, Trouble, flow_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pocketflow_otel.traces.records import SpanRecord

STATUSES: Final = (*ENDED, "interrupted", "running")
"""How a run ended: `interrupted` by the end of its process, `running` until then.

Of pflow's alone: `degraded`, with warnings; `denied` or `paused`, at a gate.
"""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The run summary: the fields of a trace file before its events. A damaged field counts as absent.

    Attributes:
        path: The trace file or journal.
        run_id, trace_id: Ids.
        flow: The name of the flow, or of a node that ran alone; empty without one.
        starts_at: The name of the flow's first node; empty without one.
        status: One of `STATUSES`; what else a file says is `unknown`.
        start: Seconds since the epoch.
        duration: Seconds; of a run that still goes, until its last sign of life.
        steps, errors, calls, unpriced: How many.
        input_tokens, output_tokens: Of all calls.
        cost: US dollars; `None` when no call has a price.
        models: Calls, tokens and cost by model.
        late: Spans that were still open when the run ended, and are not there.
        damaged: Lines of the journal that could not be read.
        failed_steps: Of the steps, those that failed.
        fallbacks, item_fallbacks: Steps, and items of batches, whose result `exec_fallback` gave.
    """

    path: Path
    run_id: str
    trace_id: str = ""
    flow: str = ""
    starts_at: str = ""
    status: str = "unknown"
    start: float = 0.0
    duration: float = 0.0
    steps: int = 0
    errors: int = 0
    calls: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    late: int = 0
    damaged: int = 0
    failed_steps: int = 0
    fallbacks: int = 0
    item_fallbacks: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def title(self) -> str:
        """The name of the flow for people."""
        return flow_name(self.flow, self.starts_at)

    @property
    def trouble(self) -> Trouble:
        """The failures that the run went on from; none of a run that failed or was interrupted itself."""
        if self.status in ("failed", "interrupted"):
            return Trouble()
        return Trouble(self.failed_steps, self.errors, self.fallbacks, self.item_fallbacks)

    def sums(self) -> dict[str, Any]:
        """Return calls, tokens and cost as attributes of a span."""
        cost = {} if self.cost is None else {semconv.COST: self.cost}
        return {
            semconv.SUM_CALLS: self.calls,
            semconv.SUM_INPUT_TOKENS: self.input_tokens,
            semconv.SUM_OUTPUT_TOKENS: self.output_tokens,
            semconv.COST_UNPRICED_CALLS: self.unpriced,
        } | cost

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of a run."""
        return {
            "run_id": self.run_id,
            "flow": self.flow or None,
            "starts_at": self.starts_at or None,
            "status": self.status,
            "start_time": datetime.fromtimestamp(self.start, UTC).isoformat(timespec="milliseconds"),
            "duration": self.duration,
            "steps": self.steps,
            "failed_steps": self.failed_steps,
            "fallbacks": self.fallbacks,
            "item_fallbacks": self.item_fallbacks,
            "errors": self.errors,
            "llm_calls": self.calls,
            "tokens": self.tokens,
            "cost": self.cost,
            "unpriced_calls": self.unpriced,
            "trace_id": self.trace_id,
            "path": str(self.path),
        }


def parse_summary(document: Mapping[str, Any], path: Path) -> RunSummary:
    """Return the run summary in a trace file's document."""
    totals = mapping(document.get("summary"))
    status = document.get("status")
    return RunSummary(
        path=path,
        run_id=text(document.get("run_id")) or run_files.run_id_of(path),
        trace_id=text(document.get("trace_id")),
        flow=text(document.get("flow")),
        starts_at=text(document.get("starts_at")),
        status=status if status in STATUSES else "unknown",
        start=_seconds(document.get("start_time")),
        duration=number(document.get("duration")) or 0.0,
        steps=count(totals.get("node_executions")) or 0,
        errors=count(totals.get("errors")) or 0,
        calls=count(totals.get("llm_calls")) or 0,
        unpriced=count(totals.get("unpriced_calls")) or 0,
        input_tokens=count(totals.get("input_tokens")) or 0,
        output_tokens=count(totals.get("output_tokens")) or 0,
        cost=_cost(totals.get("total_cost")),
        models=_models(totals.get("models")),
        late=count(totals.get("spans_still_open")) or 0,
        damaged=count(totals.get("damaged_lines")) or 0,
        failed_steps=count(totals.get("failed_steps")) or 0,
        fallbacks=count(totals.get("fallbacks")) or 0,
        item_fallbacks=count(totals.get("item_fallbacks")) or 0,
    )


def _models(models: object) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "calls": count(model.get("calls")) or 0,
            "tokens": (count(model.get("input_tokens")) or 0) + (count(model.get("output_tokens")) or 0),
            "cost": _cost(model.get("cost")),
            "unpriced_calls": count(model.get("unpriced_calls")) or 0,
        }
        for name, model in mapping(models).items()
        if isinstance(model, dict)
    }


def _cost(value: object) -> float | None:
    """Return US dollars; one that is damaged is 0, for the calls have a price."""
    return None if value is None else number(value) or 0.0


def _seconds(value: object) -> float:
    found = instant(value)
    return 0.0 if found is None else max(found.timestamp(), 0.0)


@dataclass(eq=False, slots=True)
class SpanNode:
    """A span of a run, in the tree that the spans make.

    Attributes:
        span: The span.
        depth: 0 at the root.
        children: The span nodes right below it, in the order of their starts.
    """

    span: SpanRecord
    depth: int = 0
    children: list[SpanNode] = field(default_factory=list)

    @property
    def interrupted(self) -> bool:
        """Whether it was still going when its process ended."""
        return semconv.INTERRUPTED in self.span.attributes

    @property
    def failed_inside(self) -> int:
        """How many steps, flows and items right below it failed, though it went on."""
        if self.span.failed or not self.span.role:
            return 0
        found, waiting = 0, list(self.children)
        while waiting:
            node = waiting.pop()
            if node.span.role:
                found += node.span.failed and not node.interrupted
            else:
                waiting += node.children
        return found

    def walk(self) -> Iterator[SpanNode]:
        """Yield this span node and all below it, each before its children."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)


@dataclass(frozen=True, slots=True)
class Trace:
    """A run, read whole.

    Attributes:
        summary: The run summary.
        events: The timeline, as the file has it.
        spans: All spans, in no particular order.
        resource: The resource of the process, as OTLP/JSON.
        schema_url: Of the resource.
        roots: The trees the spans make: one, unless the file is damaged.
    """

    summary: RunSummary
    events: Sequence[Mapping[str, Any]]
    spans: Sequence[SpanRecord]
    resource: Mapping[str, Any] = field(default_factory=dict)
    schema_url: str = ""
    roots: Sequence[SpanNode] = ()

    def walk(self) -> Iterator[SpanNode]:
        """Yield every span node, each before its children."""
        for root in self.roots:
            yield from root.walk()

    @property
    def root(self) -> SpanRecord | None:
        """The span of the outermost flow."""
        return self.roots[0].span if self.roots else None


def tree(spans: Sequence[SpanRecord]) -> list[SpanNode]:
    """Return the trees that spans make by their parents' ids, the run's own first.

    A span whose parent is not there is a root; so is one of a ring, which only damage makes.
    """
    nodes = {span.span_id: SpanNode(span) for span in sorted(spans, key=lambda span: (span.start, -span.end))}
    children: dict[str, list[SpanNode]] = defaultdict(list)
    roots = []
    for node in nodes.values():
        parent = node.span.parent_id
        if parent in nodes and parent != node.span.span_id:
            children[parent].append(node)
        else:
            roots.append(node)
    placed: set[str] = set()
    for root in roots:
        _place(root, children, placed)
    for node in nodes.values():
        if node.span.span_id not in placed:
            roots.append(node)
            _place(node, children, placed)
    return sorted(roots, key=lambda node: semconv.RUN_ID not in node.span.attributes)


def _place(root: SpanNode, children: Mapping[str, list[SpanNode]], placed: set[str]) -> None:
    waiting = [root]
    placed.add(root.span.span_id)
    while waiting:
        node = waiting.pop()
        below = [child for child in children.get(node.span.span_id, ()) if child.span.span_id not in placed]
        node.children = below
        for child in below:
            child.depth = node.depth + 1
            placed.add(child.span.span_id)
        waiting += below
