"""`pocketflow-otel run`: start a program traced, and get out of its way.

The command replaces itself by the target, so exit code, signals and streams are the target's own.
Tracing starts in a `sitecustomize` put on the target's PYTHONPATH for the moment of its start; the
target, and what it starts in turn, see the environment they would see without us.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from pocketflow_otel.cli import startup

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
@click.option("--summary", is_flag=True, help="Show two lines on stderr when a run has ended.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="D",
    help="Where trace files go.  [default: ~/.pflow/traces]",
)
@click.argument("target")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    trace: bool,
    verbose_trace: bool,
    summary: bool,
    directory: Path | None,
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
        settings: startup.Settings = {
            "console": "live" if verbose_trace else "summary" if summary else None,
            "directory": None if directory is None else str(directory.absolute()),
            "pythonpath": environ.get("PYTHONPATH"),
        }
        environ[startup.VARIABLE] = json.dumps(settings)
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (startup.FOLDER, environ.get("PYTHONPATH"))))
    sys.stdout.flush()
    os.execve(command[0], command, environ)  # noqa: S606 - the user's own command


def _command(target: str, args: Sequence[str]) -> list[str]:
    """Return what to execute."""
    python = sys.executable
    if target == "-m":
        if not args:
            _fail("-m needs the name of a module")
        return [python, "-m", *args]
    if target.startswith("-"):
        _fail(f"no such option: {target}")
    if target.endswith(".py") or (
        os.sep in target and Path(target).is_file() and _interpreter(Path(target)) is None
    ):
        if not Path(target).is_file():
            _fail(f"there is no file {target}")
        return [python, target, *args]
    flow = _FLOW.fullmatch(target)
    if flow is not None:
        return [python, "-m", "pocketflow_otel.cli.flow", target, *args]
    found = shutil.which(target)
    if found is None:
        _fail(f"{target} is no file and no command on PATH; for a module say -m {target}")
    return _script(Path(found), args)


def _script(path: Path, args: Sequence[str]) -> list[str]:
    """Return how to execute a console script, or an interpreter, of this environment."""
    if _PYTHON.fullmatch(path.name):
        interpreter, command = path, [str(path), *args]
    else:
        found = _interpreter(path)
        if found is None:
            _fail(f"{path} is no Python program; only those can be traced")
        interpreter, command = found, [sys.executable, str(path), *args]
    # Not resolved itself: the interpreter of a venv is a link to the one it was made from.
    if interpreter.parent.resolve() != Path(sys.executable).parent.resolve():
        _fail(
            f"{path} belongs to another environment ({interpreter.parent.parent}); "
            f"install pocketflow-otel there and use its pocketflow-otel command"
        )
    return command


def _interpreter(script: Path) -> Path | None:
    """Return the Python that a script names in its first lines, if it names one."""
    with script.open("rb") as file:
        head = file.read(512)
    match = _SHEBANG.match(head) or _TRAMPOLINE.match(head)
    if match is None:
        return None
    python = os.fsdecode(match["python"])
    found = python if os.sep in python else shutil.which(python)
    return None if found is None else Path(found)


def _fail(problem: str) -> NoReturn:
    raise click.UsageError(problem)
