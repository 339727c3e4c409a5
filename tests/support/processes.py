"""Run programs in processes of their own, as a user's shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PYTHON = sys.executable
BIN = Path(sys.executable).parent

FLOW = """
import pocketflow

class Greet(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        shared["greeting"] = "hello"
        print(shared["greeting"])

def create_greeting_flow():
    return pocketflow.Flow(start=Greet())
"""
"""A module with a flow that prints one line."""

APP = (
    FLOW
    + """
if __name__ == "__main__":
    create_greeting_flow().run({})
"""
)

ECHO = """
import asyncio, json
import pocketflow

class Echo(pocketflow.AsyncNode):
    async def post_async(self, shared, prep_res, exec_res):
        print(json.dumps(shared))

class flows:
    EchoFlow = pocketflow.AsyncFlow
    echo = pocketflow.AsyncFlow(start=Echo())

class Own(pocketflow.Flow):
    def __init__(self):
        super().__init__(start=Node())

class Node(pocketflow.Node):
    def post(self, shared, prep_res, exec_res):
        print(json.dumps(shared))

number = 7

def make_number():
    return number
"""
"""A module with flows that print their store, and with what is no flow."""


def environment(**variables: str | None) -> dict[str, str]:
    """Return this process's variables, and some more; `None` takes one away."""
    changed = {**os.environ, **variables}
    return {name: value for name, value in changed.items() if value is not None}


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [str(part) for part in command],
        env=environment() if env is None else env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=180,
        check=False,
        **options,
    )


def ours(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the `pocketflow-otel` command of this environment."""
    return run(BIN / "pocketflow-otel", *arguments, **options)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def script(path: Path, first_lines: str, body: str = APP) -> Path:
    write(path, f"{first_lines}\n{body}").chmod(0o755)
    return path


def with_commands(folder: Path) -> dict[str, str]:
    """Return variables with `folder` in front of this environment's commands."""
    return environment(PATH=os.pathsep.join([str(folder), str(BIN), os.environ["PATH"]]))
