"""The live view: the text of whole runs, and the streams it may meet."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pocketflow
import pytest
from tests.support.steps import (
    FailsFirst,
    FallsBack,
    InParallel,
    Numbers,
    Rounds,
    RoundsAtOnce,
    Step,
    Waits,
    clock,
    named,
    nothing,
)
from tests.support.views import console_output, viewed

from pocketflow_otel import Config
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.instrument import naming


def ending(run: Any) -> Any:
    """Return a function that does `run()`, which fails."""

    def go() -> None:
        with suppress(KeyError, ValueError, ConnectionError):
            run()

    return go


def test_a_linear_flow_shows_starts_ends_actions_and_diffs() -> None:
    fetch = Step("FetchPage", 0.13, lambda shared: shared.update(html="<p>", url="/"))
    summarize = Step("Summarize", 0.3, lambda shared: shared.update(summary="short", url="/2"))
    save = Step("Save", 0.01, lambda shared: shared.pop("html") and "done")
    fetch >> summarize >> save
    flow = named(pocketflow.Flow(start=fetch), "summarize")

    expected = """\
  0.00s → Flow: summarize                                       run 20261122T193012Z-00000000
  0.00s   → FetchPage
  0.13s   ✓ FetchPage 0.13s  → default  +html +url
  0.13s   → Summarize
  0.43s   ✓ Summarize 0.30s  → default  +summary ~url
  0.43s   → Save
  0.44s   ✓ Save 0.01s  → done  −html
  0.44s ✓ Flow: summarize 0.44s
ok  0.44s · 3 steps
slowest Summarize 0.30s (68%)
"""
    assert console_output(lambda: flow.run({})) == expected


def test_nested_flows_are_indented_and_visits_are_counted() -> None:
    decide = Step("Decide", 0.1, lambda shared: shared.append(1) or ("stop" if len(shared) > 1 else "search"))
    lookup = named(pocketflow.Flow(start=Step("Search", 0.04)), "lookup")
    answer = Step("Answer", 0.2)
    decide - "search" >> lookup >> decide
    decide - "stop" >> answer
    flow = named(pocketflow.Flow(start=decide), "agent")

    expected = """\
  0.00s → Flow: agent                                           run 20261122T193012Z-00000000
  0.00s   → Decide
  0.10s   ✓ Decide 0.10s  → search
  0.10s   → Flow: lookup
  0.10s     → Search
  0.14s     ✓ Search 0.04s  → default
  0.14s   ✓ Flow: lookup 0.04s  → default
  0.14s   → Decide (visit 2)
  0.24s   ✓ Decide 0.10s  → stop
  0.24s   → Answer
  0.44s   ✓ Answer 0.20s  → default
  0.44s ✓ Flow: agent 0.44s
ok  0.44s · 4 steps
slowest Answer 0.20s (45%)
"""
    assert console_output(lambda: flow.run([])) == expected


def test_items_of_a_parallel_batch_are_labelled_and_counted_and_their_retries_shown() -> None:
    flow = named(pocketflow.AsyncFlow(start=InParallel()), "digest")

    expected = """\
  0.00s → Flow: digest                                          run 20261122T193012Z-00000000
  0.00s   → Summarize ×3 parallel
  0.10s     [2] ✓ 0.10s  (1/3)
  0.20s     [1] ↻ attempt 1/3 failed: ConnectionError: 429 in exec (steps.py); waiting 0.01s
  0.30s     [1] ✓ 0.30s  2 attempts  (2/3)
  0.40s     [0] ✓ 0.40s  (3/3)
  0.40s   ✓ Summarize 0.40s  → default  +summaries
  0.40s ✓ Flow: digest 0.40s
ok  0.40s · 1 step
"""
    assert console_output(lambda: asyncio.run(flow.run_async({}))) == expected


def test_a_failed_item_and_where_its_run_failed_are_shown() -> None:
    flow = named(pocketflow.Flow(start=Numbers("Check", [1, 13, 2])), "checks")

    expected = """\
  0.00s → Flow: checks                                          run 20261122T193012Z-00000000
  0.00s   → Check ×3
  0.10s     [0] ✓ 0.10s  (1/3)
  0.20s     [1] ✗ 0.10s  ValueError: unlucky (steps.py)  (2/3)
  0.20s   ✗ Check 0.20s  ValueError: unlucky in exec
  0.20s ✗ Flow: checks 0.20s  ValueError: unlucky
