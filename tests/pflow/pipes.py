"""Named pipes, to which a step of a workflow writes when it runs."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from tests.pflow.commands import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path


def read_line(pipe: Path) -> str:
    """Wait for a line, and return it.

    Raises:
        TimeoutError: Nobody writes one.
    """
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
        ready, _, _ = select.select([file], [], [], PATIENCE)
        if not ready:
            raise TimeoutError(f"nothing came through {pipe}")
        return file.read(4096).decode()
