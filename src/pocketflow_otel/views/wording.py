"""The wording of everything people read: durations, costs, usage, diffs, errors."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import let_through
from pocketflow_otel.traces.records import PFLOW_STATUSES
from pocketflow_otel.views.styled_text import SEPARATOR, cut, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pocketflow_otel.traces.records import Attributes, EventRecord

MAX_KEYS: Final = 5
CHANGES: Final = (
    ("+", "added", semconv.SHARED_ADDED_KEYS),
    ("~", "modified", semconv.SHARED_MODIFIED_KEYS),
    ("−", "removed", semconv.SHARED_REMOVED_KEYS),
)
"""Kinds of changes to a store: the mark, its name in the events of a trace file, its attribute."""
OTHERS_WROTE: Final = "(others wrote too)"
"""Behind the changes of a step that ran beside others: theirs may be among them."""
_APPROVED: Final = "approved"
_ADVICE: Final = "info"
_NO_KIND: Final = "warning"
_NO_CATEGORIES: Final = frozenset({"exception", "node_action_error"})
"""Of pflow's categories of failures, those that say no more than that it failed."""
_GATES: Final = {"choice": "answered", "non_interactive": "not answered", "error": "could not be asked"}
MAX_MESSAGE: Final = 160
_CENT: Final = 0.01
_MINUTE: Final = 60
_HOUR: Final = 3600


def seconds(duration: float) -> str:
    """Return a duration for people.

    >>> seconds(0.034), seconds(75), seconds(3700)
    ('0.03s', '1m 15s', '1h 01m')
    """
    if round(duration, 2) < _MINUTE:
        return f"{duration:.2f}s"
    whole = round(duration)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"


def moment(seconds: float) -> str:
    """Return a moment in UTC, as run ids have it.

    >>> moment(1795375812.481)
    '2026-11-22 19:30:12'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def plural(number: int, noun: str) -> str:
    """Return `1 step`, `2,000 steps`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _survived(attributes: Attributes, failed_inside: int) -> Iterator[str]:
    """Yield what a step or flow went on from: `20/30 fell back`, `2/5 failed`, `1 failed inside`."""
    in_batch = semconv.BATCH_MODE in attributes
    size = attributes.get(semconv.BATCH_SIZE) if in_batch else None
    of = "" if size is None else f"/{size:,}"
    fallbacks = attributes.get(semconv.BATCH_FALLBACKS)
    if fallbacks:
        yield f"{fallbacks:,}{of} fell back"
    if failed_inside:
        yield f"{failed_inside:,}{of} failed" + ("" if in_batch else " inside")


def money(dollars: float) -> str:
    """Return US dollars: from $1 two decimals, from a cent three, below that two digits.

    >>> money(12.345), money(0.0123), money(0.000045), money(0)
    ('$12.35', '$0.012', '$0.000045', '$0')
    """
    if dollars >= 1:
        return f"${dollars:,.2f}"
    if dollars >= _CENT:
        return f"${dollars:.3f}"
    if dollars <= 0:
        return "$0"
    digits = 1 - math.floor(math.log10(dollars))
    return f"${dollars:.{digits}f}"


def usage(attributes: Attributes) -> str:
    """Return what the calls in a step came to: `$0.00023 · 1,200→200 tok (83% cached) · gpt-4o-mini`.

    Of more than one call the sum: `Σ $0.00047 · 5 calls`. A price that is not known is `$?`, a sum
    that misses one is `≥`; empty without calls.
    """
    calls = attributes.get(semconv.SUM_CALLS, 0)
    if not calls:
        return ""
    cost = cost_of(attributes)
    if calls > 1:
        return f"Σ {joined([cost, plural(calls, 'call')])}"
    tokens, cached = attributes[semconv.SUM_INPUT_TOKENS], attributes.get(semconv.SUM_CACHE_READ_TOKENS, 0)
    counts = f"{tokens:,}→{attributes[semconv.SUM_OUTPUT_TOKENS]:,} tok"
    if cached and tokens:
        counts += f" ({cached / tokens:.0%} cached)"
    model = ", ".join(escape(str(name)) for name in attributes.get(semconv.SUM_MODELS, ()))
    unknown = " (no price)" if attributes.get(semconv.COST_UNPRICED_CALLS) else ""
    return joined([cost, counts, model + unknown])


