"""What a signal handler of the program raises while our code runs gets to the program, wherever that was."""

from __future__ import annotations

import ast
import builtins
import fcntl
import io
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from pocketflow import BatchFlow, Node
from tests.support.source_tree import files, parsed, part_of, place
from tests.support.views import console_output

from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.file.journal_writer import JournalWriter
from pocketflow_otel.export.run_processor import OpenRun
from pocketflow_otel.guard import quiet
from pocketflow_otel.instrument.exceptions import message_of
from pocketflow_otel.store import snapshot
from pocketflow_otel.traces import journal, lock, retention, run_directory
from pocketflow_otel.usage import pricing
from pocketflow_otel.views import repeated_failures
from pocketflow_otel.views.styled_text import Part
from pocketflow_otel.views.wording import short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALARM = signal.SIGUSR1
IN_A_FLOW = {
    "api", "config", "export", "guard", "instrument", "runtime", "sdk", "store", "usage",
    "user_code", "views",
}  # fmt: skip
"""Parts whose code may run in a thread of the program's, while a flow goes."""
READ_IN_A_FLOW = {
    "traces/journal.py", "traces/lock.py", "traces/retention.py", "traces/run_directory.py",
    "traces/validation.py",
}  # fmt: skip
BEFORE_FLOWS = {
    "config.py: _boolean", "config.py: _days", "config.py: _dollars", "config.py: _limit",
    "config.py: _number", "export/otlp/batch_processor.py: _integer", "export/otlp/endpoints.py: is_url",
    "export/otlp/endpoints.py: port_of", "export/otlp/exporters.py: probe",
    "instrument/instrumentor.py: _with_readable_prices",
    "usage/pricing.py: read_prices",
}  # fmt: skip
"""Functions that read settings."""


class JobTimeout(Exception):
    pass


class Limits:
    """Time limits, as programs have them: each way to make one is an exception of another kind."""

    def __init__(self) -> None:
        self.error: Exception = TimeoutError()

    def __call__(self, number: int, frame: object) -> None:
        raise self.error


@pytest.fixture
def limit() -> Iterator[Callable[[type[Exception]], Any]]:
    """Return what a function may be replaced by: a limit is up in it, and raises an error of that type."""
    handler = Limits()
    before = signal.signal(ALARM, handler)

    def interrupt(kind: type[Exception]) -> Callable[..., Any]:
        def interrupted(*arguments: Any, **options: Any) -> Any:
            handler.error = kind("the limit")
            signal.raise_signal(ALARM)

        return interrupted

    yield interrupt
    signal.signal(ALARM, before)


class Stream(io.StringIO):
    """A stream of which one thing is interrupted."""

    def __init__(self, name: str, interrupt: Callable[[], Any]) -> None:
        super().__init__()
        self._interrupted = name, interrupt

    def __getattribute__(self, name: str) -> Any:
        which, interrupt = object.__getattribute__(self, "__dict__").get("_interrupted", ("", None))
        if name == which:
            interrupt()
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("name", ["write", "isatty", "encoding"])
def test_a_limit_passes_a_stream_that_is_looked_at(name: str, limit: Callable[..., Any]) -> None:
    with pytest.raises(JobTimeout):
        LineStream(Stream(name, limit(JobTimeout)))


@pytest.mark.parametrize("kind", [TimeoutError, JobTimeout])
def test_a_limit_passes_a_line_that_is_written(kind: type[Exception], limit: Callable[..., Any]) -> None:
    stream = LineStream(Stream("flush", limit(kind)))
    for _ in range(2):  # The lock is free again.
        with pytest.raises(kind):
            stream.write((Part("a line"),))


def test_a_limit_passes_the_text_of_an_error(limit: Callable[..., Any]) -> None:
    class Slow(Exception):
        __str__ = limit(JobTimeout)

    with pytest.raises(JobTimeout):
        message_of(Slow(), masked=False)


