"""The wording of what people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketflow_otel import semconv
from pocketflow_otel.views import wording


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (0.0, "0.00s"),
        (0.034, "0.03s"),
        (59.99, "59.99s"),
        (59.996, "1m 00s"),
        (75.4, "1m 15s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (3700.0, "1h 01m"),
        (360_000.0, "100h 00m"),
    ],
)
def test_durations_read_well_at_every_size(duration: float, shown: str) -> None:
    assert wording.seconds(duration) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (0, "$0"),
        (1e-9, "$0.0000000010"),
        (0.000045, "$0.000045"),
        (0.00023, "$0.00023"),
        (0.0099, "$0.0099"),
        (0.01, "$0.010"),
        (0.0123, "$0.012"),
        (0.5, "$0.500"),
        (1, "$1.00"),
        (12.345, "$12.35"),
        (1234.5, "$1,234.50"),
    ],
)
def test_money_never_prints_as_nothing(dollars: float, shown: str) -> None:
    assert wording.money(dollars) == shown


def test_a_diff_shows_five_keys_and_counts_the_others() -> None:
    attributes = {
        semconv.SHARED_ADDED_KEYS: ("a", "b\n"),
        semconv.SHARED_MODIFIED_KEYS: ("c",),
        semconv.SHARED_REMOVED_KEYS: ("d", "e", "f", "g"),
    }

    assert wording.diff(attributes) == r"+a +b\n ~c −d −e (+2 more)"
    assert wording.diff({}) == ""


def test_an_error_is_its_text_or_else_its_type_on_one_line_of_bounded_length() -> None:
    assert wording.error("KeyError: 'a\nb'", "KeyError") == r"KeyError: 'a\nb'"
    assert wording.error("", "json.JSONDecodeError") == "json.JSONDecodeError"
    assert wording.error("x" * 500, "E") == "x" * (wording.MAX_MESSAGE - 1) + "…"


def test_the_home_directory_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")

    assert wording.short_path(Path("/home/ada/.pflow/traces/r.json")) == "~/.pflow/traces/r.json"
    assert wording.short_path(Path("/home/adam/r.json")) == "/home/adam/r.json"


def test_without_a_home_directory_paths_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)

    assert wording.short_path(Path("/srv/r.json")) == "/srv/r.json"


def test_a_plural_is_one_of_none_and_of_many() -> None:
    assert [wording.plural(number, "step") for number in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]


def test_empty_facts_are_left_out_of_a_summary() -> None:
    assert wording.joined(["0.1s", "", "2 steps"]) == "0.1s · 2 steps"
