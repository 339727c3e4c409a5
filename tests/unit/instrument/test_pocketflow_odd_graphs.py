"""What PocketFlow refuses, PocketFlow refuses: odd things in a graph fail as they do untraced."""

from __future__ import annotations

import warnings
from collections import ChainMap, defaultdict
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, Mock

import pytest
from opentelemetry.trace import StatusCode
from pocketflow import Flow, Node
from tests.support.steps import Step

from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable


class Slotted:
    __slots__ = ("params",)


class SlottedNode(Slotted):
    """Has what PocketFlow asks a node for, and no dict."""

    __slots__ = ("successors",)

    def __init__(self) -> None:
        self.successors: dict[str, Any] = {}

    def set_params(self, params: object) -> None:
        self.params = params

    def _run(self, shared: Any) -> None:
        shared["slotted"] = True


class Refuses:
    """Raises on each look at it, as a proxy does whose object is not there."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} outside of a request")


class Bare(Node):
    """Forgets its `super().__init__()`."""

    def __init__(self) -> None:
        pass


class OddSuccessors(Node):
    def __init__(self, successors: Any) -> None:
        super().__init__()
        self.successors = successors


class LazySuccessors(Node):
    @property
    def successors(self) -> Any:
        raise LookupError("not yet")

    @successors.setter
    def successors(self, value: Any) -> None: ...


class OddName(Node):
    @property
    def name(self) -> Any:
        raise LookupError("no name yet")


class NoName(Node):
    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


class Metaclass(type):
    @property
    def name(cls) -> Any:
        raise LookupError("no name of a class")


class OfMetaclass(Node, metaclass=Metaclass):
    pass


class NoTruth(Node):
    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")


class Uncopied(Node):
    def __copy__(self) -> Any:
        raise TypeError("cannot be copied")


class Copied(Node):
    """Is another one when it is copied."""

    def __copy__(self) -> Any:
        return SimpleNamespace(successors={})


ODD: dict[str, Callable[[], Any]] = {
    "a list": lambda: [Node(), Node()],
    "a tuple": lambda: (Node(),),
    "a dict": lambda: {"default": Node()},
    "None": lambda: None,
    "a string": lambda: "node",
    "a number": lambda: 7,
    "a function": lambda: lambda: None,
    "a generator": lambda: (node for node in [Node()]),
    "a class": lambda: Node,
    "an object": object,
    "slots": Slotted,
    "a node with slots": SlottedNode,
    # One that keeps its own successors would never end, bare or traced.
    "a mock": lambda: Mock(successors={}),
    "a magic mock": lambda: MagicMock(successors={}),
    "a mock of a node": lambda: Mock(spec=Node),
    "a namespace": SimpleNamespace,
    "what raises on each look": Refuses,
    "a node without its constructor": Bare,
    "successors that are none": lambda: OddSuccessors(None),
    "successors in a list": lambda: OddSuccessors([Node()]),
    "successors in a string": lambda: OddSuccessors("default"),
    "successors in a default dict": lambda: OddSuccessors(defaultdict(lambda: "node")),
    "successors in a chain": lambda: OddSuccessors(ChainMap({"default": [1]})),
    "successors that are read only": lambda: OddSuccessors(MappingProxyType({"default": 1})),
    "successors in a mock": lambda: OddSuccessors(Mock(**{"get.return_value": None})),
    "successors of other kinds": lambda: OddSuccessors({None: 1, 1: [], "default": ""}),
    "successors that raise": LazySuccessors,
    "a name that raises": OddName,
    "an attribute that raises": NoName,
    "a metaclass that raises": OfMetaclass,
    "a node without truth": NoTruth,
    "a node that cannot be copied": Uncopied,
    "a node that copies as something else": Copied,
    "a flow that starts with a list": lambda: Flow(start=[Node()]),
    "a flow that starts with nothing": Flow,
}


def outcome(flow: Any) -> tuple[Any, ...]:
    """Return what comes of a run: its result or its error, what it warned of, and what is in its store."""
    shared: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        ended: tuple[Any, ...]
        try:
            ended = (type(flow.run(shared)).__name__,)  # Each mock has a class of its own.
        except Exception as error:
            notes = getattr(error, "__notes__", None)
            ended = type(error).__name__, str(error).partition(" at 0x")[0], error.__cause__, notes
    return ended, [str(warning.message) for warning in warned], shared


def starting(odd: Any) -> Flow:
    return Flow(start=odd)


def second(odd: Any) -> Flow:
    first = Step("First")
    first >> odd
    return Flow(start=first)


def of_an_action(odd: Any) -> Flow:
    first = Step("First")
    first - "default" >> odd
    first - "other" >> Step("Other")
    return Flow(start=first)


@pytest.mark.parametrize("graph", [starting, second, of_an_action])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_odd_in_a_graph_ends_as_it_does_untraced(
    kind: str, graph: Callable[[Any], Flow], caplog: pytest.LogCaptureFixture
) -> None:
    bare = outcome(graph(ODD[kind]()))
    with capture_spans() as captured:
        traced = outcome(graph(ODD[kind]()))
    built = graph(ODD[kind]())
    with capture_spans() as captured_later:
        later = outcome(built)

    assert (traced, later) == (bare, bare)
    assert caplog.messages == []
    for spans in (captured.spans, captured_later.spans):
        (root,) = [span for span in spans if span.parent is None]
        failed = len(bare[0]) > 1
        assert (root.status.status_code is StatusCode.ERROR) is failed