FAILED at Check.exec · 0.20s · 1 step (0 ok, 1 failed)
"""
    assert console_output(ending(lambda: flow.run({}))) == expected


def test_a_batch_that_is_a_generator_has_no_size() -> None:
    flow = named(pocketflow.Flow(start=Numbers("Check", (number for number in (1, 2)))), "checks")

    expected = """\
  0.00s → Flow: checks                                          run 20261122T193012Z-00000000
  0.00s   → Check
  0.10s     [0] ✓ 0.10s
  0.20s     [1] ✓ 0.10s
  0.20s   ✓ Check 0.20s  → default
  0.20s ✓ Flow: checks 0.20s
ok  0.20s · 1 step
"""
    assert console_output(lambda: flow.run({})) == expected


def test_items_beyond_the_limit_are_counted_and_shown_when_they_fail() -> None:
    flow = named(pocketflow.Flow(start=Numbers("Check", [1, 2, 3, 13])), "checks")

    expected = """\
  0.00s → Flow: checks                                          run 20261122T193012Z-00000000
  0.00s   → Check ×4
  0.10s     [0] ✓ 0.10s  (1/4)
  0.40s     [3] ✗ 0.10s  ValueError: unlucky (steps.py)  (4/4)
  0.40s   ✗ Check 0.40s  ValueError: unlucky in exec
  0.40s ✗ Flow: checks 0.40s  ValueError: unlucky
FAILED at Check.exec · 0.40s · 1 step (0 ok, 1 failed)
"""
    assert console_output(ending(lambda: flow.run({})), config=Config(max_batch_items=1)) == expected


def test_rounds_of_a_batch_flow_label_every_line() -> None:
    read = Step("Read", 0.1, lambda shared: "again" if shared.setdefault("reads", 0) else None)
    flow = named(Rounds(start=named(pocketflow.Flow(start=read), "files")), "all files")

    expected = """\
  0.00s → Flow: all files ×2                                    run 20261122T193012Z-00000000
  0.00s   [0] → Flow: files
  0.00s     [0] → Read
  0.10s     [0] ✓ Read 0.10s  → default  +reads
  0.10s   [0] ✓ Flow: files 0.10s  → default  (1/2)
  0.10s   [1] → Flow: files
  0.10s     [1] → Read
  0.20s     [1] ✓ Read 0.10s  → default
  0.20s   [1] ✓ Flow: files 0.10s  → default  (2/2)
  0.20s ✓ Flow: all files 0.20s
ok  0.20s · 2 steps
slowest Read 0.10s (50%)
"""
    assert console_output(lambda: flow.run({})) == expected


def test_rounds_at_once_can_be_told_apart() -> None:
    waits = named(Waits(), "Read")
    waits >> named(Waits(), "Write")
    flow = named(RoundsAtOnce(start=waits), "copies")

    expected = """\
  0.00s → Flow: copies ×2 parallel                              run 20261122T193012Z-00000000
  0.00s   [0] → Read
  0.00s   [1] → Read
  0.10s   [0] ✓ Read 0.10s  → default
  0.10s   [0] → Write
  0.20s   [1] ✓ Read 0.20s  → default
  0.20s   [1] → Write
  0.30s   [0] ✓ Write 0.20s  → default
  0.30s   [0] ✓ 0.30s  (1/2)
  0.40s   [1] ✓ Write 0.20s  → default
  0.40s   [1] ✓ 0.40s  (2/2)
  0.40s ✓ Flow: copies 0.40s
