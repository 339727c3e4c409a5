"""A directory of traces of many days, for the tests of what prunes it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make(place: Path, count: int, *, every: timedelta = timedelta(days=1), size: int = 10) -> list[Path]:
    """Make trace files, the newest first: one each day until now."""
    paths = []
    for number in range(count):
        start = NOW - every * number
        path = place / f"{start:%Y%m%dT%H%M%SZ}-{number:08x}.json"
        path.write_bytes(b"x" * size)
        paths.append(written(path, start))
    return paths


def written(path: Path, when: datetime) -> Path:
    """Make a file as old as a run that ended then left it."""
    os.utime(path, (when.timestamp(), when.timestamp()))
    return path
