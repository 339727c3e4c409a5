"""Run commands of pflow's environments: each as a process of its own, or as a fork of one that is kept."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE: Final = 120
"""Seconds that a command may take."""
_SERVER: Final = Path(__file__).with_name("fork_server.py")
_PIPED: Final = 65536
"""Bytes that a pipe takes without a reader."""


class Running(ABC):
    """A command that was started."""

    @abstractmethod
    def wait(self) -> int:
        """Wait for its end; return its exit code, or minus the signal that ended it."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""


class Commands(ABC):
    """Runs commands: scripts of a pflow's environment, named by their paths."""

    @abstractmethod
    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
        terminal: bool = False,
    ) -> Running:
        """Start a command.

        Args:
            command: The script and its arguments.
            cwd: Where.
            env: Its variables: all of them.
            streams: Its stdin, stdout and stderr.
            terminal: Whether these are a terminal of its own.
        """

    def run(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end, with something piped in, or nothing, and with pipes for what it says."""
        given = os.open(os.devnull, os.O_RDONLY) if stdin is None else _filled(stdin)
        (stdout, its_stdout), (stderr, its_stderr) = os.pipe(), os.pipe()
        streams = (given, its_stdout, its_stderr)
        try:
            running = self.start(command, cwd=cwd, env=env, streams=streams)
        finally:
            for descriptor in streams:
                os.close(descriptor)
        try:
            said = _read_all(stdout, stderr)
        except TimeoutError:
            running.kill()
            raise
        finally:
            code = running.wait()
            os.close(stdout)
            os.close(stderr)
        return subprocess.CompletedProcess(list(command), code, *said)

    def close(self) -> None:
        """Start no more."""


class Processes(Commands):
    """Starts each command as a shell does."""

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
        terminal: bool = False,
    ) -> Running:
        stdin, stdout, stderr = streams
        return _Process(
            subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                preexec_fn=(lambda: os.login_tty(0)) if terminal else None,
            )
        )


class _Process(Running):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        self._process.kill()


class Forks(Commands):
    """Starts each command as a fork of its environment's server, one at a time.

    What a fork stands for, and what not, is said in `fork_server`.
    """

    def __init__(self) -> None:
        self._servers: dict[Path, _Server] = {}

    def start(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
        terminal: bool = False,
    ) -> Running:
        folder = Path(command[0]).parent
        if folder not in self._servers:
            self._servers[folder] = _Server(folder)
        asked = {
            "command": [str(part) for part in command],
            "environ": dict(env),
            "folder": str(cwd),
            "terminal": terminal,
        }
        return self._servers[folder].start(asked, streams)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


class _Server:
    """The process whose forks are the commands of an environment.

    Args:
        folder: The environment's commands, its Python among them.
    """

    def __init__(self, folder: Path) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(PATIENCE)
        with theirs:
            self._process = subprocess.Popen(
                [folder / "python", _SERVER, str(theirs.fileno())],
                cwd=self._home.name,
                env={
                    "HOME": self._home.name,
                    "LANG": "C.UTF-8",
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "PYTHONHASHSEED": "0",
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, asked: Mapping[str, object], streams: Sequence[int]) -> _Fork:
        socket.send_fds(self._connection, [json.dumps(asked).encode()], streams)
        return _Fork(self._answer(), self._answer)

    def _answer(self) -> int:
        return int(self._connection.recv(32))

    def close(self) -> None:
        self._connection.close()
        self._process.wait(PATIENCE)
        self._home.cleanup()


class _Fork(Running):
    def __init__(self, process_id: int, end: Callable[[], int]) -> None:
        self._id = process_id
        self._end = end

    def wait(self) -> int:
        return self._end()

    def kill(self) -> None:
        os.kill(self._id, signal.SIGKILL)


def _filled(content: bytes) -> int:
    """Return the end of a pipe where something can be read."""
    if len(content) > _PIPED:
        raise ValueError("a pipe does not take as much without a reader")
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(content)
    return reader


def _read_all(*descriptors: int) -> list[bytes]:
    """Read pipes to their ends.

    Raises:
        TimeoutError: One of them did not end.
    """
    read: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, _PIPED)
                read[key.fd].append(piece)
                if not piece:
                    selector.unregister(key.fd)
    return [b"".join(pieces) for pieces in read.values()]
