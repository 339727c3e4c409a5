"""What the span of a step has of its store: the schema and the diff."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.steps import nothing
from tests.support.stores import Color, on_span

from pocketflow_otel.store.snapshot import MAX_ELEMENTS, MAX_NAMES


def test_a_span_says_what_the_store_was_and_what_became_of_it() -> None:
    def edit(shared: dict[str, Any]) -> None:
        del shared["draft"]
        shared["history"].append("because")
        shared["score"] = 0.5
        shared["answer"] = 42
        shared["sources"] = []

    assert on_span({"question": "why?", "history": [], "score": 1, "draft": None}, edit) == {
        "schema": '{"question":"str","history":"list[0]","score":"int","draft":"NoneType"}',
        "added.keys": ["answer", "sources"],
        "added.types": ["int", "list[0]"],
        "modified.keys": ["history", "score"],
        "modified.types": ["list[1]", "float"],
        "removed.keys": ["draft"],
    }


def test_a_span_says_no_more_than_the_schema_where_nothing_changed() -> None:
    assert on_span({"a": 1}, nothing) == {"schema": '{"a":"int"}'}


def test_a_span_says_that_the_store_is_empty() -> None:
    assert on_span({}, nothing) == {"schema": "{}"}


@pytest.mark.parametrize("shared", [None, 3, "text", [1], object()], ids=lambda shared: type(shared).__name__)
def test_a_span_says_nothing_about_what_cannot_be_listed(shared: object) -> None:
    assert on_span(shared, nothing) == {}


def test_a_span_names_at_most_64_keys_and_says_there_were_more() -> None:
    names = [f"key{n}" for n in range(MAX_NAMES + 1)]
    assert on_span({}, lambda s: s.update(dict.fromkeys(names, 1))) == {
        "schema": "{}",
        "added.keys": names[:MAX_NAMES],
        "added.types": ["int"] * MAX_NAMES,
        "truncated": True,
    }


def test_a_span_says_that_its_schema_is_not_whole() -> None:
    found = on_span(dict.fromkeys(range(MAX_NAMES + 1)), nothing)
    assert (len(json.loads(found.pop("schema"))), found) == (MAX_NAMES, {"truncated": True})


def test_a_span_says_that_not_all_was_compared() -> None:
    schema = f'{{"large":"list[{MAX_ELEMENTS + 1}]"}}'
    assert on_span({"large": [0] * (MAX_ELEMENTS + 1)}, nothing) == {"schema": schema, "bounded": True}


def test_a_span_shows_odd_names_as_text_that_can_be_exported() -> None:
    assert on_span({}, lambda s: s.update({"\ud800": 1, 7: 1, ("row", 1): 1, Color.RED: 1, "größe": 1})) == {
        "schema": "{}",
        "added.keys": ["\\ud800", "7", "('row', 1)", "<Color>", "größe"],
        "added.types": ["int"] * 5,
    }