ok  0.40s · 4 steps
slowest Write 0.20s (50%)
"""
    assert console_output(lambda: asyncio.run(flow.run_async({}))) == expected


def test_attempts_and_fallbacks_are_shown() -> None:
    call = FailsFirst("CallLLM", 1, max_retries=2)
    backup = FallsBack("Guess", 9, max_retries=2)
    call >> backup
    flow = named(pocketflow.Flow(start=call), "ask")

    expected = """\
  0.00s → Flow: ask                                             run 20261122T193012Z-00000000
  0.00s   → CallLLM
  0.10s   ↻ attempt 1/2 failed: ConnectionError: 429 in exec (steps.py)
  0.20s   ✓ CallLLM 0.20s  → default  2 attempts
  0.20s   → Guess
  0.30s   ↻ attempt 1/2 failed: ConnectionError: 429 in exec (steps.py)
  0.40s   ↻ attempt 2/2 failed: ConnectionError: 429 in exec (steps.py)
  0.40s   ⚠ Guess 0.20s  → default  fallback after 2 attempts
  0.40s ✓ Flow: ask 0.40s
ok  0.40s · 2 steps (1 fell back)
slowest Guess 0.20s (50%)
"""
    assert console_output(lambda: flow.run({})) == expected


def test_a_node_that_repeats_itself_tells_where_each_attempt_failed() -> None:
    class Again(Step):
        def prep(self, shared: Any) -> None:
            self.fail_at("prep", shared)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            self.fail_at("post", shared)

        def fail_at(self, phase: str, failures: list[str]) -> None:
            if failures and failures[0] == phase:
                raise ConnectionError(failures.pop(0) and "busy")

        def _run(self, shared: Any) -> Any:
            while True:
                with suppress(ConnectionError):
                    return super()._run(shared)

    expected = """\
  0.00s → Save                                                  run 20261122T193012Z-00000000
  0.00s ↻ attempt 1 failed: ConnectionError: busy in prep (test_console_view.py)
  0.00s ↻ attempt 2 failed: ConnectionError: busy in prep (test_console_view.py)
  0.10s ↻ attempt 3 failed: ConnectionError: busy in post (test_console_view.py)
  0.20s ✓ Save 0.20s  → default  4 attempts
ok  0.20s · 1 step
"""
    run = Again("Save", 0.1, max_retries=2).run
    assert console_output(lambda: run(["prep", "prep", "post"])) == expected


def test_a_batch_that_is_repeated_has_no_more_items_than_there_are() -> None:
    class Again(pocketflow.BatchNode):
        def prep(self, shared: Any) -> Any:
            return shared["items"]

        def exec(self, prep_res: Any) -> Any:
            clock.advance(0.1)
            return prep_res.pop()

        def _run(self, shared: Any) -> Any:
            with suppress(IndexError):
                return super()._run(shared)
            shared["items"] = [[1], [2], [3]]
            return super()._run(shared)

    expected = """\
  0.00s → Again ×2                                              run 20261122T193012Z-00000000
  0.10s   [0] ✓ 0.10s  (1/2)
  0.20s   [1] ✗ 0.10s  IndexError: pop from empty list (test_console_view.py)  (2/2)
  0.30s   [2] ✓ 0.10s
  0.40s   [3] ✓ 0.10s
  0.50s   [4] ✓ 0.10s
  0.50s ⚠ Again 0.50s  → default  1 failed  ~items
ok  0.50s · 1 step (1 error)
"""
    assert console_output(lambda: Again().run({"items": [[1], []]})) == expected


def test_a_failure_names_the_node_and_the_phase_it_began_in() -> None:
    fetch, embed = Step("Fetch", 0.03), Step("Embed", 0.01, lambda shared: shared["chunks"])
    fetch >> named(pocketflow.Flow(start=embed), "index")
    flow = named(pocketflow.Flow(start=fetch), "ingest")

    expected = """\
  0.00s → Flow: ingest                                          run 20261122T193012Z-00000000
  0.00s   → Fetch
  0.03s   ✓ Fetch 0.03s  → default
  0.03s   → Flow: index
  0.03s     → Embed
  0.04s     ✗ Embed 0.01s  KeyError: 'chunks' in post (test_console_view.py)
              shared has: url
  0.04s   ✗ Flow: index 0.01s  KeyError: 'chunks'
  0.04s ✗ Flow: ingest 0.04s  KeyError: 'chunks'
