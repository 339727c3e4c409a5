"""pflow's shared store is read: outputs by node, the engine's records, warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pocketflow_otel.instrument.pflow.shared_state import (
    EngineRecords,
    NodeStore,
    WarningInfo,
    WorkflowStore,
    category_of,
    output_of,
)
from pocketflow_otel.store.listing import StoreProxy, list_items, store_of

STORE: dict[str, Any] = {
    "name": "ada",
    "__execution__": {},
    "_pflow_depth": 1,
    "_batch_trace": {},
    "greet": {"stdout": "hello", "_pflow_child": 1},
    "fetch": "odd",
    "__failures__": {"broken": {"data": {"stderr": "no"}, "category": "shell_failure", "error": "x"}},
}


def test_a_workflow_sees_its_store_without_pflows_own_records() -> None:
    assert list_items(WorkflowStore(STORE)) == {key: STORE[key] for key in ("name", "greet", "fetch")}


@pytest.mark.parametrize(
    ("node", "own"),
    [("greet", {"stdout": "hello"}), ("fetch", {}), ("broken", {"stderr": "no"}), ("new", {})],
)
def test_a_node_sees_what_it_wrote_at_the_top(node: str, own: dict[str, Any]) -> None:
    rest = {key: STORE[key] for key in ("name", "greet", "fetch") if key != node}

    assert list_items(NodeStore(STORE, node)) == rest | own


def test_a_view_stands_for_the_store_behind_it() -> None:
    assert store_of(StoreProxy(StoreProxy(STORE))) is STORE
    assert list_items(StoreProxy(STORE)) == STORE
    assert list_items(WorkflowStore(7)) is None
    assert list_items(NodeStore(7, "greet")) is None


@pytest.mark.parametrize("shared", [None, 7, {}, {"__failures__": None}, {"__failures__": {"a": 1}, "a": 3}])
def test_odd_stores_have_nothing_to_say(shared: Any) -> None:
    assert (output_of(shared, "a"), category_of(shared, "a", "HttpNode")) == ({}, "http_failure")
    assert EngineRecords.read(shared, "a") == EngineRecords(0, None, None, None)


def test_the_category_of_a_failure_is_pflows_where_it_has_one() -> None:
    assert [category_of(STORE, "broken", "LLMNode"), category_of(STORE, "greet", "Any")] == [
        "shell_failure", "node_action_error",
    ]  # fmt: skip


class Diagnostic:
    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("warning", "info"),
    [
        ("careful", WarningInfo("warning", "warning", "careful")),
        ({"message": "careful", "type": "api"}, WarningInfo("api", "warning", "careful")),
        (
            Diagnostic(message="m", id="cache.x", context={"type": "t"}, severity=Diagnostic(value="info")),
            WarningInfo("cache.x", "info", "m"),
        ),
        (Diagnostic(message="m", context={"category": "c"}, severity=3), WarningInfo("c", "warning", "m")),
        (7, WarningInfo("warning", "warning", "")),
    ],
)
def test_a_warning_is_read_in_each_of_its_shapes(warning: object, info: WarningInfo) -> None:
    assert WarningInfo.read(warning) == info