def cost_of(attributes: Attributes) -> str:
    """Return the `price` of the calls in a span."""
    return price(attributes.get(semconv.COST), attributes.get(semconv.COST_UNPRICED_CALLS))


def price(cost: float | None, unpriced: int | None) -> str:
    """Return `$0.00023`, `≥ $0.00023` where some calls have no price, `$?` where none has."""
    if cost is None:
        return "$?" if unpriced else ""
    return f"≥ {money(cost)}" if unpriced else money(cost)


def bill(attributes: Attributes) -> str:
    """Return what a run's calls came to, for its summary; empty without calls."""
    calls = attributes.get(semconv.SUM_CALLS, 0)
    if not calls:
        return ""
    tokens = attributes[semconv.SUM_INPUT_TOKENS] + attributes[semconv.SUM_OUTPUT_TOKENS]
    unpriced = attributes.get(semconv.COST_UNPRICED_CALLS, 0)
    cost = cost_of(attributes)
    if unpriced:
        models = json.loads(attributes.get(semconv.SUM_BY_MODEL, "{}"))
        names = ", ".join(escape(name) for name, totals in models.items() if totals.get("unpriced_calls"))
        cost += f" ({plural(unpriced, 'call')} unpriced: {names})"
    return joined([plural(calls, "LLM call"), f"{tokens:,} tokens", f"cost {cost}" if cost else ""])


def where(phase: object, place: str) -> str:
    """Return ` in prep (nodes.py:42)`, as far as it is known."""
    return (f" in {escape(str(phase))}" if phase else "") + (f" ({escape(place)})" if place else "")


def diff(attributes: Attributes, *, counts: bool = False) -> str:
    """Return the changes of a step: `+html ~history −draft (+3 more)`; empty without any.

    With `counts` their numbers alone: `+2 ~1`.
    """
    if counts:
        return " ".join(
            f"{mark}{len(attributes[attribute])}"
            for mark, _, attribute in CHANGES
            if attributes.get(attribute)
        )
    names = [
        mark + escape(str(key)) for mark, _, attribute in CHANGES for key in attributes.get(attribute, ())
    ]
    return " ".join(names[:MAX_KEYS]) + more_than_shown(len(names))


def more_than_shown(number: int) -> str:
    """Return ` (+3 more)` of things of which `MAX_KEYS` are shown; empty without more."""
    return f" (+{number - MAX_KEYS} more)" if number > MAX_KEYS else ""


def visit(attributes: Attributes) -> str:
    """Return ` (visit 2)` of a step that its flow has come to before; empty the first time."""
    number = attributes.get(semconv.NODE_VISIT, attributes.get(semconv.FLOW_VISIT, 1))
    return "" if number == 1 else f" (visit {number})"


def is_troubled(attributes: Attributes) -> bool:
    """Return whether a step or workflow that did not fail fell back, was stopped or ended degraded."""
    fell_back = attributes.get(semconv.NODE_FALLBACK) or attributes.get(semconv.BATCH_FALLBACKS)
    otherwise = attributes.get(semconv.FLOW_STATUS) in PFLOW_STATUSES
    return bool(fell_back) or was_stopped(attributes) or otherwise


def was_stopped(attributes: Attributes) -> bool:
    """Return whether a gate of pflow stopped a step before it did anything."""
    return str(attributes.get(semconv.GATE_OUTCOME, _APPROVED)) != _APPROVED


def warnings(events: Iterable[EventRecord]) -> list[str]:
    """Return the kinds of pflow's warnings of a step, each once; empty for one that names no kind.

    Mere advice is none.
    """
    return list(
        dict.fromkeys(
            _kind(event)
            for event in events
            if event.name == semconv.WARNING and event.attributes.get(semconv.WARNING_SEVERITY) != _ADVICE
        )
    )


