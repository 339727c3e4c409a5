"""The bars of a run: when each step went, beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pocketflow_otel.analysis.rows import status
from pocketflow_otel.views import tree, wording
from pocketflow_otel.views.span_line import name_of
from pocketflow_otel.views.status import style_of
from pocketflow_otel.views.styled_text import DIM, Line, Part, cut
from pocketflow_otel.views.styled_text import width as width_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.traces.trace import Trace

_NAMES: Final = 40
"""Columns that names may take."""
_LEAST: Final = 20
"""Columns that bars take at least."""


def gantt_lines(trace: Trace, *, width: int = 100, limit: int | None = tree.LIMIT) -> Iterator[Line]:
    """Yield a run's facts, and a line with a bar for each step.

    Args:
        trace: The run.
        width: Columns of a line.
        limit: As for `tree.walk`.
    """
    yield from tree.facts(trace)
    shown = list(tree.walk(trace, limit))
    names = [
        cut(one.prefix + (name_of(one.step.span) if one.step else tree.left_out(one)), _NAMES)
        for one in shown
    ]
    column = max(map(width_of, names), default=0)
    room = max(width - column - 12, _LEAST)
    first = min((one.step.span.start for one in shown if one.step), default=0)
    last = max((one.step.span.end or one.step.span.start for one in shown if one.step), default=0)
    scale = room / max(last - first, 1)
    for one, name in zip(shown, names, strict=True):
        if one.step is None:
            yield (Part(name, DIM),)
            continue
        span = one.step.span
        begin = min(int((span.start - first) * scale), room - 1)
        end = min(max(int(((span.end or last) - first) * scale), begin + 1), room)
        bar = " " * begin + "█" * (end - begin) + " " * (room - end)
        took = wording.seconds(span.duration) if span.end else "running"
        style = style_of(status(one.step)) if span.role else DIM
        label = name + " " * (column - width_of(name))
        yield Part(label), Part(f" {took:>8} │", DIM), Part(bar, style), Part("│", DIM)
