"""Benchmarks compare what they say they compare."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_a_benchmark_takes_ratios_within_a_round_and_then_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.measure import Rounds

    timed = Rounds([{"one": 2.0, "other": 1.0}, {"one": 9.0, "other": 3.0}, {"one": 40.0, "other": 10.0}])
    assert (timed.time("one"), timed.ratio("one", "other")) == (9.0, 3.0)
    assert timed.median(lambda t: t["one"] - t["other"]) == 6.0


def test_each_contestant_of_a_benchmark_is_warmed_up_and_then_called_once_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.measure import measure

    calls: list[str] = []
    timed = measure(2, steps=1, a=lambda: calls.append("a"), b=lambda: calls.append("b"))
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert [set(timings) for timings in timed] == [{"a", "b"}] * 2

    calls.clear()
    measure(1, steps=1, a=lambda: calls.append("a"), b=lambda: calls.append("b"))
    assert calls == ["a", "b"]  # Nobody asks for one round who wants to know it well.


def test_instructions_are_counted_between_marks_for_warm_contestants_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import instructions

    seen: list[str] = []
    monkeypatch.setattr("os.getpgrp", lambda: seen.append("mark"))
    instructions.call_between_marks([lambda: seen.append("a"), lambda: seen.append("b")])
    a, b = (["mark", *[name] * instructions.ROUNDS, "mark"] for name in ("a", "b"))
    assert seen == ["a", *a, "b", *b]


def test_the_instructions_of_a_contestant_are_those_between_its_marks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.instructions import ROUNDS, STEPS, per_step, rows

    steps = ROUNDS * STEPS
    for number, total in enumerate((10**9, 1000 * steps, 12345, 250 * steps, 67890, 2100 * steps), start=1):
        text = f"version: 1\nevents: Ir\nsummary: 99\n\nfn=(1) _PyEval\n16 400\n\ntotals: {total}\n"
        (tmp_path / f"counts.{number}").write_text(text)
    counts = per_step(tmp_path, ["span", "bare", "traced"])
    assert counts == {"span": 1000, "bare": 250, "traced": 2100}
    assert [re.split(r"  +", line.strip()) for line in rows(counts)] == [
        ["instructions per step", "ours", "other", "result", "at most"],
        ["traced step / SDK span", "2,100", "1,000", "× 2.10", "× 1.8"],
        ["(traced − bare step) / SDK span", "1,850", "1,000", "× 1.85", "× 1.8"],
    ]
