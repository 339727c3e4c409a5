"""One who works with pflow: a home, a folder of workflows in it, and ways to start pflow there."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

from tests.pflow.commands import Processes
from tests.pflow.environments import bin_of
from tests.pflow.homes import variables_of
from tests.pflow.pairs import lay_out

from pocketflow_otel import semconv
from pocketflow_otel.traces import reader
from pocketflow_otel.traces.trace import tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.pflow.commands import Commands

    from pocketflow_otel.traces.records import SpanRecord
    from pocketflow_otel.traces.trace import SpanNode, Trace

LAUNCHERS: Final = {
    "bare": (),
    "instrument": ("opentelemetry-instrument",),
    "run": ("pocketflow-otel", "run"),
    "run -v": ("pocketflow-otel", "run", "-v"),
}
"""What stands before `pflow`."""
TRACED: Final = ("instrument", "run")


class User:
    """A home with nothing in it but a folder `work`, where the workflows are.

    Args:
        home: Where it shall be; anew, where it is there already.
        version: The pflow this one has.
        commands: How commands that are run to their end are run.
        variables: More variables.
    """

    def __init__(self, home: Path, version: str, commands: Commands | None = None, **variables: str) -> None:
        shutil.rmtree(home, ignore_errors=True)
        self.home = home
        self.work = home / "work"
        self.traces = home / ".pflow" / "traces"
        self.bin = bin_of(version)
        self._commands = commands or Processes()
        home.mkdir(parents=True)
        lay_out(self.work, version)
        self.env = {
            **variables_of(home, version),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            **variables,
        }

    def command(self, launcher: str, *argv: str | Path) -> list[str]:
        """Return what the user types to have `pflow` started by one of `LAUNCHERS`."""
        first, *rest = (*LAUNCHERS[launcher], "pflow")
        return [str(self.bin / first), *rest, *map(str, argv)]

    def run(self, launcher: str, *argv: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
        """Run pflow to its end; nothing is piped in, for that would be input of the workflow."""
        env = {**self.env, **variables}
        return self._commands.run(self.command(launcher, *argv), cwd=self.work, env=env)

    def start(self, launcher: str, *argv: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        """Start pflow as a shell with job control does: in a process group of its own."""
        return subprocess.Popen(
            self.command(launcher, *argv),
            **self.surroundings(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def surroundings(self, variables: dict[str, str]) -> dict[str, Any]:
        """Return what a process of the user's finds around it, for `subprocess`."""
        return {"cwd": self.work, "env": {**self.env, **variables}, "stdin": subprocess.DEVNULL}

    def files(self) -> list[Path]:
        """Return the trace files and journals, oldest first."""
        return sorted(self.traces.iterdir()) if self.traces.is_dir() else []

    def all_traces(self) -> list[Trace]:
        """Read them."""
        return [reader.read(path) for path in self.files()]

    def trace(self) -> Trace:
        """Read the only one."""
        (trace,) = self.all_traces()
        return trace


def spans_of(traces: Iterable[Trace]) -> list[SpanRecord]:
    """Return the spans of runs."""
    return [step.span for trace in traces for step in trace.walk()]


def outline(spans: Sequence[SpanRecord], attribute: str = "") -> str:
    """Return the trees that spans make: their names, and the attribute where there is one."""
    return "\n".join(line for root in tree(spans) for line in _lines(root, attribute))


def _lines(step: SpanNode, attribute: str) -> Iterator[str]:
    said = step.span.attributes.get(attribute)
    yield "  " * step.depth + step.span.name + (f" {said}" if said is not None else "")
    for child in sorted(step.children, key=_place):
        yield from _lines(child, attribute)


def _place(step: SpanNode) -> tuple[int, int]:
    """Return where a span stands: items by their index, for they may run at once."""
    return step.span.attributes.get(semconv.BATCH_INDEX, 0), step.span.start