FAILED at Embed.post · 0.04s · 2 steps (1 ok, 1 failed)
"""
    assert console_output(ending(lambda: flow.run({"url": "/"}))) == expected


def test_a_masked_error_shows_its_type_alone() -> None:
    flow = named(pocketflow.Flow(start=FailsFirst("Ask", 9, max_retries=2)), "ask")

    expected = """\
  0.00s → Flow: ask                                             run 20261122T193012Z-00000000
  0.00s   → Ask
  0.10s   ↻ attempt 1/2 failed: ConnectionError in exec (steps.py)
  0.20s   ✗ Ask 0.20s  ConnectionError in exec (steps.py)
  0.20s ✗ Flow: ask 0.20s  ConnectionError
FAILED at Ask.exec · 0.20s · 1 step (0 ok, 1 failed)
"""
    assert console_output(ending(lambda: flow.run({})), config=Config(mask_errors=True)) == expected


def test_an_action_without_a_way_is_said_to_lead_nowhere() -> None:
    decide = Step("Decide", 0.1, lambda shared: "retry")
    decide - "default" >> Step("A")
    decide - "done" >> Step("B")
    flow = named(pocketflow.Flow(start=decide), "judge")

    expected = """\
  0.00s → Flow: judge                                           run 20261122T193012Z-00000000
  0.00s   → Decide
  0.10s   ⚠ action 'retry' leads nowhere (known: default, done): flow ends here
  0.10s   ✓ Decide 0.10s  → retry
  0.10s ✓ Flow: judge 0.10s
ok  0.10s · 1 step
"""
    assert console_output(lambda: flow.run({})) == expected


def test_a_flow_without_a_name_says_where_it_starts_and_a_node_alone_is_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(naming, "flow_name", lambda flow, *, is_framework_class: None)

    def main() -> None:
        pocketflow.Flow(start=Step("GetQuestion", 0.01)).run({})
        Step("Alone", 0.02).run({})

    expected = """\
  0.00s → Flow (starts at GetQuestion)                          run 20261122T193012Z-00000000
  0.00s   → GetQuestion
  0.01s   ✓ GetQuestion 0.01s  → default
  0.01s ✓ Flow (starts at GetQuestion) 0.01s
ok  0.01s · 1 step
  0.00s → Alone                                                 run 20261122T193012Z-00000000
  0.02s ✓ Alone 0.02s  → default
ok  0.02s · 1 step
"""
    assert console_output(main) == expected


def test_runs_at_once_keep_their_own_clock_indentation_and_summary_and_say_which_they_are() -> None:
    async def both() -> None:
        flows = [named(pocketflow.AsyncFlow(start=named(Waits(), f"Wait {name}")), name) for name in "ab"]
        await asyncio.gather(*(flow.run_async({}) for flow in flows))

    expected = """\
  0.00s → Flow: a                                               run 20261122T193012Z-00000000
  0.00s   → Wait a
0000   0.00s → Flow: b                                               run 20261122T193012Z-00000000
0000   0.00s   → Wait b
0000   0.10s   ✓ Wait a 0.10s  → default
0000   0.10s ✓ Flow: a 0.10s
0000 ok  0.10s · 1 step
0000   0.20s   ✓ Wait b 0.20s  → default
0000   0.20s ✓ Flow: b 0.20s
0000 ok  0.20s · 1 step
"""
    assert console_output(lambda: asyncio.run(both())) == expected


def test_more_than_five_changed_keys_are_counted() -> None:
    flow = named(
        pocketflow.Flow(start=Step("Fill", 0, lambda shared: shared.update(dict.fromkeys("abcdefgh")))), "f"
    )

    line = "  0.00s   ✓ Fill 0.00s  → default  +a +b +c +d +e (+3 more)"
    assert line in console_output(lambda: flow.run({})).splitlines()


def test_spans_of_others_have_no_line_and_steps_below_them_stay_in_place() -> None:
    inner = named(pocketflow.Flow(start=Step("Inner", 0.1)), "inner")

    def outer(shared: Any) -> None:
        with captured.provider.get_tracer("llm").start_as_current_span("chat"):
            inner.run({})

    flow = named(pocketflow.Flow(start=Step("Outer", 0, outer)), "outer")
    stream = io.StringIO()
    with viewed(ConsoleView("live", stream)) as captured:
        flow.run({})

    expected = """\
  0.00s → Flow: outer                                           run 20261122T193012Z-00000000
  0.00s   → Outer
  0.00s     → Flow: inner
  0.00s       → Inner
  0.10s       ✓ Inner 0.10s  → default
  0.10s     ✓ Flow: inner 0.10s  → default
  0.10s   ✓ Outer 0.10s  → default
  0.10s ✓ Flow: outer 0.10s
