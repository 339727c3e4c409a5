"""Tests in this folder start no process: `make check` runs them, and one that starts some fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER: Final = Path(__file__).parent
STARTS: Final = frozenset(
    {
        "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
        "subprocess.Popen",
    }
)  # fmt: skip
"""What Python says when a process starts another: https://docs.python.org/3/library/audit_events.html."""


class _Guard:
    """Refuses processes while a test runs; an audit hook stays, so it has a switch."""

    def __init__(self) -> None:
        self.watches = False
        self.refused = ""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if self.watches and event in STARTS:
            self.refused = f"a test in tests/unit starts a process ({event}): its folder is integration"
            pytest.fail(self.refused)


_guard = _Guard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a test with all its fixtures, those of its module too.

    pytest asks every `conftest.py` here, whatever its folder.
    """
    _guard.watches, _guard.refused = item.path.is_relative_to(FOLDER), ""
    try:
        return (yield)
    finally:
        _guard.watches = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fail a test in which the refusal was caught, too."""
    result = yield
    if _guard.refused:
        pytest.fail(_guard.refused)
    return result
