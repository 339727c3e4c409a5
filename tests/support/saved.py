"""Runs on disk, for the tests of what reads them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pocketflow
from tests.support.outputs import show

from pocketflow_otel.config import Config
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.traces import finalize

if TYPE_CHECKING:
    from pathlib import Path


class Ask(pocketflow.Node):
    def post(self, shared: Any, prepared: object, executed: object) -> None:
        shared["question"] = [1]
        shared["llm_usage"] = {"input_tokens": 5, "output_tokens": 2, "model": "acme-7b"}


class Flaky(pocketflow.BatchNode):
    def prep(self, shared: Any) -> list[int]:
        self.tries = 0
        return [1, 2]

    def exec(self, item: int) -> int:
        self.tries += 1
        if self.tries == 1:
            raise ConnectionError("429: busy")
        return item


class Last(pocketflow.Node):
    def post(self, shared: Any, prepared: object, executed: object) -> str:
        return str(shared["answer"])


def create_flow(name: str = "flow") -> Any:
    """Return a flow with usage, a batch, a failed attempt and a nested flow; fails without an answer."""
    ask = Ask()
    inner = pocketflow.Flow(start=Last())
    inner.name = "inner"
    ask >> Flaky(max_retries=2) >> inner
    flow = pocketflow.Flow(start=ask)
    flow.name = name
    return flow


def save(directory: Path, *flows: Any, shared: dict[str, Any] | None = None) -> list[Path]:
    """Run flows, and return their new trace files, the oldest first."""
    known = set(directory.glob("*.json"))
    saved: list[Path] = []
    with capture_spans(Config(capture_values=("*",)), fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=directory)
        for flow in flows:
            with suppress(KeyError):
                flow.run({} if shared is None else dict(shared))
            saved += map(_newest, set(directory.glob("*.json")) - known)
            known.update(saved)
    return saved


def save_journal(directory: Path, flow: Any, lines: int | None = None) -> Path:
    """Run a flow, and return the journal as it was after so many lines, by default all; nobody holds it."""
    before = set(directory.glob("*.jsonl"))
    with patch.object(finalize, "write_trace_file", lambda path: path):
        save(directory, flow)
    (path,) = set(directory.glob("*.jsonl")) - before
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    return _newest(path)


def _newest(path: Path) -> Path:
    """Let a file be newer than the others there: the clock of files stands still for some milliseconds."""
    others = (other.stat().st_mtime_ns for other in path.parent.iterdir() if other != path)
    when = max([path.stat().st_mtime_ns, *(other + 1 for other in others)])
    os.utime(path, ns=(when, when))
    return path
