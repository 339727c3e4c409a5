"""Programs that tests need and pip does not install: they are looked for, never fetched."""

from __future__ import annotations

import os
import shutil

import pytest


def needs_program(name: str) -> None:
    """Skip the test where a program is missing; in CI, which installs it, fail.

    The marker of this name does the same for tests that know before they begin:
    `@pytest.mark.needs_program("less")`.
    """
    if shutil.which(name) is not None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: .ci/run has to install it")
    pytest.skip(f"{name} is not installed")
