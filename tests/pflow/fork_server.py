"""Start commands of a pflow's environment as forks of one process, which has imported all that they may need.

    python fork_server.py DESCRIPTOR

The imports are most of what a command of pflow costs; here they are made once. Libraries are there for a fork
from its start. The modules of pflow and of this package are executed here too, but each fork imports them,
each with those that it needs, and finds them executed: what waits for an import waits for it here as well.

A fork has the arguments, variables, folder, streams and signals of a process that was started with them. A
launcher runs as it does there, up to the `exec` with which it becomes its target. The end is Python's own.
What a fork does not stand for: what is done when a module is executed, by the variables, which are those that
all runs share, or by what has been imported before it; and what a traceback has above `__main__`.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import importlib.util
import json
import logging
import os
import pkgutil
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LAUNCHER: Final = "opentelemetry.instrumentation.auto_instrumentation"
PACKAGES: Final = ("cli", "core", "execution", "nodes", "registry", "runtime")
"""What of pflow a command may need."""
CLIENTS: Final = (
    "litellm",
    "openai",
    "llm",
    "llm.default_plugins.openai_models",
    "llm_anthropic",
    "llm_gemini",
)
"""What is imported where a model is called."""
READY: Final = frozenset({"pflow", "pocketflow", "pocketflow_otel", "llm", "llm_anthropic", "llm_gemini"})
"""The packages that forks import themselves, and find executed."""
ANEW: Final = "pflow.nodes.llm"
"""What forks execute too: as pflow 0.10 and 0.11 look for nodes, it takes itself for the library `llm`."""


# Imports


class Executed:
    """A module that has been executed, and what it imported meanwhile."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.imports: dict[str, None] = {}


class Imports(MetaPathFinder, Loader):
    """Finds the modules of `READY` where Python does, and executes each once for the server and all forks."""

    def __init__(self) -> None:
        self._executed: dict[str, Executed] = {}
        self._under_way: list[Executed] = []
        self._loaders: dict[str, Loader] = {}
        self._import = builtins.__import__

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in READY or name.startswith(ANEW):
            return None
        spec = PathFinder.find_spec(name, path, target)
        known = self._executed.get(name)
        if (
            spec is not None
            and spec.loader is not None
            and (known is None or known.module.__file__ == spec.origin)
        ):
            self._loaders[name] = spec.loader
            spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        known = self._executed.get(spec.name)
        return known.module if known is not None else self._loaders[spec.name].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        known = self._executed.get(name)
        if known is not None:
            for other in known.imports:
                if other in self._executed:
                    importlib.import_module(other)
            return
        executed = Executed(module)
        self._under_way.append(executed)
        try:
            self._loaders[name].exec_module(module)
        finally:
            self._under_way.pop()
        self._executed[name] = executed

    def note(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as Python does, and note what the module that is executed imports."""
        if self._under_way and globals is not None:
            executed = self._under_way[-1]
            if globals.get("__name__") == executed.module.__name__:
                whole = importlib.util.resolve_name("." * level + name, globals["__package__"])
                executed.imports.update(
                    dict.fromkeys((whole, *(f"{whole}.{each}" for each in fromlist or ())))
                )
        return self._import(name, globals, locals, fromlist or (), level)

    def forget(self) -> None:
        """Have all of these modules to be imported again."""
        for name, executed in self._executed.items():
            sys.modules.pop(name, None)
            package, _, last = name.rpartition(".")
            holder = self._executed.get(package)
            if holder is not None and vars(holder.module).get(last) is executed.module:
                delattr(holder.module, last)


def preload() -> Imports:
    """Import all that commands may need; no thread may have been started, for a fork would not have it."""
    imports = Imports()
    sys.meta_path.insert(0, imports)
    builtins.__import__ = imports.note
    for name in (LAUNCHER, *CLIENTS, *modules("pflow", PACKAGES), *modules("pocketflow_otel")):
        with suppress(ImportError):  # What needs an extra, or is not there.
            importlib.import_module(name)
    builtins.__import__ = imports._import
    imports.forget()
    for name in [name for name in sys.modules if name.startswith(ANEW)]:
        del sys.modules[name]
    logging.root.handlers.clear()  # Those of pflow's MCP server, which few commands import.
    logging.root.setLevel(logging.WARNING)
    if threading.active_count() > 1:
        raise RuntimeError(f"an import has started {threading.enumerate()[1:]}")
    gc.collect()
    gc.freeze()  # Else the first collection in each fork copies all that was imported.
    return imports


def modules(package: str, parts: Sequence[str] = ()) -> Iterator[str]:
    """Yield the names of the modules of a package, or of some of its subpackages."""
    (folder,) = importlib.import_module(package).__path__
    for part in parts or ("",):
        prefix = f"{package}.{part}".rstrip(".")
        for module in pkgutil.walk_packages([f"{folder}/{part}"], f"{prefix}."):
            if not module.name.endswith((".__main__", ".sitecustomize")):
                yield module.name


# The server


def next_fork(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Serve until nobody can ask any more; return in each fork what it is to be, and its streams."""
    while True:
        message, streams, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not message:
            return None
        child = os.fork()
        if not child:
            requests.close()
            return json.loads(message), streams
        for descriptor in streams:
            os.close(descriptor)
        requests.send(str(child).encode())
        requests.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


# A fork


class Replaced(BaseException):
    """A process has replaced itself by another program, as far as that is possible here."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        super().__init__(command)
        self.command, self.environ = command, environ


def execl(_path: str, *command: str) -> NoReturn:
    raise Replaced(command, dict(os.environ))


def execve(_path: str, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    raise Replaced(command, environ)


def settle(streams: Sequence[int], folder: str, *, terminal: bool) -> None:
    """Give this process its folder, its streams, opened anew, and the signals of one in the foreground."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if terminal:
        os.login_tty(0)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        stream = open(  # noqa: SIM115
            number,
            before.mode,
            buffering=1 if name == "stderr" else -1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
        stream.buffer.raw.name = before.name  # type: ignore[attr-defined]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)


def execute(command: Sequence[str], environ: Mapping[str, str], path: Sequence[str]) -> None:
    """Run a script as Python runs it, from the start.

    Args:
        command: The script and its arguments; before them, or not, the interpreter.
        environ: The variables.
        path: Where Python looks for modules when it is told nothing else.
    """
    script, *arguments = command[1:] if command[0] == sys.executable else command
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [script, *arguments]
    sys.orig_argv = [sys.executable, script, *arguments]
    sys.path[:] = [*filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)), *path]
    importlib.invalidate_caches()
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    sys.path.insert(0, str(Path(script).parent))
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__file__=script, __builtins__=builtins)
    exec(compile(Path(script).read_bytes(), script, "exec"), main.__dict__)


def main(requests: socket.socket) -> None:
    path = sys.path[1:]
    os.execl, os.execve = execl, execve  # type: ignore[assignment]
    imports = preload()
    libraries = set(sys.modules)
    fork = next_fork(requests)
    if fork is None:
        return
    asked, streams = fork
    settle(streams, asked["folder"], terminal=asked["terminal"])
    command, environ = asked["command"], asked["environ"]
    while True:
        try:
            return execute(command, environ, path)
        except Replaced as other:
            command, environ = other.command, other.environ
        imports.forget()
        for name in sys.modules.keys() - libraries:
            del sys.modules[name]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
