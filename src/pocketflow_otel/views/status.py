"""How runs and steps ended, for people: a colour, and a mark that says the same without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel.views import wording
from pocketflow_otel.views.styled_text import BAD, GOOD, WARN, Part

if TYPE_CHECKING:
    from pocketflow_otel.traces.records import SpanRecord

_STYLES: Final = {"ok": GOOD, "failed": BAD}
_MARKS: Final = {"ok": "✓ ", "failed": "✗ "}


def style_of(status: str, *, doubtful: bool = False) -> str:
    """Return the style of a status, one of `trace.STATUSES`; of what went well, but not all of it."""
    return WARN if doubtful else _STYLES.get(status, WARN)


def mark_of(span: SpanRecord, status: str, *, failed_inside: int = 0) -> Part:
    """Return the mark before a flow, node or item: went well, did so with trouble, failed, not ended.

    Args:
        span: What it is.
        status: How it ended.
        failed_inside: How much in it failed, though it went on.
    """
    if status == "ok":
        warned = span.role == "node" and wording.warnings(span.events)
        if failed_inside or warned or wording.is_doubtful(span.attributes):
            return Part("⚠ ", WARN)
    return Part(_MARKS.get(status, "… "), style_of(status))
