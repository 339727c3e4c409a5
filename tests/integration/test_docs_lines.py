"""Lines of the view that pages show apart are lines of real runs: `<!-- from: busy -->` names the program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.pages import PAGES, blocks, check_output
from tests.support.processes import BIN, PYTHON, write
from tests.support.terminals import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

BUSY = """\
import pocketflow_otel
from pocketflow import AsyncFlow, AsyncParallelBatchNode

class RateLimitError(Exception):
    pass

class Ask(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        self.refused = set()
        return range(30)

    async def exec_async(self, question):
        if question % 3 and question not in self.refused:
            self.refused.add(question)
            raise RateLimitError(f"429 (request {question})")

from pocketflow_otel.export.console import console_view
from pocketflow_otel.views import batch_progress, live
# A slow machine takes longer until all have failed: it may, until the first is tried again.
batch_progress.MIN_INTERVAL = live.MIN_INTERVAL = 1.9
console_view.MIN_INTERVAL = 60.0
pocketflow_otel.configure()
import asyncio
asyncio.run(AsyncFlow(start=Ask(max_retries=3, wait=2)).run_async({}))
"""

SURVIVED = """\
import asyncio, contextlib, pocketflow_otel
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchFlow

class Grade(AsyncNode):
    async def exec_async(self, prepared):
        if self.params["school"] in (1, 3):
            raise ValueError("no pupils")

class Rounds(AsyncParallelBatchFlow):
    async def _run_async(self, shared):
        rounds = [self._orch_async(shared, {"school": number}) for number in range(5)]
        await asyncio.gather(*rounds, return_exceptions=True)

def create_rounds():
    return AsyncFlow(start=Rounds(start=Grade()))

pocketflow_otel.configure()
asyncio.run(create_rounds().run_async({}))
"""

UNPRICED = """\
import pocketflow_otel
from pocketflow import Flow, Node

class Summarize(Node):
    def exec(self, prepared):
        usage = {"prompt_tokens": 1200, "completion_tokens": 200, "cost": 0.000225}
        pocketflow_otel.record_usage(usage, model="gpt-4o-mini")

class Check(Node):
    def exec(self, prepared):
        pocketflow_otel.record_usage({"input_tokens": 80, "output_tokens": 20}, model="acme-llm-7b")

summarize = Summarize()
summarize >> Check()
pocketflow_otel.configure()
Flow(start=summarize).run({})
"""

BESIDE = """\
import asyncio, pocketflow_otel
from pocketflow import AsyncFlow, AsyncNode

class Part(AsyncNode):
    async def exec_async(self, prepared):
        await asyncio.sleep(self.params["seconds"])

async def one(name, seconds):
    flow = AsyncFlow(start=Part())
    flow.name = name
    flow.set_params({"seconds": seconds})
    await flow.run_async({})

async def main():
    await asyncio.gather(one("left", 0.1), one("right", 0.3))

pocketflow_otel.configure()
asyncio.run(main())
"""

UNFINISHED = """\
import sys, pocketflow_otel
from pocketflow import Flow, Node

class Ask(Node):
    def exec(self, prepared):
        print("loading 40%", end="", file=sys.stderr, flush=True)

pocketflow_otel.configure()
Flow(start=Ask()).run({})
"""

PROGRAMS = {
    "busy": BUSY,
    "survived": SURVIVED,
    "unpriced": UNPRICED,
    "beside": BESIDE,
    "unfinished": UNFINISHED,
    "demo": "from pocketflow_otel.cli.main import main\nmain(['demo'])\n",
}
LINE = re.compile(r"^( *(?:[0-9a-f]{4} +)?\d+\.\d\ds |(?:ok|FAILED at|slowest|trace) )", re.MULTILINE)
"""How a line of the view begins."""


def excerpts() -> list[tuple[str, str, str]]:
    """Return the blocks that show lines of a run of which the page has not the rest."""
    return [
        (name, block.marker.removeprefix("from: "), block.text)
        for name, page in PAGES.items()
        for block in blocks(page)
        if block.marker.startswith("from: ")
    ]


@pytest.mark.parametrize(("page", "program", "lines"), excerpts(), ids=lambda value: value[:12])
def test_lines_that_are_shown_apart_are_those_of_a_run(
    page: str, program: str, lines: str, tmp_path: Path
) -> None:
    app = write(tmp_path / "app.py", PROGRAMS[program])
    shown = on_terminal(
        200, PYTHON, app, cwd=tmp_path, HOME=str(tmp_path), NO_COLOR="1", PATH=f"{BIN}:/usr/bin:/bin",
        POCKETFLOW_OTEL_DIR="",
    )  # fmt: skip

    check_output(*(re.sub(r"(?m)^[0-9a-f]{4}(?=  )", "<id>", text) for text in (f"...\n{lines}...\n", shown)))


def test_every_line_of_the_view_comes_from_a_run() -> None:
    unproved = []
    for name, page in PAGES.items():
        ran = False
        for block in blocks(page):
            ran = ran if block.language == "text" and not block.marker else block.marker.startswith("run")
            if LINE.search(block.text) and not ran and not block.marker.startswith("from: "):
                unproved.append((name, block.text.splitlines()[0]))

    # The README's are compared in test_docs.
    assert [one for one in unproved if one[0] != "README"] == []
