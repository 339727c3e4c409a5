"""Each thing is said once: rounds, visits, retries, progress; and batches are called what they were."""

from __future__ import annotations

import asyncio
import contextvars
import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pocketflow
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.support.steps import FallsBack, RoundsAtOnce, Step, Waits, clock, named
from tests.support.views import console_output, viewed

from pocketflow_otel import Config, ConsoleSpanExporter
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.traces.reader import read
from pocketflow_otel.views.styled_text import render
from pocketflow_otel.views.tree import tree_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def both(run: Callable[[], object], config: Config | None = None) -> list[str]:
    """Return the lines of the live view, which must be those of a finished run too."""
    live, exported = io.StringIO(), io.StringIO()
    with (
        # The clock of these runs is their own.
        patch("pocketflow_otel.export.console.console_view.MIN_INTERVAL", 60.0),
        viewed(ConsoleView("live", live), config=config) as captured,
    ):
        captured.provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(exported)))
        run()
    assert exported.getvalue() == live.getvalue()
    return re.sub(r"(\w+\.py):\d+", r"\1", live.getvalue()).splitlines()


# Marks of runs


def test_a_run_once_marked_keeps_its_mark_until_its_end() -> None:
    class Pause(pocketflow.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await asyncio.sleep(0.02 * self.params["times"])

    async def one(times: int) -> None:
        first = named(Pause(), f"First of {times}")
        first >> named(Pause(), f"Last of {times}")
        flow = named(pocketflow.AsyncFlow(start=first), f"run of {times}")
        flow.set_params({"times": times})
        await flow.run_async({})

    async def main() -> None:
        await asyncio.gather(one(1), one(4))
        await one(0)

    lines = console_output(lambda: asyncio.run(main())).splitlines()
    marked = [line for line in lines if not line.startswith(" ")]
    of_the_second = [line for line in lines if "of 4" in line]
    assert all(line.startswith("0000 ") for line in of_the_second)
    assert [line for line in lines if line.startswith("0000 ok")] != []
    # The first one was alone at its beginning, and so is a run that comes later.
    assert [re.sub(r" +run 2.*", "", line) for line in lines if line not in marked] == [
        "  0.00s → Flow: run of 1",
        "  0.00s   → First of 1",
        "  0.00s → Flow: run of 0",
        "  0.00s   → First of 0",
        "  0.00s   ✓ First of 0 0.00s  → default",
        "  0.00s   → Last of 0",
        "  0.00s   ✓ Last of 0 0.00s  → default",
        "  0.00s ✓ Flow: run of 0 0.00s",
    ]


# Visits of nested flows


def test_visits_of_a_nested_flow_are_counted_as_those_of_nodes_are() -> None:
    lookup = named(pocketflow.Flow(start=Step("Search")), "lookup")
    decide = Step("Decide", 0, lambda shared: shared.append(1) or ("again" if len(shared) < 3 else "done"))
    lookup >> decide
    decide - "again" >> lookup
    decide - "done" >> Step("Answer")

    lines = both(lambda: named(pocketflow.Flow(start=lookup), "agent").run([]))

    assert [line.split("→ ")[1] for line in lines if "→ Flow: lookup" in line] == [
        "Flow: lookup",
        "Flow: lookup (visit 2)",
        "Flow: lookup (visit 3)",
    ]


# Rounds


class Files(pocketflow.BatchFlow):
    size = 3

    def prep(self, shared: Any) -> list[dict[str, int]]:
        return [{"number": number} for number in range(self.size)]


def test_a_round_of_one_step_is_told_by_that_steps_line() -> None:
    flow = named(Files(start=Step("Read", 0.1)), "files")

    expected = """\
  0.00s → Flow: files ×3                                        run 20261122T193012Z-00000000
  0.00s   [0] → Read
  0.10s   [0] ✓ Read 0.10s  → default  (1/3)
  0.10s   [1] → Read
  0.20s   [1] ✓ Read 0.10s  → default  (2/3)
  0.20s   [2] → Read
  0.30s   [2] ✓ Read 0.10s  → default  (3/3)
  0.30s ✓ Flow: files 0.30s
ok  0.30s · 3 steps
slowest Read 0.10s (33%)"""
    assert both(lambda: flow.run({})) == expected.splitlines()


def test_a_round_that_is_one_nested_flow_is_told_by_its_line_and_one_of_several_steps_by_its_own() -> None:
    first = Step("Read", 0.1)
    first >> Step("Save", 0.1)
    flow = named(Files(start=named(pocketflow.Flow(start=first), "file")), "files")
    flow.size = 1
    plain = named(Files(start=first), "plain")
    plain.size = 1

    nested = both(lambda: flow.run({}))
    of_steps = both(lambda: plain.run({}))

    assert [line for line in nested if "(1/1)" in line] == [
        "  0.20s   [0] ✓ Flow: file 0.20s  → default  (1/1)"
    ]
    assert [line for line in of_steps if "[0] ✓" in line] == [
        "  0.10s   [0] ✓ Read 0.10s  → default",
        "  0.20s   [0] ✓ Save 0.10s  → default",
        "  0.20s   [0] ✓ 0.20s  (1/1)",
    ]


def test_a_round_whose_only_step_fails_is_told_once_with_the_hint() -> None:
    flow = named(Files(start=Step("Read", 0.1, lambda shared: shared["text"])), "files")

    def run() -> None:
        with suppress(KeyError):
            flow.run({"url": 1})

    assert both(run)[2:5] == [
        "  0.10s   [0] ✗ Read 0.10s  KeyError: 'text' in post (test_live_lines.py)  (1/3)",
        "            [0] shared has: url",
        "  0.10s ✗ Flow: files 0.10s  KeyError: 'text'",
    ]


def test_rounds_at_once_of_one_step_are_told_once_each() -> None:
    flow = named(RoundsAtOnce(start=named(Waits(), "Read")), "copies")

    lines = both(lambda: asyncio.run(flow.run_async({})))

    assert [line[8:] for line in lines if "[" in line] == [
        "  [0] → Read",
        "  [1] → Read",
        "  [0] ✓ Read 0.10s  → default  (1/2)",
        "  [1] ✓ Read 0.20s  → default  (2/2)",
    ]


def test_a_step_that_goes_on_after_what_looked_like_the_end_of_its_round_is_no_round() -> None:
    """A flow that finds its next node by itself: no successor says that a step follows."""

    class Again(Files):
        size = 1

        def get_next_node(self, curr: Any, action: Any) -> Any:
            return None if curr.name == "Second" else Step("Second", 0.1)

    lines = both(lambda: named(Again(start=Step("First", 0.1)), "files").run({}))

    assert [line for line in lines if "[0] ✓" in line] == [
        "  0.10s   [0] ✓ First 0.10s  → default",
        "  0.20s   [0] ✓ Second 0.10s  → default",
        "  0.20s   [0] ✓ 0.20s  (1/1)",
    ]


def test_a_round_that_fails_after_its_only_step_went_well_says_so() -> None:
    class Lost(Files):
        def get_next_node(self, curr: Any, action: Any) -> Any:
            raise LookupError("no way")

    def run() -> None:
        with suppress(LookupError):
            named(Lost(start=Step("Read", 0.1)), "files").run({})

    lines = both(run)
    assert lines[2] == "  0.10s   [0] ✓ Read 0.10s  → default"
    assert lines[3].startswith("  0.10s   [0] ✗ 0.10s  LookupError: no way")


# Retries and progress


class Calls(pocketflow.AsyncParallelBatchNode):
    """Items that fail at their first attempt, but for each third, a tenth of a millisecond apart."""

    size = 30
    message = "429: too many requests (request req_{0}f8a2b{0})"

    async def prep_async(self, shared: Any) -> list[int]:
        self.seen: set[int] = set()
        return list(range(self.size))

    async def exec_async(self, item: int) -> int:
        clock.advance(0.0001)
        if item % 3 and item not in self.seen:
            self.seen.add(item)
            raise ConnectionError(self.message.format(item))
        return item


def calls(**options: Any) -> Any:
    node = Calls(max_retries=3, wait=0.001)
    for name, value in options.items():
        setattr(node, name, value)
    return named(pocketflow.AsyncFlow(start=node), "calls")


def test_twenty_retries_at_once_are_one_line_and_one_that_says_how_many_more() -> None:
    lines = both(lambda: asyncio.run(calls().run_async({})))

    retries = [line for line in lines if "↻" in line]
    assert len(retries) == 1
    assert "[1] ↻ attempt 1/3 failed: ConnectionError: 429: too many requests" in retries[0]
    more = [line for line in lines if "more items" in line]
    assert more == ["            … 19 more items like [1]: [2] [4] [5] [7] [8] (+14 more)"]


def test_of_few_items_their_own_lines_stay() -> None:
    lines = both(lambda: asyncio.run(calls(size=6).run_async({})))

    assert sum("↻" in line for line in lines) == 1
    assert "            … 3 more items like [1]: [2] [4] [5]" in lines
    assert sum(bool(re.search(r"\[\d\] ✓", line)) for line in lines) == 6


def test_retries_that_say_something_different_have_lines_of_their_own() -> None:
    class Different(Calls):
        async def exec_async(self, item: int) -> int:
            if item not in self.seen:
                self.seen.add(item)
                raise ConnectionError(f"{(429, 503, 'quota exceeded')[item % 3]}: item {item}")
            return item

    node = Different(max_retries=3, wait=0.001)
    node.size = 9
    flow = named(pocketflow.AsyncFlow(start=node), "calls")

    lines = both(lambda: asyncio.run(flow.run_async({})))

    assert [re.sub(r".*Error: | in exec.*", "", line) for line in lines if "↻" in line] == [
        "429: item 0",
        "503: item 1",
        "quota exceeded: item 2",
    ]
    assert [line.strip() for line in lines if "more items" in line] == [
        "… 2 more items like [0]: [3] [6]",
        "… 2 more items like [1]: [4] [7]",
        "… 2 more items like [2]: [5] [8]",
    ]


def test_retries_that_come_later_have_a_line_again() -> None:
    class Slow(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(4)

        def exec(self, item: int) -> int:
            clock.advance(0.06)
            if self.cur_retry == 0:
                raise ConnectionError("429")
            return item

    lines = both(lambda: named(Slow(max_retries=2), "Slow").run({}))

    assert [line for line in lines if "↻" in line or "more item" in line] == [
        f"  {at}s   [{item}] ↻ attempt 1/2 failed: ConnectionError: 429 in exec (test_live_lines.py)"
        for at, item in (("0.06", 0), ("0.18", 1), ("0.30", 2), ("0.42", 3))
    ]


def test_each_attempt_of_many_items_is_told_apart() -> None:
    class Falls(FallsBack, pocketflow.BatchNode):  # type: ignore[misc]
        def prep(self, shared: Any) -> Any:
            return range(3)

        def exec(self, item: int) -> None:
            raise ConnectionError("429")

    lines = both(lambda: Falls("Guess", 9, max_retries=2).run({}))

    assert [re.sub(r" failed.*", "", line).strip() for line in lines if "↻" in line or "…" in line] == [
        "0.00s   [0] ↻ attempt 1/2",
        "0.00s   [0] ↻ attempt 2/2",
        "… 2 more items like [0]: [1] [2]",
        "… 2 more items like [0], attempt 2/2: [1] [2]",
    ]


@pytest.mark.parametrize(("size", "retries"), [(5, 5), (25, 1)])
def test_retries_in_many_rounds_are_one_line_and_few_rounds_tell_their_own(size: int, retries: int) -> None:
    class Asks(pocketflow.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            if self.params["number"] not in seen:
                seen.add(self.params["number"])
                raise ConnectionError(f"429 in round {self.params['number']}")

    class Rounds(pocketflow.AsyncParallelBatchFlow):
        async def prep_async(self, shared: Any) -> Any:
            return [{"number": number} for number in range(size)]

    seen: set[int] = set()
    flow = named(Rounds(start=Asks(max_retries=2, wait=0.001)), "rounds")

    lines = both(lambda: asyncio.run(flow.run_async({})))

    assert sum("↻" in line for line in lines) == retries
    more = ["          … 24 more items like [0]: [1] [2] [3] [4] [5] (+19 more)"]
    assert [line for line in lines if "more items" in line] == (more if retries == 1 else [])


class Tells(io.StringIO):
    """Sets an event when it has been said of so many more that they failed."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self.expected = expected
        self.said = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.more == self.expected:
            self.said.set()
        return written

    @property
    def more(self) -> int:
        return sum(map(int, re.findall(r"… (\d+) more items? like", self.getvalue())))


def test_how_many_more_is_said_shortly_after_though_nothing_else_happens() -> None:
    stream = Tells(8)

    class Stuck(Calls):
        async def exec_async(self, item: int) -> int:
            raise ConnectionError("429")

    async def main() -> None:
        node = Stuck(max_retries=2, wait=60)
        node.size = 9
        running = asyncio.ensure_future(node.run_async({}))
        assert await asyncio.to_thread(stream.said.wait, 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with viewed(ConsoleView("live", stream)):
        asyncio.run(main())

    assert stream.getvalue().count("like [0]: [1]") == 1


def test_threads_that_fail_at_once_lose_no_retry() -> None:
    stream = io.StringIO()
    start = threading.Barrier(8)

    class Pool(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(400)

        def exec(self, item: int) -> int:
            raise ConnectionError("429")

        def exec_fallback(self, item: int, error: Exception) -> int:
            return item

        def _exec(self, items: Any) -> Any:
            def work(part: int) -> None:
                start.wait()
                for item in range(part, 400, 8):
                    pocketflow.Node._exec(self, item)

            with ThreadPoolExecutor(8) as pool:
                for done in [pool.submit(contextvars.copy_context().run, work, part) for part in range(8)]:
                    done.result()

    with (
        patch("pocketflow_otel.export.console.console_view.MIN_INTERVAL", 0.0001),
        viewed(ConsoleView("live", stream), config=Config(max_batch_items=1000)),
    ):
        Pool(max_retries=1).run({})

    for thread in threading.enumerate():  # One that has taken what it is to say may not have said it yet.
        if isinstance(thread, threading.Timer) and thread.interval == 0.0001:
            thread.join()
    lines = stream.getvalue().splitlines()
    more = [int(found[1]) for line in lines if (found := re.search(r"… (\d+) more items? like", line))]
    assert sum("↻" in line for line in lines) + sum(more) == 400


def test_progress_is_not_told_again_within_a_moment_and_the_last_word_always_is() -> None:
    class Quick(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return self.items

        def exec(self, item: int) -> None:
            clock.advance(0.0002 if item < 50 else 0.05)

    node = Quick()
    node.items = range(40)
    assert [line.split("· ")[1] for line in both(lambda: node.run({})) if "/40 items" in line] == [
        "40/40 items 0.01s"
    ]
    node.items = range(60)
    assert [line.split("· ")[1] for line in both(lambda: node.run({})) if "/60 items" in line] == [
        "52/60 items 0.11s",
        "54/60 items 0.21s",
        "60/60 items 0.51s",
    ]
    node.items = iter(range(45))
    assert [line.split("· ")[1] for line in both(lambda: node.run({})) if "45 items" in line] == [
        "45 items 0.01s"
    ]


def test_a_batch_that_is_left_early_says_how_far_it_came() -> None:
    class Breaks(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(100)

        def exec(self, item: int) -> None:
            if item == 57:
                raise ValueError("no")

    def run() -> None:
        with suppress(ValueError):
            Breaks().run({})

    assert "  0.00s   · 58/100 items 0.00s · 1 failed" in both(run)


def test_items_without_a_span_are_counted_in_the_last_word_of_saved_runs_too() -> None:
    class Quick(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(300)

    lines = both(lambda: Quick().run({}))
    assert [line.split("· ")[1].split(" items")[0] for line in lines if "/300 items" in line] == ["300/300"]


# Others wrote too


class Writes(pocketflow.AsyncNode):
    async def exec_async(self, prep_res: Any) -> None:
        await asyncio.sleep(0)

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared[f"key {self.name} {self.params.get('file')}"] = 1


def test_that_others_wrote_too_is_said_once_a_flow() -> None:
    def copies(name: str) -> Any:
        first = named(Writes(), f"{name}1")
        first >> named(Writes(), f"{name}2")
        return named(RoundsAtOnce(start=first), name)

    start = copies("a")
    start >> copies("b")
    flow = named(pocketflow.AsyncFlow(start=start), "f")

    lines = both(lambda: asyncio.run(flow.run_async({})))

    with_it = [line for line in lines if "others wrote too" in line]
    assert [re.sub(r".*✓ (\w+) .*", r"\1", line) for line in with_it] == ["a1", "b1"]


def test_nested_flows_in_rounds_at_once_say_it_once_together() -> None:
    inner = named(pocketflow.AsyncFlow(start=named(Writes(), "W")), "inner")
    flow = named(RoundsAtOnce(start=inner), "outer")

    lines = both(lambda: asyncio.run(flow.run_async({})))

    assert sum("others wrote too" in line for line in lines) == 1


# What ran at once


class Gathers(pocketflow.AsyncBatchNode):
    """A sequential batch by its class, whose own `_exec` runs the items at once."""

    async def prep_async(self, shared: Any) -> Any:
        return [0, 1, 2]

    async def exec_async(self, item: int) -> int:
        await asyncio.sleep(0.001)
        return item

    async def _exec(self, items: Any) -> Any:
        return await asyncio.gather(*(pocketflow.AsyncNode._exec(self, item) for item in items))


class Pools(pocketflow.BatchNode):
    def prep(self, shared: Any) -> Any:
        self.together = threading.Barrier(3)
        return [0, 1, 2]

    def exec(self, item: int) -> int:
        self.together.wait(30)
        return item

    def _exec(self, items: Any) -> Any:
        with ThreadPoolExecutor(3) as pool:
            done = [
                pool.submit(contextvars.copy_context().run, pocketflow.Node._exec, self, item)
                for item in items
            ]
            return [future.result() for future in done]


class GathersRounds(pocketflow.AsyncBatchFlow):
    async def prep_async(self, shared: Any) -> Any:
        return [{"file": "a"}, {"file": "b"}]

    async def _run_async(self, shared: Any) -> Any:
        rounds = await self.prep_async(shared)
        await asyncio.gather(*(self._orch_async(shared, params) for params in rounds))
        return await self.post_async(shared, rounds, None)


class BlocksParallel(pocketflow.AsyncParallelBatchNode):
    async def prep_async(self, shared: Any) -> Any:
        return [0, 1]


@pytest.mark.parametrize(
    ("run", "size"),
    [
        (lambda: asyncio.run(Gathers().run_async({})), 3),
        (lambda: Pools().run({}), 3),
        (lambda: asyncio.run(GathersRounds(start=named(Writes(), "W")).run_async({})), 2),
    ],
    ids=["gather", "pool", "rounds"],
)
def test_items_that_overlapped_are_parallel_whatever_their_class(
    run: Callable[[], object], size: int
) -> None:
    live, exported = io.StringIO(), io.StringIO()
    with viewed(ConsoleView("live", live)) as captured:
        captured.provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(exported)))
        run()

    (batch,) = [span for span in captured.spans if "pocketflow.batch.mode" in span.attributes]
    assert batch.attributes["pocketflow.batch.mode"] == "parallel"
    # Live, nobody knows that when it begins: the line of the end says it, once.
    assert live.getvalue().count("parallel") == exported.getvalue().count("parallel") == 1
    assert re.search(rf"→ .* ×{size} parallel", exported.getvalue())
    assert re.search(r"✓ \S.* parallel", live.getvalue())


def test_items_one_after_the_other_are_sequential_and_a_parallel_class_stays_what_it_is() -> None:
    with viewed() as captured:
        Files(start=Step("Read")).run({})
        asyncio.run(BlocksParallel().run_async({}))

    modes = [span.attributes.get("pocketflow.batch.mode") for span in captured.spans]
    assert [mode for mode in modes if mode] == ["sequential", "parallel"]


# The tree of a saved run


def test_show_counts_visits_of_nested_flows_and_says_once_a_flow_that_others_wrote_too(
    tmp_path: Path,
) -> None:
    first = named(Writes(), "W1")
    first >> named(Writes(), "W2")
    copies = named(RoundsAtOnce(start=named(pocketflow.AsyncFlow(start=first), "copy")), "copies")
    decide = Step("Decide", 0, lambda shared: "done" if "n" in shared else shared.update(n=1))
    copies >> decide >> copies
    decide - "done" >> Step("End")
    flow = named(pocketflow.AsyncFlow(start=copies), "f")
    with viewed(FileView("all", tmp_path)):
        asyncio.run(flow.run_async({}))

    (path,) = tmp_path.iterdir()
    lines = [render(line) for line in tree_lines(read(path))]
    assert [re.sub(r"^[├─ ✓]+|  .*", "", line) for line in lines if line.startswith(("├─", "└─"))] == [
        "Flow: copies ×2 parallel",
        "Decide",
        "Flow: copies (visit 2) ×2 parallel",
        "Decide (visit 2)",
        "└─ ✓ End",
    ]
    remarks = [line for line in lines if "others wrote too" in line]
    assert len(remarks) == 1
    assert "✓ Flow: copy " in remarks[0]