ok  0.10s · 2 steps
slowest Outer 0.10s (100%)
"""
    assert stream.getvalue() == expected


def test_the_summary_is_the_last_two_lines_and_off_is_none() -> None:
    flow = named(pocketflow.Flow(start=Step("A", 0.1)), "f")

    assert console_output(lambda: flow.run({}), mode="summary") == "ok  0.10s · 1 step\n"
    assert console_output(lambda: flow.run({}), mode="off") == ""


def test_the_trace_file_is_named_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    flow = named(pocketflow.Flow(start=Step("A", 0.1)), "f")
    folder = tmp_path / "traces"
    saved, summary = io.StringIO(), io.StringIO()
    with viewed(FileView("all", folder), ConsoleView("saved", saved), ConsoleView("summary", summary)):
        flow.run({})

    assert saved.getvalue() == "Trace saved: ~/traces/20261122T193012Z-00000000.json\n"
    expected = """\
ok  0.10s · 1 step
trace ~/traces/20261122T193012Z-00000000.json
"""
    assert summary.getvalue() == expected


def test_text_from_a_flow_cannot_drive_the_terminal() -> None:
    evil, shown = "\x1b[2J\r\n\u202eevil", r"\x1b[2J\r\n\u202eevil"
    asks = Step(evil, 0, lambda shared: shared.update({evil: 1}) or evil)
    asks - f"{evil}!" >> Step("never")
    fails = FailsFirst("Fails", 9, evil, max_retries=2)

    def main() -> None:
        named(pocketflow.Flow(start=asks), evil).run({})
        with suppress(ConnectionError):
            fails.run({})

    expected = f"""\
  0.00s → Flow: {shown}                           run 20261122T193012Z-00000000
  0.00s   → {shown}
  0.00s   ⚠ action '{shown}' leads nowhere (known: {shown}!): flow ends here
  0.00s   ✓ {shown} 0.00s  → {shown}  +{shown}
  0.00s ✓ Flow: {shown} 0.00s
ok  0.00s · 1 step
  0.00s → Fails                                                 run 20261122T193012Z-00000000
  0.10s ↻ attempt 1/2 failed: ConnectionError: {shown} in exec (steps.py)
  0.20s ✗ Fails 0.20s  ConnectionError: {shown} in exec (steps.py)
FAILED at Fails.exec · 0.20s · 1 step (0 ok, 1 failed)
"""
    assert console_output(main) == expected


# The streams it may meet.


def run_one(stream: Any) -> None:
    with viewed(ConsoleView("live", stream)):
        named(pocketflow.Flow(start=Step("Größe", 0.1)), "f").run({})


class Raises(io.StringIO):
    def write(self, text: str) -> int:
        raise RuntimeError("no")


class Strange:
    """Has nothing of a stream but `write`, and an encoding that is no name of one."""

    encoding = 8
    isatty = None

    def write(self, text: str) -> None:
        self.text = text


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "make", [closed, Raises, Strange, object], ids=["closed", "raises", "strange", "object"]
)
def test_a_stream_that_cannot_be_written_costs_nothing_but_the_lines(make: Any) -> None:
    run_one(make())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_costs_nothing_but_the_lines() -> None:
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - closing it fails
    run_one(full)
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_a_broken_pipe_costs_nothing_but_the_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    pipe = os.fdopen(writing, "w", encoding="utf-8")
    run_one(pipe)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_no_stderr_at_all_costs_nothing_but_the_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    run_one(None)

    assert capsys.readouterr() == ("", "")


def test_nothing_is_written_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run_one(None)
    out, err = capsys.readouterr()

    assert out == ""
    assert "Flow: f" in err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_stream_without_the_symbols_gets_ascii(encoding: str) -> None:
    raw = io.BytesIO()
    run_one(io.TextIOWrapper(raw, encoding=encoding))

    expected = """\
  0.00s -> Flow: f                                               run 20261122T193012Z-00000000
  0.00s   -> Gr\\xf6\\xdfe
  0.10s   ok Gr\\xf6\\xdfe 0.10s  -> default
  0.10s ok Flow: f 0.10s
