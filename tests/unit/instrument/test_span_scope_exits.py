"""A program that a step ends by `sys.exit` fails where its process says so, and not where all went well."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from tests.support.schema import VALIDATOR
from tests.support.steps import named
from tests.support.views import console_output, viewed

from pocketflow_otel.export.file.file_view import FileView

if TYPE_CHECKING:
    from pathlib import Path


class Quit(Node):
    """Ends the program in one of its phases."""

    def __init__(self, *code: object, phase: str = "exec", **options: Any) -> None:
        super().__init__(**options)
        self.code = code
        self.phase = phase

    def reach(self, phase: str) -> None:
        if phase == self.phase:
            sys.exit(*self.code)  # type: ignore[arg-type]

    def prep(self, shared: Any) -> None:
        self.reach("prep")

    def exec(self, prepared: object) -> None:
        self.reach("exec")

    def post(self, shared: Any, prepared: object, executed: object) -> None:
        self.reach("post")


class QuitLater(AsyncNode):
    async def exec_async(self, prepared: object) -> None:
        sys.exit()


def quitting(node: Any) -> Any:
    return named(Flow(start=named(Flow(start=node), "inner")), "talk")


def leave(flow: Any) -> None:
    with pytest.raises(SystemExit):
        flow.run({})


def leave_later(flow: Any) -> None:
    with pytest.raises(SystemExit):
        asyncio.run(flow.run_async({}))


CLEAN = [(), (None,), (0,), (False,)]
FAILED = [(3,), ("no more",), (-1,), (True,)]


@pytest.mark.parametrize("code", CLEAN, ids=str)
@pytest.mark.parametrize("phase", ["prep", "exec", "post"])
def test_a_step_that_ends_the_program_well_has_not_failed(code: tuple[object, ...], phase: str) -> None:
    with viewed() as captured:
        leave(quitting(Quit(*code, phase=phase, max_retries=2)))
    assert captured.tree("error.type", "pocketflow.error.phase").splitlines() == [
        "invoke_workflow talk",
        "  invoke_workflow inner",
        "    invoke_node Quit",
    ]
    assert {span.status.status_code.name for span in captured.spans} == {"UNSET"}
    assert [event.name for span in captured.spans for event in span.events] == []


@pytest.mark.parametrize("code", FAILED, ids=str)
def test_one_that_ends_it_otherwise_has(code: tuple[object, ...]) -> None:
    with viewed() as captured:
        leave(quitting(Quit(*code)))
    assert {span.status.description for span in captured.spans} == {f"SystemExit: {code[0]}"}
    assert [event.name for span in captured.spans for event in span.events] == ["exception"]


def test_an_async_step_too() -> None:
    with viewed() as captured:
        leave_later(AsyncFlow(start=QuitLater()))
    assert {span.status.status_code.name for span in captured.spans} == {"UNSET"}


def test_the_trace_file_and_the_view_say_that_the_run_went_well(tmp_path: Path) -> None:
    with viewed(FileView("all", tmp_path)):
        leave(quitting(Quit()))
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    VALIDATOR.validate(document)
    ends = [event for event in document["events"] if event["type"].endswith("_complete")]
    assert (document["status"], document["summary"]["errors"]) == ("ok", 0)
    assert [(event["status"], event.get("action")) for event in ends] == [("ok", None)] * 3

    lines = console_output(lambda: leave(quitting(Quit()))).splitlines()
    assert [line for line in lines if "✗" in line or "SystemExit" in line] == []
    assert lines[-1].startswith("ok")
