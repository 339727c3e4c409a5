"""Name flows, nodes and actions the way their authors think of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import guard, let_through
from pocketflow_otel.instrument.built_titles import title_of
from pocketflow_otel.instrument.titles import says_nothing, title_when_run
from pocketflow_otel.store.redaction import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME: Final = 128

UNKNOWN: Final = object()

_MAX_DEPTH: Final = 8

_NAMING: Final = guard("name a flow")

_own: Final = object.__getattribute__  # Looked up once: each step asks it.


def attributes_of(thing: Any) -> dict[str, Any]:
    """Return what an object has of its own, without asking it; nothing of what keeps no dict of its own.

    Anything may stand in a graph where a node belongs.
    """
    try:
        attributes = _own(thing, "__dict__")
    except Exception as error:
        let_through(error)
        return {}  # A descriptor of the user's, perhaps.
    return attributes if type(attributes) is dict else {}


def node_name(node: Any, own: Mapping[str, Any] | None = None) -> str:
    """Return a node's own `name` if it is a string, else the name of its class.

    Args:
        node: The node.
        own: Its `attributes_of`, where they are at hand.
    """
    return given_name(node, own) or type(node).__name__


def given_name(node: Any, own: Mapping[str, Any] | None = None) -> str | None:
    """Return the string an instance or its class calls `name`; a property is never run."""
    name = (attributes_of(node) if own is None else own).get("name")
    if name is None:
        for cls in type(node).__mro__:  # `getattr` would run a descriptor, or a metaclass's property.
            if "name" in cls.__dict__:
                name = cls.__dict__["name"]
                break
    return shorten(name, MAX_NAME) if type(name) is str and name else None


def flow_name(flow: Any, *, is_framework_class: bool) -> str | None:
    """Return the name of a flow: its own `name`, its class, or what its author's code calls it.

    `Flow` and `AsyncFlow` (`is_framework_class`) are types, not names; the convention for
    `gen_ai.workflow.name` asks not to record those. A class called `MyFlow` says as little.
    """
    name = given_name(flow)
    if name is not None:
        return name
    if not is_framework_class and not says_nothing(type(flow).__name__):
        return type(flow).__name__
    name, alone = title_of(attributes_of(flow))
    start, begins = _beginning(flow)
    if not name:
        with _NAMING:
            name, alone = title_when_run(flow, _first_node(start), sys._getframe(1))
    if begins and not alone:
        name = f"{name} ({begins})" if name else begins
    return shorten(name, MAX_NAME) or (None if is_framework_class else type(flow).__name__)


def _beginning(flow: Any) -> tuple[Any | None, str]:
    """Return the first node that runs, and how it is called: `Flow: Ask` in a flow without a name."""
    node, path = start_node(flow), ""
    for _ in range(_MAX_DEPTH):
        if node is None or given_name(node) or start_node(node) is None:
            break
        name, alone = title_of(attributes_of(node))
        path += name if alone else f"{type(node).__name__}: "
        if alone:
            return node, path
        node = start_node(node)
    return node, path if node is None else path + node_name(node)


def _first_node(start: Any | None) -> Any | None:
    """Return what runs first and is no flow: its class is the program's, not PocketFlow's."""
    for _ in range(_MAX_DEPTH):
        within = None if start is None else start_node(start)
        if within is None:
            break
        start = within
    return start


def action_name(returned: Any) -> str:
    """Return the action a step's `post` named; of what is no string, the type's name.

    >>> action_name("again"), action_name(None), action_name(3)
    ('again', 'default', 'int')
    """
    if issubclass(type(returned), str):  # As an enum's member may be, whose own `str` is another.
        return shorten(str.__str__(returned), MAX_NAME) or semconv.DEFAULT_ACTION
    return semconv.DEFAULT_ACTION if returned is None else type(returned).__name__


def successor_key(returned: Any) -> Any:
    """Return the key under which PocketFlow looks for the next node, after what `post` returned.

    `UNKNOWN` when telling would call the code of a user's own type.
    """
    if issubclass(type(returned), str):
        return str.__str__(returned) or semconv.DEFAULT_ACTION
    if returned is None or type(returned) in (bool, int, float, bytes):
        return returned or semconv.DEFAULT_ACTION
    return UNKNOWN


def start_node(flow: Any) -> Any | None:
    """Return the node a flow starts with; PocketFlow 0.0.1 calls it `start`."""
    start = attributes_of(flow).get("start_node")
    return attributes_of(flow).get("start") if start is None else start


def successors(node: Any) -> dict[str, Any]:
    """Return a node's successors by action; empty when it keeps none of its own."""
    found = attributes_of(node).get("successors")
    return found if type(found) is dict else {}
