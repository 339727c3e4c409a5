"""Fixtures for tests of pflow: how its commands are run, and whom its workflows talk to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.pflow.commands import Commands, Forks, Processes
from tests.pflow.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def processes() -> Commands:
    """Run each command as a shell does."""
    return Processes()


@pytest.fixture(scope="session")
def forks() -> Iterator[Commands]:
    """Run each command as a fork; with POCKETFLOW_TEST_FULL=1, these are processes too."""
    commands = Processes() if os.environ.get("POCKETFLOW_TEST_FULL") else Forks()
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
