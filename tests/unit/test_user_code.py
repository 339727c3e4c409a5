"""The line of the user's own code where an error was raised is the same wherever it is named."""

from __future__ import annotations

import importlib.util
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.outputs import show
from tests.support.processes import write

from pocketflow_otel import semconv
from pocketflow_otel.cli.main import main
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.run_processor import RunProcessor
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.traces import reader
from pocketflow_otel.traces.records import ERROR, EventRecord, SpanRecord
from pocketflow_otel.user_code import is_installed, own_place_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

LIBRARY = """
def ask(question):
    return _base_request(question)

def _base_request(question):
    raise ConnectionError("no answer")
"""
RESEARCH = """
import pocketflow

class Search(pocketflow.Node):
    def exec(self, prepared):
        return self.ask("why?")  # research.py:6
"""
PLACE = "research.py:6"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask_a_library(folder: Path) -> Callable[[str], Any]:
    ask: Callable[[str], Any] = load(write(folder / "_fakelib.py", LIBRARY)).ask
    return ask


def fail(folder: Path, ask: Callable[[str], Any]) -> tuple[str, str, Path]:
    """Run a flow whose step asks in vain; return the live view, what its span says, and its file."""
    node = load(write(folder / "research.py", RESEARCH)).Search
    node.ask = staticmethod(ask)
    stream = io.StringIO()
    with capture_spans(fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=folder)
        processor = RunProcessor()
        processor.views = (ConsoleView("live", stream),)
        captured.provider.add_span_processor(processor)
        with pytest.raises(Exception, match=r"no answer|Connection error|401"):
            pocketflow.Flow(start=node()).run({})
    (path,) = folder.glob("*.json")
    return (
        stream.getvalue(),
        str((captured.one("invoke_node Search").attributes or {})[semconv.ERROR_PLACE]),
        path,
    )


def commands(path: Path) -> dict[str, str]:
    """Return what commands print of a run."""
    arguments = {
        "show": ["show"], "markdown": ["show", "--markdown"], "events": ["show", "--events"],
        "json": ["show", "--json"], "events as json": ["show", "--events", "--json"],
        "tail": ["tail"], "replay": ["replay", "--speed", "0"], "csv": ["export", "--format", "csv"],
    }  # fmt: skip
    return {
        name: CliRunner().invoke(main, [command[0], str(path), *command[1:]], catch_exceptions=False).stdout
        for name, command in arguments.items()
    }


def outside_tracebacks(text: str) -> str:
    return re.sub(r'  File ".*', "", text)


@pytest.mark.parametrize("folder", ["venv/lib/python3.12/site-packages", "usr/lib/python3/dist-packages"])
def test_an_error_deep_in_a_library_has_the_users_line_everywhere(folder: str, tmp_path: Path) -> None:
    live, said, path = fail(tmp_path, ask_a_library(tmp_path / folder))
    assert (said, f"({PLACE})" in live) == (PLACE, True)
    for name, text in commands(path).items():
        assert (name, PLACE in text, "_fakelib.py:" in outside_tracebacks(text)) == (name, True, False)


def test_runs_that_fail_at_different_lines_differ(tmp_path: Path) -> None:
    def refuse(question: str) -> None:
        raise ConnectionError("no answer")

    _, _, library = fail(tmp_path / "a", ask_a_library(tmp_path / "site-packages"))
    _, _, own = fail(tmp_path / "b", refuse)
    told = CliRunner().invoke(main, ["diff", str(library), str(own)]).stdout
    assert re.search(rf"error place: {PLACE} → test_user_code\.py:\d+", told), told


def test_the_events_of_a_file_say_the_place(tmp_path: Path) -> None:
    _, _, path = fail(tmp_path, ask_a_library(tmp_path / "site-packages"))
    (error,) = [event for event in json.loads(path.read_text())["events"] if event["type"] == "error"]
    assert error["place"] == PLACE


# Spans that do not say it


def foreign(stacktrace: str) -> SpanRecord:
    event = EventRecord("exception", 2, {"exception.type": "E", "exception.stacktrace": stacktrace})
    return SpanRecord("1" * 32, "2" * 16, "", "chat", 1, 2, events=(event,), status=ERROR)


OWN = '  File "/home/ada/app/research.py", line 6, in exec\n'
LIB = '  File "/srv/venv/lib/python3.12/site-packages/openai/_base_client.py", line 1870, in request\n'
STANDARD = '  File "/usr/lib/python3.12/asyncio/runners.py", line 118, in run\n'
WINDOWS = '  File "C:\\app\\research.py", line 6, in exec\n'
WINDOWS_LIB = '  File "C:\\venv\\Lib\\site-packages\\openai\\_base_client.py", line 1870, in request\n'
BEGIN = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("stacktrace", "place"),
    [
        (BEGIN + OWN + LIB + "E: x", PLACE),
        (BEGIN + STANDARD + OWN + STANDARD + LIB, PLACE),
        (BEGIN + WINDOWS + WINDOWS_LIB, PLACE),
        (BEGIN + LIB + STANDARD, ""),
        (BEGIN + OWN + "E: x\n\nDuring handling ...\n\n" + BEGIN + LIB, ""),
        ("Error: x\n    at Object.<anonymous> (/app/a.js:1:7)", ""),
        ("", ""),
    ],
)
def test_a_stack_trace_names_the_users_line_or_none(stacktrace: str, place: str) -> None:
    assert own_place_in(stacktrace) == place
    assert foreign(stacktrace).error_place == place


@pytest.mark.parametrize(
    ("file", "installed"),
    [
        ("/home/ada/app/lib/python3/nodes.py", True),  # Who would?
        ("/home/ada/site-packages-viewer/nodes.py", False),
        ("/home/ada/pocketflow/nodes.py", False),
        ("/home/ada/app/vendor/pocketflow/__init__.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("<string>", False),
        ("/tmp/ipykernel_7/123.py", False),
        (json.__file__, True),
        (pytest.__file__, True),
        (__file__, False),
    ],
)
def test_what_is_installed_is_not_the_users_own(file: str, installed: bool) -> None:
    assert is_installed(file) is installed


def test_a_run_read_from_a_file_says_what_its_span_said(tmp_path: Path) -> None:
    _, said, path = fail(tmp_path, ask_a_library(tmp_path / "site-packages"))
    places = [step.span.error_place for step in reader.read(path).walk()]
    assert places == ["", said]
