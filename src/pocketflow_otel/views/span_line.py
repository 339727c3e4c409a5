"""The line of a flow, node or item: what the live view and the saved tree say of it, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.analysis.rows import status
from pocketflow_otel.views import wording
from pocketflow_otel.views.status import mark_of, style_of
from pocketflow_otel.views.styled_text import BAD, DIM, NAME, WARN, Part, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import SpanNode
    from pocketflow_otel.views.styled_text import Line

ITEM_DONE: Final = Part("· ", DIM)
"""The mark of a batch's progress, and of spans of other instrumentations."""


def name_of(span: SpanRecord) -> str:
    """Return what a span is called: `Flow: qa`, `Answer`, `[2]`, or a foreign span's name."""
    if span.role == "item":
        return f"[{span.attributes.get(semconv.BATCH_INDEX, '?')}]"
    name = escape(span.label or span.name)
    return f"Flow: {name}" if span.role == "flow" and span.title else name


def started(span: SpanRecord, size: int | None) -> Iterator[Part]:
    """Yield what the live view says of a flow or node that begins.

    Args:
        span: The flow or node.
        size: Items of its batch, once known.
    """
    yield Part(name_of(span), NAME)
    mode = span.attributes.get(semconv.BATCH_MODE)
    if mode is not None and size is not None:
        yield Part(f" ×{size}")
    if mode == semconv.PARALLEL:
        yield Part(" parallel", DIM)
    yield Part(wording.visit(span.attributes), DIM)


def ended(span: SpanRecord, facts: Iterable[Part], failed_inside: int) -> Line:
    """Return what the live view says of a flow, node or item that ended.

    Args:
        span: The flow, node or item.
        facts: What follows its duration.
        failed_inside: Steps, flows and items right in it that failed.
    """
    mark = mark_of(span, "failed" if span.failed else "ok", failed_inside=failed_inside)
    name = [] if span.role == "item" else [Part(name_of(span), NAME), Part(" ")]
    return _spaced((mark, *name, Part(wording.seconds(span.duration))), facts)


def saved(node: SpanNode, parent: SpanNode | None, remark: str) -> Line:
    """Return what the tree says of a span.

    Args:
        node: The span.
        parent: What it lies in.
        remark: What follows the keys that it changed.
    """
    span, attributes = node.span, node.span.attributes
    mark = mark_of(span, status(node), failed_inside=node.failed_inside) if span.role else ITEM_DONE
    line: Line = (mark, Part(name_of(span), NAME if span.role else DIM))
    if span.role in ("node", "flow"):
        line += (Part(wording.visit(attributes), DIM),)
    if semconv.BATCH_SIZE in attributes and semconv.BATCH_MODE in attributes:
        line += (Part(f" ×{attributes[semconv.BATCH_SIZE]}", DIM),)
    if attributes.get(semconv.BATCH_MODE) == semconv.PARALLEL:
        line += (Part(" parallel", DIM),)
    return _spaced(line, _saved_facts(node, parent, remark))


def _saved_facts(node: SpanNode, parent: SpanNode | None, remark: str) -> Iterator[Part]:
    span = node.span
    if span.end:
        share = span.duration / parent.span.duration if parent is not None and parent.span.duration else None
        yield Part(wording.seconds(span.duration) + (f" ({share:.0%})" if share is not None else ""))
    if node.interrupted or not span.end:
        state = "interrupted" if span.end else "running"
        yield Part(state, style_of(state))
    elif span.failed:
        yield failure(span)
    if not (span.role == "flow" and parent is None):
        yield from action(span)
    yield from circumstances(span, node.failed_inside)
    yield from changes(span, remark)
    needed = (semconv.SUM_INPUT_TOKENS, semconv.SUM_OUTPUT_TOKENS)
    if all(key in span.attributes for key in needed):
        yield from usage(span)


def outcome(span: SpanRecord, failed_inside: int, *, remark: str, narrow: bool) -> Iterator[Part]:
    """Yield what the live view says of how a flow, node or item ended.

    The root flow's action and usage stand in the run's summary.

    Args:
        span: The flow, node or item.
        failed_inside: Steps, flows and items right in it that failed.
        remark: What follows the keys that it changed.
        narrow: Whether to give counts of keys, and costs alone.
    """
    if span.failed:
        yield failure(span)
        return
    is_root = span.role == "flow" and semconv.FLOW_NESTED not in span.attributes
    if not is_root:
        yield from action(span)
    yield from circumstances(span, failed_inside)
    if span.role == "node":
        for kind in wording.warnings(span.events):
            yield Part(f"warning {kind}".rstrip(), WARN)
        yield from changes(span, remark, counts=narrow)
    if not is_root:
        yield from usage(span, cost_only=narrow)


def failure(span: SpanRecord) -> Part:
    """Return why a span failed, in which phase, and where in the user's code."""
    message = wording.failure(span.status_message, span.attributes)
    return Part(message + wording.where(span.attributes.get(semconv.ERROR_PHASE), span.error_place), BAD)


def action(span: SpanRecord) -> Iterator[Part]:
    """Yield the action that a node or flow returned, if it returned one."""
    value = span.attributes.get(semconv.NODE_ACTION, span.attributes.get(semconv.FLOW_ACTION))
    if value is not None:
        yield Part(f"→ {escape(str(value))}")


def circumstances(span: SpanRecord, failed_inside: int) -> Iterator[Part]:
    """Yield attempts, fallbacks and the like."""
    for circumstance in wording.circumstances(span.attributes, failed_inside):
        yield Part(circumstance, WARN)


def changes(span: SpanRecord, remark: str, *, counts: bool = False) -> Iterator[Part]:
    """Yield the keys that a step changed, or their numbers, with a remark behind them."""
    keys = wording.diff(span.attributes, counts=counts)
    if keys:
        yield Part(keys + remark)


def usage(span: SpanRecord, *, cost_only: bool = False) -> Iterator[Part]:
    """Yield the usage of a step, or its cost alone."""
    text = wording.cost_of(span.attributes) if cost_only else wording.usage(span.attributes)
    if text:
        yield Part(text, DIM)


def _spaced(line: Line, facts: Iterable[Part]) -> Line:
    for fact in facts:
        line += (Part("  "), fact)
    return line
