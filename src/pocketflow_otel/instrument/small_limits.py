"""What is put on a span whose provider has small limits, as `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` sets them.

The SDK drops the oldest attribute first, which would be the name, and logs a warning for each one, and
for each text it cuts. So we put no more on such a span than it takes, and the most telling first.
Our own outputs have all of it: see `Scope.attributes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pocketflow_otel import semconv

ENOUGH: Final = 64
"""Attributes that a span of ours never has, whatever its step does; events have fewer still."""

_MOST_TELLING: Final = (
    semconv.NODE_NAME, semconv.GEN_AI_WORKFLOW_NAME, semconv.GEN_AI_OPERATION_NAME, semconv.FLOW_NESTED,
    semconv.RUN_ID, semconv.ERROR_TYPE, semconv.BATCH_INDEX, semconv.NODE_ACTION, semconv.FLOW_ACTION,
    semconv.FLOW_STATUS, semconv.FLOW_STEPS, semconv.COST, semconv.SUM_INPUT_TOKENS,
    semconv.SUM_OUTPUT_TOKENS, semconv.NODE_ATTEMPTS, semconv.NODE_FALLBACK, semconv.SESSION_ID,
    semconv.USER_ID,
)  # fmt: skip
_RANKS: Final = {name: rank for rank, name in enumerate(_MOST_TELLING)}

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SmallLimits:
    """The limits of a provider's spans; `None` where there is none.

    Attributes:
        attributes: Attributes of a span.
        length: Characters of a text in one.
        event_attributes: Attributes of an event.
        event_length: Characters of a text in one.
    """

    attributes: int | None = None
    length: int | None = None
    event_attributes: int | None = None
    event_length: int | None = None

    def at_start(self, recorded: Attributes) -> dict[str, Any]:
        """Return what is put on a span when it starts: half of it stays free for how it ends."""
        room = None if self.attributes is None else (self.attributes + 1) // 2
        return _cut(_best(recorded, room), self.length)

    def at_end(self, recorded: Attributes, held: Attributes) -> dict[str, Any]:
        """Return what is put on a span that ends.

        Args:
            recorded: All that was recorded.
            held: What is on the span, be it ours or a user's.
        """
        room = None if self.attributes is None else max(self.attributes - len(held), 0)
        whole = {name: value for name, value in recorded.items() if name not in held}
        return _cut(_best(whole, room), self.length)

    def of_event(self, recorded: Attributes) -> dict[str, Any]:
        """Return what an event takes: its first attributes are its most telling ones."""
        return _cut(dict(islice(recorded.items(), self.event_attributes)), self.event_length)


def small_limits_of(provider: object) -> SmallLimits | None:
    """Return the limits of the spans of a provider, if they are small enough to be met."""
    limits = getattr(provider, "_span_limits", None)  # The SDK shows them nowhere else.
    if limits is None:
        return None
    found = SmallLimits(
        _if_small(limits.max_span_attributes),
        limits.max_span_attribute_length,
        _if_small(limits.max_event_attributes),
        limits.max_attribute_length,
    )
    return None if found == SmallLimits() else found


def _if_small(count: int | None) -> int | None:
    return None if count is None or count >= ENOUGH else count


def _best(attributes: Attributes, room: int | None) -> dict[str, Any]:
    if room is None or len(attributes) <= room:
        return dict(attributes)
    ranked = sorted(attributes, key=lambda name: _RANKS.get(name, len(_RANKS)))
    return {name: attributes[name] for name in ranked[:room]}


def _cut(attributes: dict[str, Any], length: int | None) -> dict[str, Any]:
    if length is None:
        return attributes
    return {name: _cut_value(value, length) for name, value in attributes.items()}


def _cut_value(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, list | tuple):
        return [_cut_value(item, length) for item in value]
    return value
