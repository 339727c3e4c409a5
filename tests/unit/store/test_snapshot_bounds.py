"""The limits of a snapshot: what is too large or too deep to be compared whole."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.steps import nothing
from tests.support.stores import BOUNDED, UNCHANGED, diff, modified, removed

from pocketflow_otel.store.snapshot import MAX_DEPTH, MAX_ELEMENTS, MAX_TOTAL, Diff, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


def deep(levels: int) -> dict[str, Any]:
    inner: list[Any] = ["x"]
    for _ in range(levels - 1):
        inner = [inner]
    return {"deep": inner}


def innermost(value: Any) -> list[Any]:
    while type(value[0]) is list:
        value = value[0]
    return value


def test_a_change_at_the_deepest_level_looked_at_is_seen() -> None:
    assert diff(deep(MAX_DEPTH + 1), lambda s: innermost(s["deep"]).__setitem__(0, "y")) == modified("deep")


def test_a_change_below_the_deepest_level_is_not_seen_and_the_diff_says_so() -> None:
    assert diff(deep(MAX_DEPTH + 2), lambda s: innermost(s["deep"]).__setitem__(0, "y")) == BOUNDED


def test_nothing_is_missed_in_an_empty_list_below_the_deepest_level() -> None:
    shared = deep(MAX_DEPTH + 2)
    innermost(shared["deep"]).clear()
    assert diff(shared, nothing) == UNCHANGED


def test_a_value_that_changes_while_it_is_read_is_said_to_be_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(value: object) -> None:
        raise RuntimeError("deque mutated during iteration")

    monkeypatch.setattr("pocketflow_otel.store.snapshot._ends", changing)
    assert diff({"a": deque(range(MAX_ELEMENTS + 1))}, nothing) == BOUNDED


def test_growth_just_below_the_deepest_level_is_seen() -> None:
    assert diff(deep(MAX_DEPTH + 2), lambda s: innermost(s["deep"]).append("y")) == Diff(
        modified=("deep",), bounded=True
    )


def test_a_list_of_the_most_elements_is_read_whole() -> None:
    shared = {"a": [0] * MAX_ELEMENTS}
    assert diff(shared, lambda s: s["a"].__setitem__(MAX_ELEMENTS // 2, 1)) == modified("a")


LARGE: dict[str, Callable[[], Any]] = {
    "list": lambda: [0] * (MAX_ELEMENTS + 1),
    "tuple": lambda: ([],) * (MAX_ELEMENTS + 1),
    "flat tuple": lambda: (0,) * (MAX_ELEMENTS + 1),
    "set": lambda: set(range(MAX_ELEMENTS + 1)),
    "deque": lambda: deque(range(MAX_ELEMENTS + 1)),
    "dict": lambda: dict.fromkeys(range(MAX_ELEMENTS + 1)),
    "OrderedDict": lambda: OrderedDict.fromkeys(range(MAX_ELEMENTS + 1)),
    "bytearray": lambda: bytearray(MAX_ELEMENTS + 1),
    "list of lists": lambda: [[[0] * 40 for _ in range(40)] for _ in range(40)],
    "list of dicts": lambda: [{"role": "user", "content": n} for n in range(MAX_ELEMENTS)],
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_a_value_with_more_elements_is_said_to_be_bounded_as_long_as_it_is_there(
    make: Callable[[], Any],
) -> None:
    shared = {"large": make(), "small": [1], "n": 0}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    found = [snapshot.update(shared)]
    shared["n"] = 1
    found.append(snapshot.update(shared))
    shared["small"].append(2)
    found.append(snapshot.update(shared))
    del shared["large"]
    found.append(snapshot.update(shared))
    found.append(snapshot.update(shared))
    assert found == [
        BOUNDED,
        Diff(modified=("n",), bounded=True),
        Diff(modified=("small",), bounded=True),
        removed("large"),
        UNCHANGED,
    ]


@pytest.mark.parametrize(
    ("make", "mutate"),
    [
        (LARGE["list"], lambda v: v.append(1)),
        (LARGE["list"], lambda v: v.__setitem__(0, 1)),
        (LARGE["list"], lambda v: v.__setitem__(-1, 1)),
        (LARGE["deque"], lambda v: v.rotate()),
        (LARGE["dict"], lambda v: v.update({0: 1})),
        (LARGE["dict"], lambda v: v.update({MAX_ELEMENTS: 1})),
        (LARGE["set"], lambda v: v.add(-1)),
        (LARGE["bytearray"], lambda v: v.__setitem__(-1, 1)),
        (LARGE["list of lists"], lambda v: v[-1].append(0)),
        (LARGE["list of lists"], lambda v: v[-1][-1].__setitem__(-1, 1)),
        (LARGE["list of dicts"], lambda v: v[-1].update(content="")),
    ],
)
def test_growth_and_changes_at_the_ends_of_a_large_value_are_seen(
    make: Callable[[], Any], mutate: Callable[[Any], object]
) -> None:
    assert diff({"a": make()}, lambda s: mutate(s["a"])) == Diff(modified=("a",), bounded=True)


def test_a_thousand_large_containers_are_not_all_read() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(1000)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared["key0"][5] = 1
    shared["key999"][5] = 1
    found = [snapshot.update(shared), snapshot.update(shared)]
    assert found == [Diff(modified=("key0",), bounded=True), BOUNDED]


def test_containers_that_grow_leave_the_budget_and_the_diff_says_so() -> None:
    shared: dict[str, list[int]] = {f"key{n}": [] for n in range(MAX_TOTAL // MAX_ELEMENTS * 2)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    first = snapshot.update(shared)
    snapshot.schema()
    for value in shared.values():
        value.extend([0] * MAX_ELEMENTS)
    grown = snapshot.update(shared)
    shared["key0"][5] = shared["key7"][5] = 1
    assert (first, grown.bounded, snapshot.update(shared)) == (
        UNCHANGED,
        True,
        Diff(modified=("key0",), bounded=True),
    )
    assert json.loads(snapshot.schema()) == dict.fromkeys(shared, f"list[{MAX_ELEMENTS}]")


def test_what_is_removed_makes_room_for_what_comes() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(MAX_TOTAL // MAX_ELEMENTS)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared.clear()
    snapshot.update(shared)
    shared["new"] = [0]
    snapshot.update(shared)
    shared["new"].append(1)
    assert snapshot.update(shared) == modified("new")


def test_the_schema_gives_the_size_of_a_container_that_was_not_read() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(20)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    snapshot.schema()
    shared["key19"].append(1)
    snapshot.update(shared)
    assert json.loads(snapshot.schema())["key19"] == f"list[{MAX_ELEMENTS + 1}]"


def test_a_web_of_lists_is_read_once_each() -> None:
    web: list[Any] = [1]
    for _ in range(MAX_DEPTH):
        web = [web] * 60
    knot: list[Any] = []
    knot.extend([knot] * 60)
    shared = {"web": web, "knot": knot, "n": 1}
    assert diff(shared, lambda s: innermost(s["web"]).append(2)) == modified("web")


def test_a_wide_and_deep_tree_is_not_read_whole() -> None:
    def tree(levels: int) -> list[Any]:
        return [tree(levels - 1) if levels else 0 for _ in range(9)]

    shared = {"tree": tree(4)}
    assert diff(shared, lambda s: s["tree"].append(0)) == Diff(modified=("tree",), bounded=True)
