"""Benchmarks compare what they say they compare."""

from __future__ import annotations

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
