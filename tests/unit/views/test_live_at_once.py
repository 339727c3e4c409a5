"""The live view of many at once: whose line is whose, and few of them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pocketflow import AsyncNode, AsyncParallelBatchFlow, AsyncParallelBatchNode
from tests.support.views import console_output

from pocketflow_otel.export.console.console_view import SILENCE


class Fetch(AsyncNode):
    """Fails once in every other branch."""

    def __init__(self) -> None:
        super().__init__(max_retries=2)

    async def prep_async(self, shared: dict[str, Any]) -> int:
        return int(self.params["branch"])

    async def exec_async(self, branch: int) -> None:
        if branch % 2 and branch not in self.params["failed"]:
            self.params["failed"].add(branch)
            raise ConnectionError(f"branch {branch}")


class Keep(AsyncNode):
    async def post_async(self, shared: dict[str, Any], prep_res: None, exec_res: None) -> str:
        return f"kept {self.params['branch']}"


class Branches(AsyncParallelBatchFlow):
    async def prep_async(self, shared: dict[str, Any]) -> list[dict[str, Any]]:
        failed: set[int] = set()
        return [{"branch": branch, "failed": failed} for branch in range(5)]


def test_each_branch_of_five_can_be_told_from_its_lines_alone() -> None:
    fetch = Fetch()
    fetch >> Keep()
    stories: dict[str, list[str]] = {}
    for line in console_output(lambda: asyncio.run(Branches(start=fetch).run_async({}))).splitlines():
        of_a_branch = re.fullmatch(r" +[\d.]+s +\[(\d)\] (.*)", line)
        if of_a_branch:
            branch, what = of_a_branch.groups()
            stories.setdefault(branch, []).append(re.sub(r" \d+\.\d\ds|  \(\d/5\)", "", what))
    retried = "↻ attempt 1/2 failed: ConnectionError: branch {} in exec (test_live_at_once.py)"
    assert stories == {
        str(branch): [
            "→ Fetch",
            *([retried.format(branch)] if branch % 2 else []),
            "✓ Fetch  → default" + ("  2 attempts" if branch % 2 else ""),
            "→ Keep",
            f"✓ Keep  → kept {branch}",
            "✓",
        ]
        for branch in range(5)
    }


class Crowd(AsyncParallelBatchNode):
    async def prep_async(self, shared: dict[str, Any]) -> list[int]:
        return list(range(2000))

    async def exec_async(self, item: int) -> int:
        return item


def test_two_thousand_items_take_few_lines() -> None:
    lines = console_output(lambda: asyncio.run(Crowd().run_async({}))).splitlines()
    assert len(lines) < 60
    assert 1 <= sum("/2,000 items" in line for line in lines) <= 10  # Fewer on a quick machine.


def test_a_silence_is_long_after_ten_seconds() -> None:
    assert SILENCE == 10
