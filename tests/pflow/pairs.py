"""Run a scenario in a home of its own, and take note of all that pflow did."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.pflow.environments import VERSIONS, bin_of
from tests.pflow.features import SERVER, WORKFLOWS
from tests.pflow.outlines import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.pflow.features import Scenario
    from tests.pflow.servers import Server

OURS: Final = ".pflow/traces"
"""Where our trace files go, below the home."""

_OUR_LINES: Final = re.compile(
    rb"^(?:(?:ok|(?:degraded|denied|paused)(?: at [^\n]+)?)  |FAILED(?: at [^\n]+)? \xc2\xb7 |slowest |trace ~/)"
    rb"[^\n]*\n",
    re.MULTILINE,
)
_EXECUTION: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""pflow's id of a run."""
_TIMES: Final = (
    (rb"(?<!\d)\d+\.\d+ ?s\b", b"0s"),
    (rb"\b\d+(?:\.\d+)? ?ms\b", b"0ms"),
    (rb"\d{8}-\d{6}(?:-\d+)?", b"<time>"),
    (rb"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|\+00:00)?", b"<time>"),
    (rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", b"<id>"),
    (rb"workflow-trace-[0-9a-f]{8}-", b"workflow-trace-<id>-"),
    (rb"0x[0-9a-f]{6,}", b"<address>"),
    (rb'("[\w-]+": )\d+\.\d{8,}', rb"\1 0"),  # durations by node
    (rb'("\w*(?:duration|time|_ms)\w*": )[\d.]+', rb"\1 0"),
)
_MASKED: Final = re.compile(
    r"time|stamp|duration|_ms$|_at$|_id$|^id$|hash|^age|_sec$|seconds|pid|^ts$|version|timing"
)
"""Keys of pflow's files whose values differ from run to run."""


@dataclass
class Done:
    """What came of a scenario.

    Attributes:
        codes, stdout, stderr: Of each run; times and ids, and our own lines, taken out of stderr.
        files: What is left in the home, without ours: the content by the path.
        trees: Our traces.
    """

    codes: list[int] = field(default_factory=list)
    stdout: list[bytes] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    files: dict[str, Any] = field(default_factory=dict)
    trees: list[str] = field(default_factory=list)


def differences(bare: Done, traced: Done) -> Iterator[str]:
    """Yield where two runs differ, each in a line: pytest's own comparison takes minutes for large files."""
    for name in ("codes", "stdout", "stderr"):
        for place, (one, other) in enumerate(zip(getattr(bare, name), getattr(traced, name), strict=True)):
            if one != other:
                yield f"{name}[{place}]: {_first_difference(one, other)}"
    for name in sorted(bare.files.keys() | traced.files.keys()):
        one, other = bare.files.get(name, "absent"), traced.files.get(name, "absent")
        if one != other:
            yield f"{name}: {_first_difference(json.dumps(one), json.dumps(other))}"


def _first_difference(one: Any, other: Any) -> str:
    if isinstance(one, int):
        return f"{one} != {other}"
    pairs = enumerate(zip(one, other, strict=False))
    place = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    near = slice(max(place - 100, 0), place + 100)
    return f"at {place}: {one[near]!r} != {other[near]!r}"


def perform(scenario: Scenario, version: str, home: Path, server: Server, *, traced: bool) -> Done:
    """Run a scenario.

    Args:
        scenario: What to run.
        version: The pflow to run it with.
        home: An empty folder, the same for all that are to be compared: paths are in the output.
        server: What workflows talk to, and the proxy that refuses all else.
        traced: Whether to run it under `opentelemetry-instrument`.
    """
    folder = bin_of(version)
    home.mkdir()
    lay_out(home / "work", version)
    if scenario.llm:
        register(home, folder)
    server.reset()
    launcher = [str(folder / "opentelemetry-instrument")] if traced else []
    done, said = Done(), b""
    for number, argv in enumerate([*filter(None, [scenario.before]), *[scenario.arguments] * scenario.runs]):
        execution = _EXECUTION.search(said)
        values = {SERVER: server.url, "{execution}": execution[0].decode() if execution else ""}
        result = subprocess.run(
            [*launcher, str(folder / "pflow"), *(_filled(part, values) for part in argv)],
            cwd=home / "work",
            env=_environment(home, folder, server),
            stdin=None if scenario.stdin is not None else subprocess.DEVNULL,
            input=None if scenario.stdin is None else scenario.stdin.encode(),
            capture_output=True,
            timeout=120,
            check=False,
        )
        said = result.stderr
        if scenario.before and not number:
            continue
        done.codes.append(result.returncode)
        done.stdout.append(without_times(result.stdout))
        done.stderr.append(without_times(_OUR_LINES.sub(b"", result.stderr)).decode("utf-8", "replace"))
    traces = home / OURS
    if traces.is_dir():
        done.trees = ["\n".join(tree(path)) for path in sorted(traces.iterdir())]
        shutil.rmtree(traces)
    done.files = dict(files_in(home))
    shutil.rmtree(home)
    return done


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def register(home: Path, folder: Path) -> None:
    """Have pflow find its nodes, the llm node too.

    0.10 and 0.11 look for it with its own folder on Python's path, where `llm` is that node and not
    the library of that name, unless the library has been imported before. Newer ones have no such library.
    """
    (home / ".pflow").mkdir()
    subprocess.run(
        [folder / "python", "-c", REGISTER],
        env={"HOME": str(home)},
        cwd=home,
        capture_output=True,
        check=True,
    )


REGISTER: Final = """
import contextlib
with contextlib.suppress(ImportError):
    import llm
from pflow.registry import Registry
Registry().load()
"""


def lay_out(work: Path, version: str) -> None:
    """Put the workflows into a folder; some are written otherwise for older pflows."""
    work.mkdir()
    place = VERSIONS.index(version)
    variants = [f"until-{other}" for other in reversed(VERSIONS[place:]) if other != "newest"]
    for folder in (WORKFLOWS, *(WORKFLOWS / variant for variant in variants)):
        for path in folder.glob("*.md"):
            shutil.copy(path, work)


def _environment(home: Path, folder: Path, server: Server) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join((str(folder), os.defpath)),
        "LANG": "C.UTF-8",
        "OPENAI_API_KEY": "sk-not-a-key",
        "OPENAI_API_BASE": f"{server.url}/v1",
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "http_proxy": server.url,
        "https_proxy": server.url,
        "no_proxy": "127.0.0.1",
        "PYTHONHASHSEED": "0",
    }


def without_times(output: bytes) -> bytes:
    """Take out of an output what differs from run to run."""
    for pattern, replacement in _TIMES:
        output = re.sub(pattern, replacement, output)
    return output


def files_in(home: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a home has: the path of each file, and its content without times."""
    for path in sorted(home.rglob("*")):
        if path.is_file():
            name = without_times(str(path.relative_to(home)).encode()).decode()
            yield name, _content(path)


def _content(path: Path) -> Any:
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        lines = content.splitlines() if path.suffix == ".jsonl" or content.count(b"\n{") else [content]
        try:
            return [_masked(json.loads(line)) for line in lines]
        except ValueError:
            return without_times(content).decode("utf-8", "replace")
    if path.suffix.startswith(".db"):
        return "a database"
    return hashlib.sha256(content).hexdigest()


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "*" if _MASKED.search(key) else _masked(each) for key, each in value.items()}
    if isinstance(value, list):  # Items of a parallel batch come in any order.
        return sorted((_masked(each) for each in value), key=json.dumps)
    return without_times(value.encode()).decode() if isinstance(value, str) else value
