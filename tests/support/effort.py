"""How much is tried of what could be tried without end: all in `make test`, a part in `make check`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Case = TypeVar("Case")

_SHARE: Final = 19 if os.environ.get("POCKETFLOW_TEST_QUICK") else 1
"""One of how many; a prime, so that a share of the places in a file falls on every kind of place."""


def examples(count: int) -> int:
    """Return how many examples of a property to try."""
    return max(5, count // _SHARE)


def share(cases: Sequence[Case]) -> Sequence[Case]:
    """Return the cases to try."""
    return cases[::_SHARE]
