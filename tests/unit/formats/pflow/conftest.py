"""Tests of pflow's traces run in the zone that the traces were written in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def _made_in_london() -> Iterator[None]:
    """What a module shares is made before `_in_london`."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def _in_london(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine that pflow ran on had UTC; its traces have no zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