def test_a_limit_passes_a_journal_that_is_begun(
    monkeypatch: pytest.MonkeyPatch, limit: Callable[..., Any], tmp_path: Path
) -> None:
    """And leaves neither lock nor file."""
    run = OpenRun("20261122T193012Z-7f3a91c2", "ab" * 16, "cd" * 8, 1, Resource.get_empty())
    for owner, name in ((fcntl, "flock"), (os, "getpid"), (os, "write")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, limit(JobTimeout))
            with pytest.raises(JobTimeout):
                JournalWriter(tmp_path, run.id).open(run)
        assert (list(tmp_path.iterdir()), lock._held) == ([], set())


def is_running(path: Path) -> None:
    (path / "x.jsonl").touch()
    lock.is_running(path / "x.jsonl")


def prune(path: Path) -> None:
    (path / "20261122T193012Z-7f3a91c2.jsonl").touch()
    retention.prune(path, retention.Keep(), now=0)


def remove_drafts(path: Path) -> None:
    (path / "20261122T193012Z-7f3a91c2.0123abcd.tmp").touch()
    retention.prune(path, retention.Keep(), now=1e12)


def read_journal(path: Path) -> None:
    (path / "x.jsonl").write_bytes(b"{}\n")
    list(journal.read_lines(path / "x.jsonl"))


def price(path: Path) -> None:
    pricing._ask("gpt-4o", "openai", None, {"input_tokens": 1}, None, None)


def fingerprint(path: Path) -> None:
    snapshot._ContentFingerprint([[1]])


PLACES: dict[Callable[[Path], None], tuple[str, type[Exception]]] = {
    is_running: ("fcntl.flock", TimeoutError),
    prune: ("os.DirEntry.stat", TimeoutError),
    remove_drafts: ("pathlib.Path.unlink", TimeoutError),
    run_directory.run_paths: ("os.listdir", TimeoutError),
    read_journal: ("json.loads", ValueError),
    price: ("pocketflow_otel.usage.pricing._genai_prices", LookupError),
    fingerprint: ("pocketflow_otel.store.snapshot._ContentFingerprint._read", RuntimeError),
    short_path: ("pathlib.Path.home", RuntimeError),
}


@pytest.mark.parametrize("call", PLACES, ids=lambda call: call.__name__)
def test_a_limit_passes_a_clause_that_expects_its_type(
    call: Callable[[Path], None], limit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, kind = PLACES[call]
    monkeypatch.setattr(name, limit(kind))
    with pytest.raises(kind, match="the limit"):
        call(tmp_path)


AMBIGUOUS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("File")
) - {"ModuleNotFoundError", "UnicodeDecodeError", "UnicodeEncodeError", "StopIteration"}
"""Exceptions that a limit may be: not those that say what else they are."""


def caught_names(handler: ast.ExceptHandler) -> set[str]:
    return {"Exception"} if handler.type is None else {ast.unparse(part) for part in elements(handler.type)}


def elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether the first thing it does is to let the program's own errors through, or it ends by `raise`."""
    first, last = ast.unparse(handler.body[0]), handler.body[-1]
    called = first.startswith(("let_through(", "failed("))
    return called or (isinstance(last, ast.Raise) and last.exc is None)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def swallowing(path: Path) -> set[str]:
    return {
        f"{place(path)}: {function.name}"
        for function in functions(path)
        for node in ast.walk(function)
        if (isinstance(node, ast.ExceptHandler) and caught_names(node) & AMBIGUOUS and not passes_on(node))
        or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"))
    }


def test_no_clause_swallows_what_may_be_the_programs() -> None:
    found: set[str] = set()
    for path in files():
        if part_of(path) in IN_A_FLOW or place(path) in READ_IN_A_FLOW:
            found |= swallowing(path)
    assert found == BEFORE_FLOWS


def test_no_view_leaves_lines_to_a_finalizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a generator is given up, Python closes it, and swallows what is raised in that."""
    closed: list[object] = []

    class Watched(quiet):
        def __exit__(self, *raised: object) -> bool:
            closed.append(raised[0])
            return super().__exit__(*raised)  # type: ignore[arg-type]

    class Rounds(BatchFlow):
        def prep(self, shared: object) -> list[dict[str, int]]:
            return [{"round": 1}, {"round": 2}]

    monkeypatch.setattr(repeated_failures, "quiet", Watched)
    console_output(lambda: Rounds(Node()).run({}))
    assert set(closed) == {IndexError}
