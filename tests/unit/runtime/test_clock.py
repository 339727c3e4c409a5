"""The clock of a run goes on from the time of day at which the run began, whatever becomes of that."""

from __future__ import annotations

import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.instrumented import Ask, Store, Talk
from tests.support.outputs import show

from pocketflow_otel.runtime.clock import RunClock
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3600 * 10**9
CLOCKS = ("time", "monotonic", "perf_counter")


def test_a_clock_begins_at_the_time_of_day_and_follows_the_monotonic_one() -> None:
    clock = RunClock(lambda: 1_000_000, count(500, 10).__next__)
    assert [clock.now() for _ in range(3)] == [1_000_010, 1_000_020, 1_000_030]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_clock_that_is_set_amid_a_run_makes_no_step_of_hours(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    real = time.time_ns

    class Sets(Ask):
        def exec(self, prep_res: Any) -> str:
            monkeypatch.setattr(time, "time_ns", lambda: real() + step)
            return "answer"

        def post(self, shared: Store, prep_res: Any, exec_res: Any) -> None:
            shared["answer"] = exec_res

    sets = Sets()
    sets >> Ask()
    with capture_spans(fixed=False) as captured:
        Talk(start=sets).run({})
    times = [(span.start_time or 0, span.end_time or 0) for span in captured.spans]
    (begun, ended), root = times[0], times[-1]
    assert all(0 <= end - start < HOUR // 2 for start, end in times)
    assert begun < ended
    assert all(root[0] <= start <= end <= root[1] for start, end in times)


def test_the_clocks_that_a_program_is_tested_with_are_asked_by_the_program_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import time

    def asked(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def clock(*args: Any) -> Any:
            callers.append((name, sys._getframe(1).f_globals["__name__"]))
            return real(*args)

        return clock

    callers: list[tuple[str, str]] = []
    with capture_spans(fixed=False) as captured:
        show(captured.provider, console="live", file="all", directory=tmp_path)
        for name in (
            "time",
            "time_ns",
            "monotonic",
            "monotonic_ns",
            "perf_counter",
            "perf_counter_ns",
            "sleep",
        ):
            monkeypatch.setattr(time, name, asked(name, getattr(time, name)))
        Talk(start=Ask()).run({})
        captured.provider.force_flush()
        monkeypatch.undo()
    assert "✓ Ask" in capfd.readouterr().err
    assert [name for name, module in callers if module.startswith("pocketflow_otel")] == []
