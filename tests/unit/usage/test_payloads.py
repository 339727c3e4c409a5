"""Read usage: documented payloads of providers and libraries, in every form they are met in."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from tests.support.payloads import documented

from pocketflow_otel.fields import MAX_TOKENS
from pocketflow_otel.usage.payloads import Usage, read_usage

PAYLOADS = documented()


@pytest.mark.parametrize(("payload", "usage"), PAYLOADS)
def test_a_documented_payload_is_one_call(payload: Any, usage: Usage) -> None:
    assert read_usage(payload) == [usage]


def test_there_are_forty_payloads_of_different_kinds() -> None:
    assert len({row.id for row in PAYLOADS}) == len(PAYLOADS) >= 40


def test_an_agent_of_pflow_tells_of_the_attempts_its_answer_superseded() -> None:
    first = {"model": "gpt-5-codex", "input_tokens": 700, "output_tokens": 90, "cost_usd": 0.001}
    last = {"model": "gpt-5-codex", "input_tokens": 900, "output_tokens": 120, "cost_usd": 0.002}
    assert read_usage({**last, "retries": [first, {}]}) == [
        Usage(900, 120, model="gpt-5-codex", cost=0.002),
        Usage(700, 90, model="gpt-5-codex", cost=0.001),
    ]


COUNTS = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "model": "gpt-4o-mini"}
DETAILED = {**COUNTS, "prompt_tokens_details": {"cached_tokens": 80}}


class Slotted:
    __slots__ = ("completion_tokens", "model", "prompt_tokens", "prompt_tokens_details")

    def __init__(self) -> None:
        self.prompt_tokens, self.completion_tokens, self.model = 100, 50, "gpt-4o-mini"
        self.prompt_tokens_details = SimpleNamespace(cached_tokens=80)


class Computed:
    prompt_tokens = property(lambda self: 100)
    completion_tokens = property(lambda self: 50)
    model = property(lambda self: "gpt-4o-mini")
    prompt_tokens_details = property(lambda self: {"cached_tokens": 80})


FORMS = [
    pytest.param(DETAILED, id="dict"),
    pytest.param(OrderedDict(DETAILED), id="subclass-of-dict"),
    pytest.param(MappingProxyType(DETAILED), id="mapping"),
    pytest.param(SimpleNamespace(**DETAILED), id="object-with-dicts"),
    pytest.param(Slotted(), id="object-with-slots"),
    pytest.param(Computed(), id="object-with-properties"),
    pytest.param(Mock(**DETAILED), id="mock-with-counts"),
    pytest.param({"usage": DETAILED}, id="dict-in-dict"),
    pytest.param(SimpleNamespace(usage=SimpleNamespace(**DETAILED)), id="object-in-object"),
    pytest.param(Mock(usage=Mock(**DETAILED)), id="mock-in-mock"),
    pytest.param({**DETAILED, "usage": "high"}, id="another-thing-is-called-usage"),
    pytest.param({"usage": {}, "usage_metadata": DETAILED}, id="the-first-carrier-is-empty"),
    pytest.param({"llm_usage": DETAILED}, id="a-store"),
]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_a_usage_comes_in_does_not_matter(form: Any) -> None:
    assert read_usage(form) == [Usage(100, 50, cache_read_tokens=80, model="gpt-4o-mini")]


def test_a_usage_is_itself() -> None:
    usage = Usage(1, 2, model="m", cost=0.5)
    assert read_usage(usage) == [usage]


def test_a_list_tells_of_several_calls() -> None:
    calls = [COUNTS, {"usage": {"input_tokens": 7, "output_tokens": 3}}, {}, None, (DETAILED,)]
    assert read_usage(calls, model="claude-haiku-4-5", provider="anthropic") == [
        Usage(100, 50, model="gpt-4o-mini", provider="anthropic"),
        Usage(7, 3, model="claude-haiku-4-5", provider="anthropic"),
        Usage(100, 50, cache_read_tokens=80, model="gpt-4o-mini", provider="anthropic"),
    ]


def test_a_list_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketflow_otel.usage.payloads.MAX_CALLS", 50)
    assert len(read_usage([{"total_tokens": 1}] * 51)) == 50
    assert len(read_usage([[{"total_tokens": 1}] * 50] * 3)) == 50


def test_a_list_that_holds_itself_ends() -> None:
    calls: list[Any] = [COUNTS]
    calls.append(calls)
    assert read_usage(calls) == [Usage(100, 50, model="gpt-4o-mini")] * 2
    usage: dict[str, Any] = dict(COUNTS)
    usage["retries"] = [usage]
    assert read_usage(usage) == [Usage(100, 50, model="gpt-4o-mini")] * 2


class Lazy:
    """Its usage waits for the model."""

    asked = 0

    def usage(self) -> dict[str, int]:
        self.asked += 1
        return {"prompt_tokens": 5}


class AsyncResponse:
    async def usage(self) -> dict[str, int]:
        return {"prompt_tokens": 5}


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        {},
        [],
        (),
        "150 tokens",
        b"150",
        150,
        1.5,
        True,
        object(),
        {"model": "gpt-4o-mini"},
        {"usage": None},
        {"usage": []},
        {"meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}},
        {"prompt_tokens": "100", "completion_tokens": "50"},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": -1, "completion_tokens": -5, "total_tokens": -6},
        {"prompt_tokens": 1.5, "completion_tokens": float("nan"), "total_tokens": float("inf")},
        {"prompt_tokens": MAX_TOKENS + 1},
        {"prompt_tokens": [100], "completion_tokens": {"n": 50}},
        (each for each in [COUNTS]),
        Usage,
        dict,
        Mock(),
        MagicMock(),
        Mock(usage=Mock()),
        AsyncResponse(),
    ],
    ids=lambda nothing: type(nothing).__name__,
)
def test_what_tells_of_no_call_is_none(nothing: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_usage(nothing) == []


def test_zeros_are_a_usage_that_comes_to_nothing() -> None:
    (usage,) = read_usage({"prompt_tokens": 0, "completion_tokens": 0})
    assert (usage, bool(usage)) == (Usage(), False)


@pytest.mark.parametrize(
    ("number", "tokens"),
    [(7, 7), (7.0, 7), (np.int64(7), 7), (np.float64(7.0), 7), (True, 0), (-7, 0), (7.5, 0), ("7", 0)],
    ids=repr,
)
def test_a_count_is_a_whole_number_of_at_least_zero(number: Any, tokens: int) -> None:
    (usage,) = read_usage({"input_tokens": number, "output_tokens": 1})
    assert (usage, type(usage.input_tokens)) == (Usage(tokens, 1), int)


@pytest.mark.parametrize(
    ("cost", "read"),
    [
        (0.5, 0.5),
        (0, 0.0),
        (2, 2.0),
        (-0.1, None),
        (True, None),
        ("0.5", None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ({"total_cost": 0.25}, 0.25),
    ],
    ids=repr,
)
def test_a_cost_is_a_number_of_dollars(cost: Any, read: float | None) -> None:
    (usage,) = read_usage({"total_tokens": 1, "cost_usd": cost, "cost": cost})
    assert usage.cost == read


def test_what_the_payload_says_wins_over_what_is_given() -> None:
    assert read_usage(COUNTS, model="other", provider="azure") == [
        Usage(100, 50, model="gpt-4o-mini", provider="azure")
    ]
    assert read_usage({"total_tokens": 1, "model": ""}, model="other") == [Usage(1, model="other")]


def test_a_method_is_asked_only_by_request() -> None:
    lazy = Lazy()
    assert (read_usage(lazy, ask=False), lazy.asked) == ([], 0)
    assert (read_usage(lazy), lazy.asked) == ([Usage(5)], 1)


def test_a_mock_is_never_called() -> None:
    response = Mock()
    read_usage(response)
    response.usage.assert_not_called()


def test_reading_changes_nothing() -> None:
    payload = {**DETAILED, "retries": [dict(COUNTS)]}
    before = repr(payload)
    read_usage([payload])
    assert repr(payload) == before


ACCUMULATED = Usage(100, 50, cache_read_tokens=80, cost=0.3, model="m", details={"web_searches": 1})


@pytest.mark.parametrize(
    ("now", "grown"),
    [
        pytest.param(ACCUMULATED, Usage(cost=0.0, model="m"), id="not-at-all"),
        pytest.param(
            Usage(150, 60, cache_read_tokens=90, cost=0.4, model="m", details={"web_searches": 3}),
            Usage(50, 10, cache_read_tokens=10, cost=0.1, model="m", details={"web_searches": 2}),
            id="everything",
        ),
        pytest.param(Usage(150, 60, model="m"), Usage(50, 10, model="m"), id="no-cost-any-more"),
        pytest.param(Usage(90, 60, cost=0.1), Usage(90, 60, cost=0.1), id="fewer-in-so-it-is-new"),
        pytest.param(Usage(100, 40, cost=0.1), Usage(100, 40, cost=0.1), id="fewer-out-so-it-is-new"),
        pytest.param(
            Usage(150, 60, cache_read_tokens=20, cost=0.2, model="m"),
            Usage(50, 10, cost=0.0, model="m"),
            id="its-parts-are-only-the-last-call's",
        ),
    ],
)
def test_an_accumulator_grows_by_the_difference(now: Usage, grown: Usage) -> None:
    assert now.minus(ACCUMULATED) == grown


def test_a_cost_told_later_is_not_one_call_more() -> None:
    counted = Usage(100, 50, model="gpt-4o-mini")
    told = Usage(100, 50, model="gpt-4o-mini", cost=0.000045)
    assert not told.minus(counted)
    assert told.minus(Usage()) == told


def test_a_usage_shows_what_it_knows() -> None:
    usage = Usage(3, 0, model="m", cost=0.0, details=MappingProxyType({"web_searches": 1}))
    assert repr(usage) == "Usage(input_tokens=3, model='m', cost=0.0, details={'web_searches': 1})"
    assert usage.total_tokens == 3
