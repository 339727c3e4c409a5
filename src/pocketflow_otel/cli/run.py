"""`pocketflow-otel run`: start a program traced, and get out of its way.

The command replaces itself by the target, so exit code, signals and streams are the target's own.
Tracing starts in a `sitecustomize` put on the target's PYTHONPATH for the moment of its start; the
target, and what it starts in turn, see the environment they would see without us.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from pocketflow_otel import startup_variables
from pocketflow_otel.cli.arguments import UserError, dir_option
from pocketflow_otel.cli.virtualenvs import has_ours, remedy
from pocketflow_otel.export.otlp.endpoints import GRPC_PORT, variables_for

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLOW: Final = re.compile(r"(?P<where>[^:]+):(?P<flow>[A-Za-z_][\w.]*)")
_PYTHON: Final = re.compile(r"python(\d(\.\d+)?)?")
_SHEBANG: Final = re.compile(rb"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(?P<python>\S*python[\d.]*)\b")
_TRAMPOLINE: Final = re.compile(rb"#!/bin/sh\s+'''exec' \"?(?P<python>[^\"\n]*?python[\d.]*)\"? ")
"""What pip and uv write where a path is too long, or has a space, for `#!`."""


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)
@click.option(
    "--trace/--no-trace", default=True, help="Trace the target, or run it with nothing of ours loaded."
)
@click.option("-v", "--verbose-trace", is_flag=True, help="Show every step on stderr as it happens.")
@click.option("--summary", is_flag=True, help="Show a summary on stderr when a run has ended.")
@dir_option("Where trace files go.")
@click.option(
    "--otlp",
    "endpoint",
    callback=lambda _context, _option, url: _checked(url),
    metavar="URL",
    help=f"Send spans there too: over gRPC to port {GRPC_PORT}, else over HTTP.",
)
@click.argument("target")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    trace: bool,
    verbose_trace: bool,
    summary: bool,
    directory: Path | None,
    endpoint: str | None,
    target: str,
    args: tuple[str, ...],
) -> None:
    """Run TARGET traced, with ARGS.

    TARGET is app.py, -m MODULE, a console script on PATH (pflow, ...), or a flow: MODULE:NAME or
    app.py:NAME, where NAME is a flow or a function that makes one; then ARGS may be
    --shared KEY=VALUE and --shared-file FILE.json, which fill its store.

    Each run leaves a trace file, named on stderr. The exit code is TARGET's.
    """
    command = _command(target, args)
    environ = dict(os.environ)
    if trace:
        settings: startup_variables.Settings = {
            "by": "pocketflow-otel",
            "console": "live" if verbose_trace else "summary" if summary else None,
            "directory": None if directory is None else str(directory.absolute()),
            "endpoint": endpoint,
            "pythonpath": environ.get("PYTHONPATH"),
        }
        environ |= startup_variables.variables(settings)
    sys.stdout.flush()
    os.execve(command[0], command, environ)  # noqa: S606 - the user's own command


def _checked(url: str | None) -> str | None:
    """Refuse what is no endpoint now: the target's process could only warn of it."""
    if url is not None:
        try:
            variables_for(url, {})
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return url


def _command(target: str, args: Sequence[str]) -> list[str]:
    """Return what to execute."""
    python = sys.executable
    if target == "-m":
        if not args:
            _fail("-m needs the name of a module")
        if not _is_module(args[0]):
            _fail(f"there is no module {args[0]}")
        return [python, "-m", *args]
    if target.startswith("-"):
        _fail(f"no such option: {target}")
    path = Path(target)
    if target.endswith(".py"):
        if not path.is_file():
            _fail(f"there is no file {target}")
        return [python, target, *args]
    if os.sep in target and path.is_file():
        return [python, target, *args] if _is_source(path) else _script(target, args)
    if _FLOW.fullmatch(target) is not None:
        return [python, "-m", "pocketflow_otel.cli.flow_runner", target, *args]
    found = shutil.which(target)
    if found is None:
        _fail(f"{target} is no file and no command on PATH; for a module say -m {target}")
    return _script(found, args)


def _is_module(name: str) -> bool:
    """Return whether Python finds a module, or the package it is in, without running either."""
    sys.path.insert(0, "")  # As `python -m` does.
    try:
        return util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _is_source(path: Path) -> bool:
    """Return whether a file can only be Python's: text that names no interpreter."""
    head = _head(path)
    return not head.startswith(b"#!") and b"\0" not in head


def _script(file: str, args: Sequence[str]) -> list[str]:
    """Return how to execute a console script, or an interpreter, of this environment."""
    path = Path(file)
    if _PYTHON.fullmatch(path.name):
        interpreter, command = path, [file, *args]
    else:
        found = _interpreter(path)
        if found is None:
            _fail(f"{path} is no Python program; only those can be traced")
        interpreter, command = found, [sys.executable, file, *args]
    # Not resolved itself: the interpreter of a venv is a link to the one it was made from.
    if interpreter.parent.resolve() != Path(sys.executable).parent.resolve():
        home = interpreter.parent.parent
        bring = f"use {home / 'bin' / 'pocketflow-otel'}" if has_ours(home) else f"say {remedy(home)}"
        _fail(f"{path} belongs to another environment ({home}): {bring}")
    return command


def _interpreter(script: Path) -> Path | None:
    """Return the Python that a script names in its first lines, if it names one."""
    head = _head(script)
    match = _SHEBANG.match(head) or _TRAMPOLINE.match(head)
    if match is None:
        return None
    python = os.fsdecode(match["python"])
    found = python if os.sep in python else shutil.which(python)
    return None if found is None else Path(found)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _fail(problem: str) -> NoReturn:
    raise UserError(problem)
