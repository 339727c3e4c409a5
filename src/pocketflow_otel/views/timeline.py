"""The timeline of a run, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.views import tree, wording
from pocketflow_otel.views.styled_text import BAD, DIM, NAME, Line, Part, cut, escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pocketflow_otel.traces.trace import Trace

_DEEPEST: Final = 40
"""Levels that are indented; deeper ones stand at the last."""


def timeline_lines(trace: Trace, limit: int | None = None) -> Iterator[Line]:
    """Yield a run's facts and a line for each of its events.

    Args:
        trace: The run.
        limit: Events shown, the first; `None` for all.
    """
    yield from tree.facts(trace)
    flows = {span.span_id: span.label for span in trace.spans if span.role == "flow"}
    for event in trace.events[:limit]:
        yield _line(event, flows.get(str(event.get("span_id")), ""))
    if limit is not None and len(trace.events) > limit:
        yield (Part(f"… {len(trace.events) - limit:,} more events left out; --all shows them", DIM),)


def _line(event: Mapping[str, Any], flow: str) -> Line:
    elapsed, depth = event.get("elapsed"), event.get("depth")
    when = f"{elapsed:8.3f}s" if isinstance(elapsed, (int, float)) else "        ?"
    indent = "  " * min(max(depth, 0), _DEEPEST) if isinstance(depth, int) else ""
    kind = escape(str(event.get("type")))
    name = escape(str(event.get("name") or flow or event.get("class") or ""))
    line: Line = (Part(f"{when} ", DIM), Part(f"{kind:<13} ", DIM), Part(indent), Part(name, NAME))
    if event.get("type") == "error":
        message = (
            f"{event.get('context')}: {wording.raised(event.get('error_type'), event.get('error_message'))}"
        )
        place = wording.where(None, str(event.get("place") or ""))
        return (*line, Part("  "), Part(cut(escape(message), wording.MAX_MESSAGE) + place, BAD))
    if event.get("action") is not None:
        line += (Part(f"  → {escape(str(event['action']))}"),)
    changes = event.get("changes")
    if isinstance(changes, dict):
        line += (Part(_changes(changes)),)
    return line


def _changes(changes: Mapping[str, Any]) -> str:
    names = []
    for mark, kind, _ in wording.CHANGES:
        keys = changes.get(kind)
        if isinstance(keys, list):
            names += [mark + escape(str(key)) for key in keys]
    return "  " + " ".join(names) if names else ""
