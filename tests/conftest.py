"""Fixtures for all tests: our guards re-raise, and nothing of the environment leaks in."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tests.support.effort import examples
from tests.support.needs import needs_program

from pocketflow_otel.guard import set_strict

if TYPE_CHECKING:
    from collections.abc import Iterator

# A program that tests start, not a module with doctests.
collect_ignore = ["world/clients/llm_app.py"]

ROOT = Path(__file__).parent
FOLDERS = ("unit", "integration", "pflow", "world")

# In the background a shell has SIGINT ignored, and children inherit that; a handler they do not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are slow now and then; a test says what is right, not how long it takes,
# and says the same each time.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    for item in items:
        if item.path.is_relative_to(ROOT):
            folder = item.path.relative_to(ROOT).parts[0]
            if folder in FOLDERS:
                item.add_marker(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_program"):
        needs_program(*marker.args)


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
