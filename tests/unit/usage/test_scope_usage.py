"""The usage of a scope: one call noticed in several ways, and what replaces what."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.calls import Prices, calls, totals

from pocketflow_otel.usage.payloads import Usage
from pocketflow_otel.usage.scope_usage import MAX_CLIENT_SPANS, ClientSpanUsage, ScopeUsage, drop_duplicates

A, B = Usage(100, 50, model="a"), Usage(7, 3, model="b")


@pytest.mark.parametrize(
    ("reported", "recorded", "left"),
    [
        pytest.param([A, B], [], [A, B], id="nothing-recorded"),
        pytest.param([], [A], [], id="nothing-reported"),
        pytest.param([A], [A], [], id="the-same-call"),
        pytest.param([Usage(100, 50)], [A], [], id="the-same-without-its-model"),
        pytest.param([Usage(100, 50, cache_read_tokens=80)], [A], [], id="one-tells-of-the-cache"),
        pytest.param([A, B], [A], [B], id="one-of-two"),
        pytest.param([A, A], [A], [A], id="one-of-two-equal-ones"),
        pytest.param([Usage(107, 53)], [A, B], [], id="a-sum-of-all-recorded"),
        pytest.param([Usage(60, 30), Usage(47, 23)], [A, B], [], id="two-sums-of-all-recorded"),
        pytest.param([B], [A], [B], id="another-call"),
        pytest.param([Usage(100, 51)], [A], [Usage(100, 51)], id="one-token-more"),
    ],
)
def test_a_call_reported_and_recorded_is_one(
    reported: list[Usage], recorded: list[Usage], left: list[Usage]
) -> None:
    assert drop_duplicates(reported, recorded) == left


def client_span(source: str = "openai", start: int = 0, end: int = 10, **usage: Any) -> ClientSpanUsage:
    return ClientSpanUsage(source, start, end, Usage(100, 50, **{"model": "gpt-4o-mini", **usage}))


@pytest.mark.parametrize(
    ("other", "new"),
    [
        pytest.param(client_span("openinference"), False, id="at-the-same-time"),
        pytest.param(client_span("openinference", 2, 9), False, id="inside"),
        pytest.param(client_span("openinference", -5, 1), False, id="began-before"),
        pytest.param(client_span("openinference", 9, 15), False, id="ended-after"),
        pytest.param(client_span("openinference", model="gpt-4o-mini-2024-07-18"), False, id="dated"),
        pytest.param(client_span("openinference", 10, 20), True, id="after-it"),
        pytest.param(client_span("openai"), True, id="the-same-instrumentation"),
        pytest.param(client_span("openinference", model="gpt-4o"), True, id="another-model"),
        pytest.param(
            ClientSpanUsage("openinference", 0, 10, Usage(99, 50, model="gpt-4o-mini")),
            True,
            id="other-input",
        ),
        pytest.param(
            ClientSpanUsage("openinference", 0, 10, Usage(100, 0, model="gpt-4o-mini")),
            False,
            id="output-not-told",
        ),
    ],
)
def test_two_spans_of_one_call_are_told_from_two_calls(other: ClientSpanUsage, *, new: bool) -> None:
    usage = ScopeUsage()
    assert usage.is_new(client_span("openai", 0, 10))
    assert usage.is_new(other) is new


@pytest.mark.parametrize("dated", ["gpt-4o-mini-2024-07-18", "gpt-4o-mini-20240718", "gpt-4o-mini@20240718"])
def test_the_date_of_a_model_is_no_other_model(dated: str) -> None:
    usage = ScopeUsage()
    assert (usage.is_new(client_span(model=dated)), usage.is_new(client_span("other"))) == (True, False)


def test_each_instrumentation_reports_a_call_once() -> None:
    # Two equal calls at the same time, each seen by two instrumentations.
    usage = ScopeUsage()
    found = [usage.is_new(client_span(source)) for source in ("a", "a", "b", "b", "c", "c")]
    assert found == [True, True, False, False, False, False]
    assert usage.is_new(client_span("b"))


def test_client_spans_are_remembered_up_to_a_bound() -> None:
    usage = ScopeUsage()
    for start in range(MAX_CLIENT_SPANS + 1):
        usage.is_new(client_span("openai", start, start + 1))
    assert (usage.is_new(client_span("b", 0, 1)), usage.is_new(client_span("b", 9, 10))) == (True, False)


def scope_usage(
    *,
    recorded: tuple[Usage, ...] = (),
    reported: tuple[Usage, ...] = (),
    clients: tuple[Usage, ...] = (),
    items: tuple[Usage, ...] = (),
    below: tuple[Usage, ...] = (),
) -> ScopeUsage:
    made = ScopeUsage()
    made.recorded += calls(*recorded)
    made.reported += calls(*reported)
    made.clients = totals(*clients)
    made.items = totals(*items)
    made.below = totals(*below)
    return made


@pytest.mark.parametrize(
    ("of", "comes_to", "has_no_client_span"),
    [
        pytest.param(scope_usage(), (0, 0), False, id="nothing"),
        pytest.param(scope_usage(clients=(A,)), (1, 100), False, id="a-client"),
        pytest.param(scope_usage(items=(A, B)), (2, 107), False, id="items"),
        pytest.param(scope_usage(clients=(A,), items=(B,)), (2, 107), False, id="a-client-and-items"),
        pytest.param(scope_usage(recorded=(A,)), (1, 100), True, id="recorded"),
        pytest.param(scope_usage(reported=(A,)), (1, 100), True, id="reported"),
        pytest.param(scope_usage(recorded=(A,), reported=(A,)), (1, 100), True, id="recorded-and-reported"),
        pytest.param(
            scope_usage(recorded=(A,), reported=(B,)), (2, 107), True, id="recorded-one-reported-another"
        ),
        pytest.param(scope_usage(reported=(B,), clients=(A,)), (1, 7), False, id="reported-replaces-clients"),
        pytest.param(
            scope_usage(recorded=(B,), clients=(A, A)), (1, 7), False, id="recorded-replaces-clients"
        ),
        pytest.param(scope_usage(reported=(B,), items=(A,)), (1, 7), False, id="reported-replaces-items"),
        pytest.param(scope_usage(below=(A,)), (0, 0), False, id="below-is-not-its-own"),
        pytest.param(scope_usage(reported=(B,), below=(A,)), (1, 7), True, id="reported-beside-below"),
        pytest.param(
            scope_usage(reported=(Usage(107, 53),), below=(A, B)),
            (0, 0),
            False,
            id="reported-is-the-sum-of-below",
        ),
        pytest.param(
            scope_usage(recorded=(Usage(107, 53),), clients=(B,), below=(A, B)),
            (1, 7),
            False,
            id="recorded-is-the-sum-of-below",
        ),
    ],
)
def test_what_a_step_says_replaces_what_clients_say(
    of: ScopeUsage, comes_to: tuple[int, int], *, has_no_client_span: bool
) -> None:
    own = of.own(Prices()).total
    assert ((own.calls, own.input_tokens), of.has_no_client_span) == (comes_to, has_no_client_span)
