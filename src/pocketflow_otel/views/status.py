"""How runs and steps ended, for people: a style, and a sign that says the same without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel.views import wording
from pocketflow_otel.views.styled_text import BAD, GOOD, WARN, Part

if TYPE_CHECKING:
    from pocketflow_otel.traces.records import SpanRecord

SIGNS: Final = {"ok": "✓", "failed": "✗", "troubled": "⚠", "retried": "↻", "open": "…"}
"""`troubled` is what went well, but not all of it; `open` whatever did not end."""
_STYLES: Final = {"ok": GOOD, "failed": BAD}

TROUBLED: Final = Part(f"{SIGNS['troubled']} ", WARN)
"""The mark of what went on from a failure, and of warnings."""
RETRIED: Final = Part(f"{SIGNS['retried']} ", WARN)
"""The mark of an attempt that failed and was repeated."""


def style_of(status: str, *, troubled: bool = False) -> str:
    """Return the style of a status, one of `trace.STATUSES`; of what went well, but not all of it."""
    return WARN if troubled else _STYLES.get(status, WARN)


def mark_of(span: SpanRecord, status: str, *, failed_inside: int = 0) -> Part:
    """Return the mark before a flow, node or item.

    Args:
        span: The flow, node or item.
        status: How it ended.
        failed_inside: Steps, flows and items right in it that failed, though it went on.
    """
    if status == "ok":
        warned = span.role == "node" and wording.warnings(span.events)
        if failed_inside or warned or wording.is_troubled(span.attributes):
            return TROUBLED
    return Part(f"{SIGNS.get(status, SIGNS['open'])} ", style_of(status))
