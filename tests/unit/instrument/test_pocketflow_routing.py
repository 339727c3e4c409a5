"""Flows that find the next node by themselves: nothing is said of ways that only PocketFlow knows."""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING

import pytest
from pocketflow import Flow, Node
from tests.support.scoped import Step, Store, events

from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pocketflow_otel.testing import CapturedSpans

NEXT = "pocketflow.node.next"


def go_on(flow: Flow, curr: Node, action: object) -> Node | None:
    """Find the next node by a rule that is not PocketFlow's."""
    return dict[str, Node](curr.successors).get("found")


def go_through(flow: Flow, shared: Store, params: object = None) -> None:
    """Run the nodes one after the other, whatever they return."""
    node = flow.start_node
    while node:
        node._run(shared)
        node = node.successors.get("found")


OWN = {"get_next_node": go_on, "_orch": go_through}


class GoesOn(Flow):
    get_next_node = go_on


class GoesThrough(Flow):
    _orch = go_through


def lost(cls: type[Flow] = Flow) -> Flow:
    """Return a flow whose first node returns an action that PocketFlow knows no way for."""
    step = Step("lost", name="step")
    step - "found" >> Step(name="other")
    return cls(start=step)


def assert_told_as_it_went(captured: CapturedSpans) -> None:
    assert captured.tree(NEXT).splitlines()[1:] == ["  invoke_node step", "  invoke_node other"]
    assert [events(span) for span in captured.spans] == [[]] * 3


@pytest.mark.parametrize("cls", [GoesOn, GoesThrough])
def test_a_flow_that_finds_its_way_by_itself_is_not_said_to_end(cls: type[Flow]) -> None:
    with capture_spans() as captured:
        lost(cls).run({})
    assert_told_as_it_went(captured)


@pytest.mark.parametrize(("name", "function"), OWN.items())
def test_nor_is_one_that_was_given_its_way(name: str, function: FunctionType) -> None:
    flow = lost()
    setattr(flow, name, MethodType(function, flow))
    with capture_spans() as captured:
        flow.run({})
    assert_told_as_it_went(captured)


@pytest.mark.parametrize(("name", "function"), OWN.items())
def test_nor_is_any_where_pocketflow_was_given_another_way_before_us(
    name: str, function: FunctionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flow, name, function)
    with capture_spans() as captured:
        lost().run({})
    assert_told_as_it_went(captured)


@pytest.mark.parametrize(("name", "function"), OWN.items())
def test_nor_where_it_was_given_one_after_us(
    name: str, function: FunctionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_spans() as captured:
        monkeypatch.setattr(Flow, name, function)
        lost().run({})
        monkeypatch.undo()
    assert_told_as_it_went(captured)


def test_what_a_flow_of_a_patched_class_writes_between_two_steps_is_no_change_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def note(flow: Flow, curr: Node, action: object) -> Node | None:
        store["between"] = action
        return curr.successors.get(action or "default")

    store: Store = {}
    step = Step()
    step >> Step()
    with capture_spans() as captured:
        monkeypatch.setattr(Flow, "get_next_node", note)
        Flow(start=step).run(store)
        monkeypatch.undo()
    assert captured.tree("pocketflow.shared.added.keys").splitlines()[1:] == ["  invoke_node Step"] * 2
