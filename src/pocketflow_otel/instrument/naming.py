"""Name flows, nodes and actions the way their authors think of them."""

from __future__ import annotations

import re
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.capture.redact import shorten

if TYPE_CHECKING:
    from types import FrameType

MAX_NAME: Final = 128

BUILDER: Final = "_pocketflow_otel_builder"
"""Attribute of a flow instance: the name of what built it. Copies of the flow carry it along."""

UNKNOWN: Final = object()

_BUILDS: Final = re.compile(r"^_*(?:create|build|make|get|new|construct|setup|init|define)_+(?=\w)")


def node_name(node: Any) -> str:
    """Return a node's own `name` if it is a string, else the name of its class."""
    return given_name(node) or type(node).__name__


def given_name(node: Any) -> str | None:
    """Return the string an instance or its class calls `name`; a property is never run."""
    name = node.__dict__.get("name")
    if name is None:
        for cls in type(node).__mro__:  # `getattr` would run a descriptor, or a metaclass's property.
            if "name" in cls.__dict__:
                name = cls.__dict__["name"]
                break
    return shorten(name, MAX_NAME) if type(name) is str and name else None


def flow_name(flow: Any, *, plain: bool) -> str | None:
    """Return the meaningful name of a flow, if it has one.

    Its own `name`; else its class, unless that is one of PocketFlow's (`plain`); else what built
    it. `Flow` and `AsyncFlow` are types, not names; the convention for `gen_ai.workflow.name` asks
    not to record those.
    """
    name = given_name(flow)
    if name is None:
        name = flow.__dict__.get(BUILDER) if plain else type(flow).__name__
    return name


def builder_name(frame: FrameType | None) -> str | None:
    """Return the name of the code that builds a flow: `create_qa_flow` makes `qa_flow`.

    Args:
        frame: The frame that called the flow's constructor. Those of lambdas, comprehensions and
            subclasses' constructors are passed over; module level gives the module's name.
    """
    while frame is not None:
        name = frame.f_code.co_name
        if name in ("<module>", "main"):
            return _module_name(frame)
        if not name.startswith("<") and name not in ("__init__", "__call__", "__new__"):
            return shorten(_BUILDS.sub("", name), MAX_NAME)
        frame = frame.f_back
    return None


def _module_name(frame: FrameType) -> str | None:
    name = frame.f_globals.get("__name__")
    if name == "__main__" or type(name) is not str:
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        return PurePath(file).stem if type(file) is str else None
    return name


def action_name(returned: Any) -> str:
    """Return the action a step's `post` named; of what is no string, the type's name.

    >>> action_name("again"), action_name(None), action_name(3)
    ('again', 'default', 'int')
    """
    if issubclass(type(returned), str):  # As an enum's member may be, whose own `str` is another.
        return shorten(str.__str__(returned), MAX_NAME) or semconv.DEFAULT_ACTION
    return semconv.DEFAULT_ACTION if returned is None else type(returned).__name__


def way(returned: Any) -> Any:
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
    start = flow.__dict__.get("start_node")
    return flow.__dict__.get("start") if start is None else start


def successors(node: Any) -> dict[str, Any]:
    """Return a node's ways on by action; empty when it keeps none of its own."""
    found = node.__dict__.get("successors")
    return found if type(found) is dict else {}
