"""Run programs on terminals of their own, and see what they show there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from tests.support.processes import environment

if TYPE_CHECKING:
    from pathlib import Path


def on_terminal(columns: int, *command: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a command with a terminal as stdout and stderr, and return what it was sent."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    unset = dict.fromkeys(("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"))
    env = environment(TERM="xterm-256color", PYTHONIOENCODING="utf-8", **unset)
    with subprocess.Popen(
        [str(part) for part in command], stdin=end, stdout=end, stderr=end, cwd=cwd, env={**env, **variables}
    ) as process:
        os.close(end)
        sent = b""
        while True:
            try:
                read = os.read(terminal, 65536)
            except OSError:  # What Linux says when the other end is closed.
                break
            if not read:
                break
            sent += read
        assert process.wait() == 0
    os.close(terminal)
    return sent.decode().replace("\r\n", "\n")