def warning(event: EventRecord) -> str:
    """Return a warning of pflow's for one line: the node, if it is another's, the kind, the text."""
    attributes = event.attributes
    node = escape(str(attributes.get(semconv.WARNING_NODE, "")))
    message = escape(str(attributes.get(semconv.WARNING_MESSAGE, "")))
    return ": ".join(filter(None, (f"warning {node}".rstrip(), _kind(event), message)))


def _kind(event: EventRecord) -> str:
    kind = str(event.attributes.get(semconv.WARNING_CATEGORY, ""))
    return "" if kind == _NO_KIND else escape(kind)


def circumstances(attributes: Attributes, failed_inside: int = 0) -> Iterator[str]:
    """Yield what else is to be known of how a step went: `2 attempts`, `20/30 fell back`, `cached`.

    Args:
        attributes: Of a step, item or flow that did not fail.
        failed_inside: How much in it failed.
    """
    attempts = attributes.get(semconv.NODE_ATTEMPTS, 1)
    if attributes.get(semconv.NODE_FALLBACK):
        yield f"fallback after {plural(attempts, 'attempt')}"
    elif attempts > 1:
        yield plural(attempts, "attempt")
    yield from _survived(attributes, failed_inside)
    if attributes.get(semconv.NODE_CACHED):
        yield "cached"
    outcome = attributes.get(semconv.GATE_OUTCOME)
    if outcome is not None:
        yield f"gate {_GATES.get(outcome, escape(str(outcome)))}"


def raised(error_type: object, message: object) -> str:
    """Return `KeyError: 'chunks'` of an exception's qualified type and its message, if that is known."""
    name = str(error_type).rpartition(".")[2]
    return f"{name}: {message}" if message else name


def raised_by(event: EventRecord) -> str:
    """Return the exception that an event of a span recorded."""
    attributes = event.attributes
    return raised(attributes[semconv.EXCEPTION_TYPE], attributes.get(semconv.EXCEPTION_MESSAGE))


def error(message: str, fallback: str) -> str:
    """Return an error for one line: its text, or its type where the text was not recorded."""
    return cut(escape(message.strip() or fallback), MAX_MESSAGE)


def attempt_name(attempt: object, max_attempts: object) -> str:
    """Return `1/3`; `1` where nobody knows how many attempts there may be."""
    return f"{attempt}/{max_attempts}" if max_attempts else f"{attempt}"


def attempt_failed(attempt: object, max_attempts: object, message: str, wait: str) -> str:
    """Return `attempt 1/3 failed: KeyError: 'x'; waiting 2s`, without the wait where there is none."""
    return f"attempt {attempt_name(attempt, max_attempts)} failed: {message}" + (f"; {wait}" if wait else "")


def action_unmatched(action: object, known: Iterable[str], consequence: str) -> str:
    """Return `action 'x' leads nowhere (known: default): the flow ended`."""
    actions = ", ".join(map(escape, known))
    return f"action '{escape(str(action))}' leads nowhere (known: {actions}): {consequence}"


def failure(message: str, attributes: Attributes) -> str:
    """Return why a step failed, for one line; with pflow's category, where that says more.

    >>> failure("ValueError", {"pocketflow.failure.category": "template_error"})
    'template_error: ValueError'
    """
    reason = error(message, str(attributes.get(semconv.ERROR_TYPE, "error")))
    category = str(attributes.get(semconv.FAILURE_CATEGORY, ""))
    if not category or category in _NO_CATEGORIES or reason == category:
        return reason
    return cut(f"{escape(category)}: {reason}", MAX_MESSAGE)


def short_path(path: Path) -> str:
    """Return a path with the home directory as `~`."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError) as error:
        let_through(error)
        return str(path)


def joined(pieces: Sequence[str]) -> str:
    """Join the facts of a summary line."""
    return SEPARATOR.join(piece for piece in pieces if piece)
