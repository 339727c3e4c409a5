"""Tests of pflow's traces run in the zone that the traces were written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.pflow_traces import zone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _in_their_zone() -> Iterator[None]:
    """A module's, and not a test's, for what a module shares."""
    with zone("UTC"):
        yield
