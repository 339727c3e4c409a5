"""Flows and nodes are called what their authors call them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from pocketflow import Flow, Node
from tests.support.scoped import Step, Support

from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable


def create_qa_flow() -> Flow:
    return Flow(start=Step())


def _build_report() -> Flow:
    make = lambda: [Flow(start=Step()) for _ in range(1)]  # noqa: E731 - what is passed over
    return make().pop()


class Factory:
    def make_search(self) -> Flow:
        return Flow(start=Step())

    def __call__(self) -> Flow:
        return Flow(start=Step())

    def build(self) -> Flow:
        return Flow(start=Step())


def main() -> Flow:
    return Flow(start=Step())


def named_flow() -> Flow:
    flow = Flow(start=Step())
    flow.name = "by hand"
    return flow


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (create_qa_flow, " qa_flow"),
        (_build_report, " report (Step)"),
        (Factory().make_search, " search"),
        (Factory().build, " test_naming (Step)"),
        (lambda: Support(start=Step()), " Support"),
        (named_flow, " by hand"),
        (main, " test_naming"),
        (functools.partial(eval, "Flow()", {"Flow": Flow, "__name__": "notebook"}), ""),
    ],
    ids=lambda value: value.strip() or "none" if isinstance(value, str) else "",
)
def test_a_flow_is_named_by_its_author(build: Callable[[], Flow], name: str) -> None:
    with capture_spans() as captured:
        build().run({})
    assert captured.tree().splitlines()[0] == f"invoke_workflow{name}"


def test_a_flow_built_before_tracing_has_a_name_which_is_not_its_class() -> None:
    flow = create_qa_flow()
    with capture_spans() as captured:
        flow.run({})
    assert captured.tree("gen_ai.workflow.name", "pocketflow.flow.class").splitlines() == [
        "invoke_workflow qa_flow name=qa_flow class=Flow",
        "  invoke_node Step",
    ]


def test_the_name_of_a_node_is_read_and_never_run() -> None:
    class Meta(type):
        @property
        def name(cls) -> str:
            raise AssertionError

    class OfMeta(Node, metaclass=Meta):
        pass

    class Property(Node):
        @property
        def name(self) -> str:
            raise AssertionError

    class Descriptor(Node):
        class name:
            def __get__(self, instance: object, owner: type) -> str:
                raise AssertionError

        name = name()  # type: ignore[assignment, misc]

    class OfClass(Node):
        name = "of the class"

    class Heir(OfClass):
        pass

    class Truthless:
        def __bool__(self) -> bool:
            raise AssertionError

    other, empty, long = Node(), Step(name=""), Step(name="x" * 200)
    other.name = Truthless()
    with capture_spans() as captured:
        for node in (OfMeta(), Property(), Descriptor(), OfClass(), Heir(), other, empty, long):
            node.run({})
    assert captured.tree().splitlines() == [
        "invoke_node OfMeta",
        "invoke_node Property",
        "invoke_node Descriptor",
        "invoke_node of the class",
        "invoke_node of the class",
        "invoke_node Node",
        "invoke_node Step",
        f"invoke_node {'x' * 127}…",
    ]