ok  0.10s | 1 step
"""
    assert raw.getvalue().decode("ascii") == expected


class Counts(io.StringIO):
    """Counts writes, and what is written but not flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.waiting = 0

    def write(self, text: str) -> int:
        self.writes += 1
        self.waiting += 1
        return super().write(text)

    def flush(self) -> None:
        self.waiting = 0


def test_each_line_is_one_write_and_flushed() -> None:
    stream = Counts()
    run_one(stream)

    assert (stream.writes, stream.waiting) == (len(stream.getvalue().splitlines()), 0)


def test_lines_of_threads_are_whole() -> None:
    stream = io.StringIO()
    with viewed(ConsoleView("live", stream)):
        flows = [named(pocketflow.Flow(start=Step(f"N{number}")), f"F{number}") for number in range(8)]
        threads = [threading.Thread(target=flow.run, args=({},)) for flow in flows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lines = [re.sub(r"^(\w{4} )?( +[\d.]+s )?", "", line) for line in stream.getvalue().splitlines()]
    expected = [
        line
        for name in range(8)
        for line in (f"→ Flow: F{name}", f"  → N{name}", f"  ✓ N{name} ", f"✓ Flow: F{name} ", "ok  ")
    ]
    assert sorted(re.sub(r"\d\.\d\ds.*| +run .*", "", line) for line in lines) == sorted(expected)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PLAIN, COLOUR = "ok  0.00s · 1 step\n", "\x1b[32mok\x1b[0m  0.00s · 1 step\n"


@pytest.mark.parametrize(
    ("variables", "stream", "expected"),
    [
        ({}, Terminal, COLOUR),
        ({}, io.StringIO, PLAIN),
        ({"NO_COLOR": "1"}, Terminal, PLAIN),
        ({"NO_COLOR": ""}, Terminal, COLOUR),
        ({"FORCE_COLOR": "1"}, io.StringIO, COLOUR),
        ({"FORCE_COLOR": ""}, io.StringIO, PLAIN),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, io.StringIO, COLOUR),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal, PLAIN),
        ({"TERM": "dumb"}, Terminal, PLAIN),
    ],
)
def test_colour_follows_no_color_force_color_and_the_terminal_in_this_order(
    variables: dict[str, str], stream: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    written = stream()
    with viewed(ConsoleView("summary", written)):
        pocketflow.Flow(start=Step("A")).run({})

    assert written.getvalue() == expected


def test_a_flow_that_replaces_stderr_finds_nothing_of_ours_in_it() -> None:
    stream, captured = io.StringIO(), io.StringIO()

    def redirect(shared: Any) -> None:
        sys.stderr = captured

    before = sys.stderr
    sys.stderr = stream
    try:
        with viewed(ConsoleView("live")):
            first = Step("A", 0, redirect)
            first >> Step("B", 0, nothing)
            pocketflow.Flow(start=first).run({})
    finally:
        sys.stderr = before

    assert captured.getvalue() == ""
    assert "→ B" in stream.getvalue()


# Many items, long silences, narrow terminals, unfinished lines.


class Some(Numbers):
    """Takes a hundredth of a second for each number."""

    def exec(self, number: int) -> None:
        clock.advance(0.01)
        if number == 13:
            raise ValueError("unlucky")


def test_of_more_than_twenty_items_progress_is_shown_and_failures() -> None:
    flow = named(pocketflow.Flow(start=Some("Check", [*range(20, 49), 13])), "checks")

    expected = """\
  0.00s → Flow: checks                                          run 20261122T193012Z-00000000
  0.00s   → Check ×30
  0.10s     · 10/30 items 0.10s
  0.20s     · 20/30 items 0.20s
  0.30s     [29] ✗ 0.01s  ValueError: unlucky (test_console_view.py)  (30/30)
  0.30s     · 30/30 items 0.30s · 1 failed
  0.30s   ✗ Check 0.30s  ValueError: unlucky in exec
  0.30s ✗ Flow: checks 0.30s  ValueError: unlucky
FAILED at Check.exec · 0.30s · 1 step (0 ok, 1 failed)
"""
    assert console_output(ending(lambda: flow.run({}))) == expected


def test_of_a_generator_with_many_items_progress_is_shown_when_the_number_has_doubled() -> None:
    flow = named(pocketflow.Flow(start=Some("Check", iter(range(20, 120)))), "checks")
    lines = console_output(lambda: flow.run({})).splitlines()

    assert sum("✓" in line and "[" in line for line in lines) == 20
    assert [line.split("· ")[1] for line in lines if " · " in line and "items" in line] == [
        "40 items 0.40s",
        "80 items 0.80s",
        "100 items 1.00s",
    ]


def test_after_a_long_silence_the_view_says_what_is_still_running() -> None:
    # A silence before the step begins is a line, too.
    says_it = re.compile(r"… still running: Waits\\n \d+s")
    said = threading.Event()

    class Listens(io.StringIO):
        def write(self, text: str) -> int:
            if says_it.fullmatch(text.removesuffix("\n")):
                said.set()
            return super().write(text)

    class Waits(Step):
        def exec(self, prep_res: Any) -> None:
            said.wait(60)

    with viewed(ConsoleView("live", Listens(), silence=0.02)):
        named(pocketflow.Flow(start=Waits("Waits\n")), "flow").run({})

    assert said.is_set()


class Narrow(Terminal):
    """A terminal of 40 columns, which has no file descriptor but that of /dev/null."""

    def fileno(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            40,
            [
                "→ Flow: flow",
                "  → A rather long name of a step, which…",
                "  ✓ A rather long name of a step, which…",
                "  → B",
                "  ✓ B 0.10s  → default  +7",
                "✓ Flow: flow 0.20s",
            ],
        ),
        (
            70,
            [
                "  0.00s → Flow: flow                     run 20261122T193012Z-00000000",
                "  0.00s   → A rather long name of a step, which no terminal could show",
                "  0.10s   ✓ A rather long name of a step, which no terminal could sho…",
                "  0.10s   → B",
                "  0.20s   ✓ B 0.10s  → default  +a +b +c +d +e (+2 more)",
                "  0.20s ✓ Flow: flow 0.20s",
            ],
        ),
    ],
)
def test_on_a_terminal_lines_are_cut_and_below_sixty_columns_kept_short(
    columns: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((columns, 24)))
    stream = Narrow()
    first = Step("A rather long name of a step, which no terminal could show", 0.1)
    first >> Step("B", 0.1, lambda shared: shared.update(dict.fromkeys("abcdefg")))
    with viewed(ConsoleView("live", stream)):
        named(pocketflow.Flow(start=first), "flow").run({})

    assert stream.getvalue().splitlines()[:6] == expected


def test_a_line_that_somebody_else_left_unfinished_is_left_alone() -> None:
    stream = io.StringIO()
    view = ConsoleView("live", stream)
    first = Step("A", 0, lambda shared: stream.write("50%") and None)
    first >> Step("B", 0, lambda shared: stream.write("whole\n") and None)
    with viewed(view):
        named(pocketflow.Flow(start=first), "flow").run({})

    lines = [
        re.sub(r"^ +[\d.]+s | \d\.\d\ds.*| +run .*", "", line) for line in stream.getvalue().splitlines()
    ]
    assert lines[:7] == ["→ Flow: flow", "  → A", "50%", "  ✓ A", "  → B", "whole", "  ✓ B"]
