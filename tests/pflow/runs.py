"""Run scenarios with a pflow, bare or traced, and see all they leave; ids and times are blotted out.

Every run finds the same paths, port and files as the one before, so that no path differs either.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import IO, TYPE_CHECKING, Final

from tests.pflow.environments import VERSIONS, bin_of
from tests.pflow.scenarios import release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.pflow.scenarios import Scenario
    from tests.pflow.servers import Server

WORKFLOWS: Final = Path(__file__).parent / "workflows"

_TIMEOUT: Final = 60
"""Seconds for one command."""


@dataclass(frozen=True)
class Outcome:
    """What one command gave back."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Run:
    """What the commands of a scenario did.

    Attributes:
        outcomes: One for each command.
        files: What they left in their home, by path.
        traces: The folder of our trace files and journals.
    """

    outcomes: tuple[Outcome, ...]
    files: Mapping[str, str]
    traces: Path = field(compare=False)

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(outcome.code for outcome in self.outcomes)


class Workshop:
    """Where scenarios run, one at a time.

    Args:
        folder: Where everything is kept; ours alone.
        server: What workflows may ask.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder, self._server = folder, server
        self._home = folder / "home"
        self._work = self._home / "work"
        self._traces = folder / "traces"

    def run(self, scenario: Scenario, version: str, *, traced: bool) -> Run:
        """Run a scenario to its end, in a home that was used for nothing else."""
        bin_ = bin_of(version)
        command = [bin_ / "opentelemetry-instrument"] * traced + [bin_ / "pflow"]
        prepared = None if scenario.fresh else self._prepared(version)
        self._furnish(version, prepared)
        variables = self._variables() | dict(scenario.env)
        outcomes = [
            self._outcome([*command, *arguments], variables, scenario, traced=traced)
            for arguments in scenario.arguments(server=self._server.url, python=bin_ / "python")
        ]
        traces = Path(mkdtemp(dir=self._folder, prefix=f"{scenario.name}-"), "traces")
        self._traces.rename(traces)
        return Run(tuple(outcomes), dict(_files(self._home)), traces)

    def _furnish(self, version: str, prepared: Path | None) -> None:
        for folder in (self._home, self._traces):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        if prepared is not None:
            shutil.copytree(prepared, self._home, dirs_exist_ok=True)
        shutil.copytree(WORKFLOWS, self._work, ignore=shutil.ignore_patterns("until-*"))
        # A release finds the workflows of its time, over those of today.
        for last in reversed([name for name in VERSIONS if release(version) <= release(name)]):
            if (WORKFLOWS / f"until-{last}").exists():
                shutil.copytree(WORKFLOWS / f"until-{last}", self._work, dirs_exist_ok=True)
        self._server.reset()

    def _prepared(self, version: str) -> Path:
        """Return a home in which pflow has looked for its nodes, which takes a second or more.

        As installed from PyPI, 0.10 and 0.11 do not find their llm node when they look for it: what
        they import as `llm` is the node's own module, unless the real one is there already.
        """
        prepared = self._folder / "prepared" / version
        if not prepared.exists():
            self._furnish(version, None)
            program = (
                "import importlib.util, sys\n"
                "if importlib.util.find_spec('llm'): import llm\n"
                "from importlib.metadata import distribution\n"
                "command, = (each for each in distribution('pflow-cli').entry_points if each.name == 'pflow')\n"
                "sys.exit(command.load()())"
            )
            subprocess.run(
                [bin_of(version) / "python", "-c", program, "-p", "--no-trace", "linear.pflow.md"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._variables(),
                cwd=self._work,
                timeout=_TIMEOUT,
                check=True,
            )
            shutil.copytree(
                self._home / ".pflow", prepared / ".pflow", ignore=shutil.ignore_patterns("cache")
            )
        return prepared

    def _variables(self) -> dict[str, str]:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self._server.url)
        return proxies | {
            "NO_PROXY": "127.0.0.1",
            "HOME": str(self._home),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"{self._server.url}/v1",
            # LiteLLM's own list of prices, instead of one from the network.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "POCKETFLOW_OTEL_DIR": str(self._traces),
        }

    def _outcome(
        self, command: Sequence[str | Path], variables: Mapping[str, str], scenario: Scenario, *, traced: bool
    ) -> Outcome:
        with _streams(scenario) as streams:
            process = subprocess.Popen(command, **streams.given, env=variables, cwd=self._work)
            stdout, stderr = streams.read(process)
            code = process.wait(_TIMEOUT)
        return Outcome(code, blotted(stdout), blotted(without_ours(stderr) if traced else stderr))


def without_ours(stderr: str) -> str:
    """Take out the lines by which a traced run says how it went and where its trace is.

    >>> without_ours("begun\\nok  0.1s · 2 steps\\nslowest a 0.1s · trace /t.json\\nended\\n")
    'begun\\nended\\n'
    """
    return _OURS.sub("", stderr)


_OURS: Final = re.compile(r"^(ok  |FAILED |INTERRUPTED |slowest |trace /|Trace saved: ).*\n", re.MULTILINE)


def blotted(text: str) -> str:
    """Blot out ids and times.

    >>> blotted('✓ a (<1ms) in 0.0s, trace-20261125-225444.json, {"duration_ms": 3.5, "size": 2}')
    '✓ a (<duration>) in <duration>, trace-<time>.json, {"duration_ms": <number>, "size": 2}'
    """
    for pattern, blot in _BLOTS:
        text = pattern.sub(blot, text)
    return text


_BLOTS: Final = [
    (re.compile(pattern), blot)
    for pattern, blot in (
        (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)?", "<time>"),
        (r"\b\d{8}-\d{6}(?:-\d{6})?\b", "<time>"),
        (r"(?<![\w.])<?\d+(?:\.\d+)?\s?m?s\b", "<duration>"),
        (r'("node_timings": ?)\{[^}]*\}', r"\1<numbers>"),
        (r'("\w*(?:duration|elapsed|time|timestamp|_ms|_at|age_sec)": ?)[\d.e-]+', r"\1<number>"),
    )
]


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and content of each file; those whose names are times, in their order."""
    seen: dict[str, int] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = blotted(str(path.relative_to(folder)))
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} #{seen[name]}"), _content(path)


def _content(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(b"SQLite format 3"):
        return _rows(path)
    if path.suffix in (".db-wal", ".db-shm"):  # Their rows are those of the database.
        return ""
    try:
        return blotted(data.decode())
    except UnicodeDecodeError:
        return hashlib.sha256(data).hexdigest()


def _rows(path: Path) -> str:
    """Return what a database holds; values that were packed are unpacked."""
    with sqlite3.connect(path) as database:
        lines = list(database.iterdump())
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            lines += map(_row, database.execute(f"SELECT * FROM {table}"))
    return "\n".join(lines)


def _row(values: Sequence[object]) -> str:
    return blotted(json.dumps([_unpacked(v) for v in values]))


def _unpacked(value: object) -> object:
    return zlib.decompress(value).decode() if isinstance(value, bytes) else value
