"""Shared stores of every kind, and the diff of one that is changed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from pocketflow import Flow, Node

from pocketflow_otel.store.snapshot import Diff, Snapshot
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable


UNCHANGED = Diff()
BOUNDED = Diff(bounded=True)


def modified(*keys: object) -> Diff:
    return Diff(modified=keys)


def removed(*keys: object) -> Diff:
    return Diff(removed=keys)


def diff(shared: Any, mutate: Callable[[Any], object]) -> Diff | None:
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    mutate(shared)
    return snapshot.update(shared)


class Color(Enum):
    RED = 1


class Document:
    def __init__(self) -> None:
        self.pages = ["one"]


class Edit(Node):
    def __init__(self, edit: Callable[[Any], object]) -> None:
        super().__init__()
        self.edit = edit

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        self.edit(shared)


def on_span(shared: Any, edit: Callable[[Any], object]) -> dict[str, Any]:
    """Return what the span of a step says about its store, without the common prefix."""
    with capture_spans() as captured:
        Flow(start=Edit(edit)).run(shared)
    attributes = captured.one("invoke_node Edit").attributes
    assert attributes is not None
    prefix = "pocketflow.shared."
    return {
        name.removeprefix(prefix): list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }
