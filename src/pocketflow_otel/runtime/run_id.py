"""The id of a run: when it started, and which it is of those that started then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pocketflow_otel.guard import let_through

_START: Final = "%Y%m%dT%H%M%SZ"
_START_LENGTH: Final = len("20261122T193012Z")


def make_run_id(start_time: int, span_id: int) -> str:
    """Return a run's id: its start in UTC and eight hex digits of its root's span id.

    >>> make_run_id(1795375812_481000000, 0x7F3A91C2_00000001)
    '20261122T193012Z-7f3a91c2'

    Args:
        start_time: Nanoseconds since the epoch.
        span_id: The 64 bits of the root span's id.
    """
    # Whole seconds, for a float would round the last half microsecond of a second to the next.
    start = datetime.fromtimestamp(start_time // 1_000_000_000, UTC)
    return f"{start:{_START}}-{span_id:016x}"[: _START_LENGTH + 9]


def start_of(run_id: str) -> float:
    """Return the start in a run's id, in seconds since the epoch; 0.0 of an id that has none.

    >>> start_of("20261122T193012Z-7f3a91c2")
    1795375812.0
    """
    try:
        return datetime.strptime(run_id[:_START_LENGTH], _START).replace(tzinfo=UTC).timestamp()
    except ValueError as error:  # Digits, but no date
        let_through(error)
        return 0.0


def start_text(run_id: str) -> str:
    """Return the start in a run's id, to the second, as the id has it."""
    return run_id[:_START_LENGTH]


def digits_of(run_id: str) -> str:
    """Return the digits of a run's id, which tell runs of one second apart and depend on no time zone.

    >>> digits_of("20261122T193012Z-7f3a91c2")
    '7f3a91c2'
    """
    return run_id.partition("-")[2]
