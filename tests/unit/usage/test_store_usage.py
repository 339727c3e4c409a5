"""Counted usages: what lies in stores under `llm_usage` counts once, whatever becomes of it."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pocketflow_otel.usage import store_usage as module
from pocketflow_otel.usage.payloads import Usage
from pocketflow_otel.usage.store_usage import CountedUsages


def used(tokens: int, output: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": tokens, "completion_tokens": output, **more}


class Book:
    """Counted usages, and a store that it has seen at the start of a run."""

    def __init__(self, reported: Any = None) -> None:
        self.counted = CountedUsages()
        self.store: dict[str, Any] = {}
        self.counted.open(self.store, reported, None)

    def take(self, reported: Any, model: str | None = None) -> list[Usage]:
        return self.counted.take(self.store, reported, model)


def test_what_an_earlier_run_left_is_not_counted() -> None:
    left = used(100, 50)
    assert Book(left).take(left) == []
    assert Book([left]).take([left]) == []


def test_a_usage_that_stays_is_counted_once() -> None:
    book, usage = Book(), used(100, 50)
    assert [book.take(usage) for _ in range(3)] == [[Usage(100, 50)], [], []]


def test_a_new_object_counts_whole_even_if_it_is_equal() -> None:
    book = Book()
    assert [book.take(used(100, 50)) for _ in range(2)] == [[Usage(100, 50)]] * 2


def test_an_object_made_where_the_last_one_lay_is_new() -> None:
    book = Book()
    for _ in range(50):
        assert book.take(used(100, 50)) == [Usage(100, 50)]
        gc.collect(0)  # All there is is young.


def test_an_accumulator_counts_its_increase() -> None:
    book, usage = Book(), used(0)
    found = []
    for grown in (100, 0, 20):
        usage["prompt_tokens"] += grown
        found.append(book.take(usage))
    assert found == [[Usage(100)], [], [Usage(20)]]


def test_an_accumulator_that_starts_anew_counts_whole() -> None:
    book, usage = Book(), used(100, 50)
    book.take(usage)
    usage.update(used(30, 10))
    assert book.take(usage) == [Usage(30, 10)]


def test_an_accumulator_left_by_an_earlier_run_counts_what_this_one_adds() -> None:
    usage = used(100, 50)
    book = Book(usage)
    usage["completion_tokens"] += 7
    assert book.take(usage) == [Usage(0, 7)]


def test_a_cost_added_later_is_not_one_call_more() -> None:
    book, usage = Book(), used(100, 50, model="gpt-4o-mini")
    book.take(usage)
    usage["cost_usd"] = 0.000045
    assert book.take(usage) == []


def test_a_list_counts_what_was_added_to_it() -> None:
    book = Book()
    calls = [used(1)]
    found = [book.take(calls)]
    calls += [used(2), used(3)]
    found.append(book.take(calls))
    found.append(book.take([*calls, used(4)]))
    found.append(book.take(calls[1:]))
    assert found == [[Usage(1)], [Usage(2), Usage(3)], [Usage(4)], []]


def test_the_last_of_a_list_may_still_grow() -> None:
    book, calls = Book(), [used(1), used(10)]
    book.take(calls)
    calls[-1]["prompt_tokens"] += 5
    assert book.take(calls) == [Usage(5)]


@pytest.mark.parametrize("container", [list, tuple])
def test_a_list_may_become_another_one(container: type) -> None:
    book, usage = Book(), used(1)
    assert book.take(usage) == [Usage(1)]
    assert book.take(container([usage, used(2)])) == [Usage(2)]


def test_a_long_list_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 3)
    book, calls = Book(), [used(1) for _ in range(10)]
    assert [len(book.take(calls)) for _ in range(3)] == [10, 0, 0]


def test_the_same_usage_in_two_stores_of_a_run_is_counted_once() -> None:
    # A node runs a flow on a store of its own, and hands its usage up.
    book, usage = Book(), used(100, 50)
    inner: dict[str, Any] = {}
    book.counted.open(inner, None, None)
    assert book.counted.take(inner, usage, None) == [Usage(100, 50)]
    assert book.take(usage) == []
    usage["prompt_tokens"] += 1
    assert (book.take(usage), book.counted.take(inner, usage, None)) == ([Usage(1)], [])


def test_a_store_made_where_another_lay_brings_nothing_old() -> None:
    # A loop that runs a flow on a copy of its store each time: `flow.run(dict(shared))`.
    book = Book()
    for _ in range(20):
        usage = used(100, 50)
        assert book.take(usage) == [Usage(100, 50)]
        copy = {"llm_usage": usage}
        book.counted.open(copy, usage, None)
        assert book.counted.take(copy, usage, None) == []
        del copy


def test_a_new_store_takes_nothing_from_an_accumulator() -> None:
    # It grew in a step that then runs a flow on a copy of its store.
    book, usage = Book(), used(0)
    book.take(usage)
    usage["prompt_tokens"] += 10
    copy = {"llm_usage": usage}
    book.counted.open(copy, usage, None)
    assert (book.counted.take(copy, usage, None), book.take(usage)) == ([Usage(10)], [])


def test_two_stores_keep_their_usages_apart() -> None:
    book, other = Book(), {}
    book.counted.open(other, None, None)
    assert book.take(used(1)) == [Usage(1)]
    assert book.counted.take(other, used(1), None) == [Usage(1)]


def test_what_a_new_store_holds_is_not_counted() -> None:
    book, left = Book(), used(5)
    other = {"llm_usage": left}
    book.counted.open(other, left, None)
    assert book.counted.take(other, left, None) == []


def test_what_came_between_two_steps_is_counted_by_the_second() -> None:
    book, usage = Book(), used(5)
    book.counted.open(book.store, usage, None)
    assert book.take(usage) == [Usage(5)]


@pytest.mark.parametrize(
    "nothing",
    [None, {}, [], (), "x", 0, used(0), [used(0)], Mock(), object()],
    ids=["none", "dict", "list", "tuple", "text", "number", "no tokens", "list of none", "mock", "object"],
)
def test_what_comes_to_nothing_is_no_call(nothing: Any) -> None:
    assert Book().take(nothing) == []


def test_the_model_is_that_of_the_usage_else_that_beside_it() -> None:
    book = Book()
    assert book.take([used(1, model="a"), used(2)], "b") == [Usage(1, model="a"), Usage(2, model="b")]


def test_nothing_in_a_store_is_called() -> None:
    response = Mock()
    lazy = SimpleNamespace(usage=Mock(return_value=used(5)))
    assert Book().take([response, lazy]) == []
    assert (response.usage.called, lazy.usage.called) == (False, False)


class Lazy:
    def usage(self) -> Any:
        raise AssertionError("asked")


def test_a_response_that_waits_for_its_model_is_not_asked() -> None:
    assert Book().take(Lazy()) == []


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 10)
    book = Book()
    for _ in range(100):
        book.take(used(1))
    assert len(book.counted._known) == 10


def test_steps_that_overlap_count_a_usage_once_between_them() -> None:
    book, usage = Book(), [used(1) for _ in range(200)]
    together, found = threading.Barrier(8), []

    def step() -> None:
        together.wait()
        found.append(len(book.take(usage)))

    threads = [threading.Thread(target=step) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 7 + [200]


class Abandoned(dict):  # type: ignore[type-arg]
    """Its end takes from the counted usages again, as that of an abandoned coroutine does."""

    def __init__(self, book: Book) -> None:
        super().__init__(used(1))
        self.book = book

    def get(self, *of: Any) -> Any:
        self.book.take(None)
        return super().get(*of)


def test_a_collection_amid_the_counting_does_not_lock_it() -> None:
    book = Book()
    usage = Abandoned(book)
    taken: list[list[Usage]] = []
    thread = threading.Thread(target=lambda: taken.append(book.take(usage)), daemon=True)
    thread.start()
    thread.join(60)
    assert taken == [[Usage(1)]]
