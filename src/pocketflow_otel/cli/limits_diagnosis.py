"""What the variables that limit spans take from back ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pocketflow_otel.cli.finding import Finding
from pocketflow_otel.export.otlp.endpoints import setting

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED: Final = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": 32,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": 32,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": 8,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": 8,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": 128,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": 128,
    "OTEL_SPAN_LINK_COUNT_LIMIT": 0,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": 0,
}
"""The least with which an ordinary step loses nothing."""


def bad_limits() -> list[str]:
    """Return the variables whose value is no limit."""
    return [name for name, value in _given().items() if not re.fullmatch(r"\d+", value, re.ASCII)]


def check_limits() -> Iterator[Finding]:
    """Whether back ends get the spans whole."""
    given, bad = _given(), bad_limits()
    for name in bad:
        yield Finding(
            "problem",
            f"{name}={given[name]} is no number: OpenTelemetry's SDK fails by it, and nothing is traced",
            f"unset {name}",
        )
    small = [name for name in given if name not in bad and int(given[name]) < _NEEDED[name]]
    if small:
        settings = ", ".join(f"{name}={given[name]}" for name in small)
        yield Finding(
            "note",
            f"{settings}: back ends lose a part of each span; views and trace files have all of it",
            f"unset {' '.join(small)}",
        )


def _given() -> dict[str, str]:
    return {name: setting(name) for name in _NEEDED if setting(name)}
