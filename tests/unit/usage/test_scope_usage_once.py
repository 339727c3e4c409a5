"""Usage of the calls in a scope: each call counts once, in however many ways it was noticed."""

from __future__ import annotations

from typing import Any

from pocketflow import Node
from tests.support.usage_steps import COST, Step, back_end, by_name, chain, client, of, put, sums, used

from pocketflow_otel import record_usage
from pocketflow_otel.testing import capture_spans


def test_a_call_told_by_a_client_and_in_the_store_counts_once() -> None:
    with capture_spans() as captured:
        chain(Step("Ask", put(used()), lambda: client(captured))).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")
    assert back_end(captured) == (100, 50)


def test_a_call_recorded_and_in_the_store_counts_once() -> None:
    with capture_spans() as captured:
        cached = used(prompt_tokens_details={"cached_tokens": 80})
        chain(Step("Ask", put(used()), lambda: record_usage(cached))).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert of(captured, "invoke_node Ask")["cache_read.input_tokens"] == 80
    assert back_end(captured) == (100, 50)


def test_a_call_told_in_all_three_ways_counts_once() -> None:
    def ask() -> None:
        client(captured)
        record_usage(used())

    with capture_spans() as captured:
        chain(Step("Ask", put(used()), ask)).run({})
    assert by_name(captured) == {"Ask": (1, 100, 50), "f": (1, 100, 50)}
    assert back_end(captured) == (100, 50)


def test_several_calls_recorded_and_their_sum_in_the_store_count_once_each() -> None:
    def ask() -> None:
        record_usage(used(60, 30))
        record_usage(used(40, 20))

    with capture_spans() as captured:
        chain(Step("Ask", put(used()), ask)).run({})
    assert by_name(captured) == {"Ask": (2, 100, 50), "f": (2, 100, 50)}


def test_what_the_step_says_corrects_its_client_in_the_sums() -> None:
    # The client's span says 90; the response said 100. The span keeps what it said.
    with capture_spans() as captured:
        chain(Step("Ask", put(used()), lambda: client(captured, 90))).run({})
    assert sums(captured.one("invoke_workflow f")) == (1, 100, 50, COST, None)
    assert captured.one("chat").attributes["gen_ai.usage.input_tokens"] == 90  # type: ignore[index]
    assert "gen_ai.usage.input_tokens" not in of(captured, "invoke_node Ask")


def test_what_is_below_and_summed_up_by_the_step_above_counts_once() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            steps = (Step("A", exec=lambda: client(captured, 7, 3)), Step("B", put(used(1, 2))))
            chain(*steps).run({})

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["llm_usage"] = used(8, 5)

    with capture_spans() as captured:
        Outer().run({})
    assert by_name(captured) == {"A": (1, 7, 3), "B": (1, 1, 2), "f": (2, 8, 5), "Outer": (2, 8, 5)}
    assert back_end(captured) == (8, 5)


def test_what_one_step_says_leaves_other_steps_clients_alone() -> None:
    with capture_spans() as captured:
        chain(
            Step("Seen", exec=lambda: client(captured, 7, 3)),
            Step("Said", put(used())),
        ).run({})
    assert by_name(captured) == {"Seen": (1, 7, 3), "Said": (1, 100, 50), "f": (2, 107, 53)}
    assert back_end(captured) == (107, 53)
