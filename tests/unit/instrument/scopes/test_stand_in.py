"""What PocketFlow asks its `self` for, the node is asked for, as often and with the same result."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncBatchFlow, AsyncFlow, AsyncNode, BatchFlow, Flow, Node

from pocketflow_otel.instrument.scopes.node import NodeScope
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Iterator

ALARM = signal.SIGUSR1
ASKED = [
    (Node, "prep"), (Node, "_exec"), (Node, "exec"), (Node, "post"), (BatchFlow, "prep"),
    (AsyncNode, "prep_async"), (AsyncNode, "exec_async"), (AsyncNode, "post_async"),
    (AsyncBatchFlow, "prep_async"),
]  # fmt: skip


def execute(node: Any) -> None:
    if isinstance(node, AsyncNode):
        asyncio.run(AsyncFlow(start=node).run_async({}))
    else:
        Flow(start=node).run({})


@pytest.mark.parametrize(("base", "name"), ASKED)
def test_a_property_that_has_no_value_yet_is_asked_once(base: type, name: str) -> None:
    asked: list[str] = []

    def value(self: object) -> object:
        asked.append(name)
        if len(asked) == 1:
            raise AttributeError("not connected yet")
        return lambda *_: None

    with capture_spans() as captured, pytest.raises(AttributeError, match="not connected yet"):
        execute(type("Lazy", (base,), {name: property(value)})())
    assert asked == [name]
    assert {span.status.status_code.name for span in captured.spans} == {"ERROR"}


@pytest.fixture
def alarm() -> Iterator[None]:
    def limit(number: int, frame: object) -> None:
        raise AttributeError("the limit")

    before = signal.signal(ALARM, limit)
    yield
    signal.signal(ALARM, before)


@pytest.mark.parametrize("told", ["begin_exec", "begin_attempt", "begin_post"])
def test_a_time_limit_may_be_an_attribute_error(
    told: str, alarm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeScope, told, lambda *_: signal.raise_signal(ALARM))
    with capture_spans(), pytest.raises(AttributeError, match="the limit"):
        Flow(start=type("Work", (Node,), {})()).run({})
