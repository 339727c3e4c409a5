"""Fixtures for all tests: our guards re-raise, and nothing of the environment leaks in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from pocketflow_otel.guard import set_strict

if TYPE_CHECKING:
    from collections.abc import Iterator

# A program that tests start, not a module with doctests.
collect_ignore = ["integration/llm_app.py"]

# Machines are slow now and then; a test says what is right, not how long it takes.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _strict_guards() -> Iterator[None]:
    """An error of ours fails the test; tests of the guards themselves call `set_strict(False)`."""
    set_strict(True)
    yield
    set_strict(True)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "POCKETFLOW_OTEL_", "TRACEPARENT", "TRACESTATE", "BAGGAGE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path_factory.mktemp("traces")))
