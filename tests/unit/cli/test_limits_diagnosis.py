"""`pocketflow-otel doctor` says which variables take parts of spans from back ends."""

from __future__ import annotations

import pytest

from pocketflow_otel.cli.finding import Finding
from pocketflow_otel.cli.limits_diagnosis import check_limits


def test_limits_that_ordinary_steps_do_not_meet_are_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "128")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4096")
    monkeypatch.setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "0")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "")

    assert list(check_limits()) == []


def test_small_limits_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "8")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", " 12 ")

    assert list(check_limits()) == [
        Finding(
            "note",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=8, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT=12: "
            "back ends lose a part of each span; views and trace files have all of it",
            "unset OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        )
    ]


@pytest.mark.parametrize("value", ["many", "-3", "1.5"])
def test_a_limit_that_is_no_number_is_a_problem(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", value)

    assert list(check_limits()) == [
        Finding(
            "problem",
            f"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT={value} is no number: "
            "OpenTelemetry's SDK fails by it, and nothing is traced",
            "unset OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        )
    ]
