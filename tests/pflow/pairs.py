"""Run a scenario in a home of its own, and take note of all that pflow did."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.pflow.contents import files_in, without_times
from tests.pflow.environments import NEWEST, VERSIONS, bin_of
from tests.pflow.features import SERVER, WORKFLOWS
from tests.pflow.homes import register, variables_of, with_models
from tests.pflow.outlines import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.pflow.commands import Commands
    from tests.pflow.features import Scenario
    from tests.pflow.servers import Server

OURS: Final = ".pflow/traces"
"""Where our trace files go, below the home."""

_TOOK: Final = r"(?:\d+\.\d\ds|\d+m \d\ds) · \d+ steps?\b[^\n]*"
_SUMMARY: Final = re.compile(
    rf"^(?:FAILED(?: at [^\n]+)? · |(?:ok|degraded|(?:denied|paused)(?: at [^\n]+)?)  ){_TOOK}\n"
    rf"(?:slowest [^\n]+\n)?trace ~/{re.escape(OURS)}/(?P<file>[^\s/]+)\n".encode(),
    re.MULTILINE,
)
"""What we say of a run: how it ended, and where its trace is."""
_EXECUTION: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""pflow's id of a run."""


@dataclass
class Done:
    """What came of a scenario.

    Attributes:
        codes, stdout, stderr: Of each run; stderr without times and ids, and without our own lines.
        files: What is left in the home, without ours: the content by the path.
        told: The names of our trace files, of each run those that its stderr named.
        saved: The same, of each run those that it wrote.
        trees: Our traces.
    """

    codes: list[int] = field(default_factory=list)
    stdout: list[bytes] = field(default_factory=list)
    stderr: list[bytes] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    told: list[list[str]] = field(default_factory=list)
    saved: list[list[str]] = field(default_factory=list)
    trees: list[str] = field(default_factory=list)

    def add(
        self, result: CompletedProcess[bytes], *, timed: bool = False, traces: Path | None = None
    ) -> None:
        """Take note of one more run.

        Args:
            result: What came of it.
            timed: Whether there are times or ids in its stdout.
            traces: Where it left our trace files, and told so on stderr, if it was traced.
        """
        stderr = result.stderr
        if traces is not None:
            stderr, told = without_summaries(stderr)
            before = {name for names in self.saved for name in names}
            self.told.append(told)
            self.saved.append(sorted({path.name for path in traces.glob("*")} - before))
        self.codes.append(result.returncode)
        self.stdout.append(without_times(result.stdout) if timed else result.stdout)
        self.stderr.append(without_times(stderr))


def differences(bare: Done, traced: Done) -> Iterator[str]:
    """Yield where two runs differ, each in a line: pytest's own comparison takes minutes for large files."""
    for name in ("codes", "stdout", "stderr"):
        for place, (one, other) in enumerate(zip(getattr(bare, name), getattr(traced, name), strict=True)):
            if one != other:
                yield f"{name}[{place}]: {_first_difference(one, other)}"
    for path in sorted(bare.files.keys() | traced.files.keys()):
        if path not in traced.files or path not in bare.files:
            yield f"{path}: only {'bare' if path in bare.files else 'traced'}"
        elif bare.files[path] != traced.files[path]:
            yield f"{path}: {_first_difference(bare.files[path], traced.files[path])}"


def _first_difference(one: Any, other: Any) -> str:
    if isinstance(one, int):
        return f"{one} != {other}"
    pairs = enumerate(zip(one, other, strict=False))
    place = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    near = slice(max(place - 100, 0), place + 100)
    return f"at {place}: {one[near]!r} != {other[near]!r}"


def perform(
    scenario: Scenario, version: str, home: Path, server: Server, commands: Commands, *, traced: bool
) -> Done:
    """Run a scenario.

    Args:
        scenario: What to run.
        version: The pflow to run it with.
        home: An empty folder, the same for all that are to be compared: paths are in the output.
        server: What workflows talk to, and the proxy that refuses all else.
        commands: How commands are run.
        traced: Whether to run it under `opentelemetry-instrument`.
    """
    folder = bin_of(version)
    home.mkdir()
    lay_out(home / "work", version)
    if scenario.llm and version != NEWEST:
        register(home, version)
    server.reset()
    launcher = [str(folder / "opentelemetry-instrument")] if traced else []
    done, said = Done(), b""
    for place, argv in enumerate(scenario.commands):
        if place:
            wait_between_runs(version)
        execution = _EXECUTION.search(said)
        values = {SERVER: server.url, "{execution}": execution[0].decode() if execution else ""}
        result = commands.run(
            [*launcher, str(folder / "pflow"), *(_filled(part, values) for part in argv)],
            cwd=home / "work",
            env=_variables(scenario, version, home, server),
            stdin=None if scenario.stdin is None else scenario.stdin.encode(),
        )
        said = result.stderr
        done.add(result, timed=scenario.timed, traces=home / OURS if traced else None)
    done.trees = ["\n".join(tree(home / OURS / name)) for names in done.saved for name in names]
    if traced:
        shutil.rmtree(home / OURS, ignore_errors=True)
    done.files = dict(files_in(home))
    shutil.rmtree(home)
    return done


def wait_between_runs(version: str) -> None:
    """Wait for the next second: older pflows name their traces by it, and overwrite one of that name."""
    if version != NEWEST:
        time.sleep(1 - time.time() % 1)


def _variables(scenario: Scenario, version: str, home: Path, server: Server) -> dict[str, str]:
    """Return a run's environment; with a seed, or names that pflow lists come in any order."""
    variables = with_models(variables_of(home, version), server.url)
    return {**variables, "PYTHONHASHSEED": "0", **scenario.variables}


def without_summaries(stderr: bytes) -> tuple[bytes, list[str]]:
    """Take our lines out of a stderr; return the rest, and which trace files they name."""
    told = [summary["file"].decode() for summary in _SUMMARY.finditer(stderr)]
    return _SUMMARY.sub(b"", stderr), told


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def lay_out(work: Path, version: str) -> None:
    """Put the workflows into a folder; some are written otherwise for older pflows."""
    work.mkdir()
    place = VERSIONS.index(version)
    variants = [f"until-{other}" for other in reversed(VERSIONS[place:]) if other != NEWEST]
    for folder in (WORKFLOWS, *(WORKFLOWS / variant for variant in variants)):
        for path in folder.glob("*.md"):
            shutil.copy(path, work)
