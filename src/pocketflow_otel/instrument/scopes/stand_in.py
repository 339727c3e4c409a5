"""What PocketFlow's own methods get for `self`: the user's node, with eyes.

`Node._run` asks its `self` for `prep`, `_exec` and `post`, `Node._exec` for `exec` and, when that has
failed, for how often to try. To see a step it is enough to be asked: the user's methods are called by
PocketFlow itself, on the node itself, whatever they are, and have no wrapper.
"""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import failed, is_exception, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_WATCHING: Final = "follow a step"
_FALLBACKS: Final = frozenset({"exec_fallback", "exec_fallback_async"})


class StandIn:
    """Stands in for a node or flow: has its class and its attributes, and sets them on it.

    Where a property of a class raises an `AttributeError`, Python goes on to `__getattr__`. The node shall
    not be asked twice: so the properties here keep what it raised, to be raised there.

    Args:
        node: The user's node or flow.
        scope: Its open scope: an `AttemptedScope`, or the `FlowScope` of a batch flow.
    """

    __slots__ = ("_traced_node", "_traced_refusal", "_traced_scope")

    _traced_node: Any
    _traced_scope: Any
    _traced_refusal: AttributeError

    def __init__(self, node: Any, scope: Any) -> None:
        _set_node(self, node)
        _set_scope(self, scope)

    # Makes `isinstance(self, AsyncNode)` and `super(BatchNode, self)` true of it.
    __class__ = property(lambda self: type(self._traced_node))

    def __getattr__(self, name: str) -> Any:
        if name in type(self).__dict__:
            raise _take_refusal(self)
        return getattr(self._traced_node, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._traced_node, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._traced_node, name)

    def __repr__(self) -> str:
        return repr(self._traced_node)

    def __eq__(self, other: object) -> bool:
        return bool(self._traced_node == real(other))

    def __hash__(self) -> int:
        return hash(self._traced_node)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._traced_node.__reduce_ex__(protocol)


_set_node: Final = StandIn.__dict__["_traced_node"].__set__
_set_scope: Final = StandIn.__dict__["_traced_scope"].__set__
_keep_refusal: Final = StandIn.__dict__["_traced_refusal"].__set__
_drop_refusal: Final = StandIn.__dict__["_traced_refusal"].__delete__
_node_of: Final = StandIn.__dict__["_traced_node"].__get__


def _take_refusal(stand_in: StandIn) -> AttributeError:
    """Return what a property raised, and let go of it: its traceback leads to the stand-in."""
    refusal = stand_in._traced_refusal
    _drop_refusal(stand_in)
    return refusal


def _asked_once(get: Callable[[Any], Any]) -> Any:
    """Return a property that keeps an `AttributeError` for `__getattr__`."""

    def ask(stand_in: StandIn) -> Any:
        try:
            return get(stand_in)
        except AttributeError as error:
            _keep_refusal(stand_in, error)
            raise

    return property(ask)


def _telling(name: str, event: str) -> Any:
    """Return a property: the node's `name`, after its scope has been told by a call of `event`."""
    value = attrgetter(f"_traced_node.{name}")

    def get(stand_in: NodeStandIn) -> Any:
        try:
            getattr(stand_in._traced_scope, event)()
        except Exception as error:
            failed(_WATCHING, error)
        return value(stand_in)

    return _asked_once(get)


class NodeStandIn(StandIn):
    """Stands in for a node, and tells its scope what PocketFlow is about to do with it."""

    __slots__ = ()

    prep = _asked_once(attrgetter("_traced_node.prep"))
    prep_async = _asked_once(attrgetter("_traced_node.prep_async"))

    @_asked_once
    def _exec(self) -> Any:
        method = self._traced_node._exec
        try:
            return self._traced_scope.begin_exec(method, self)
        except Exception as error:
            failed(_WATCHING, error)
        return method

    exec = _telling("exec", "begin_attempt")
    exec_async = _telling("exec_async", "begin_attempt")
    post = _telling("post", "begin_post")
    post_async = _telling("post_async", "begin_post")

    @_asked_once
    def max_retries(self) -> Any:
        if sys.exc_info()[1] is not None:
            _see_failure(self, "max_retries", sys._getframe(2))
        return self._traced_node.max_retries

    def __getattr__(self, name: str) -> Any:
        if name in _FALLBACKS or sys.exc_info()[1] is not None:
            _see_failure(self, name, sys._getframe(1))
        return super().__getattr__(name)


def _see_failure(stand_in: NodeStandIn, name: str, asking: FrameType) -> None:
    """Take note of an attempt that failed: PocketFlow asks for `name` in its `except` clause.

    Another exception may be under way around the step: that was not caught in the frame that asks.
    """
    try:
        error = sys.exc_info()[1]
        trace = traceback_of(error) if is_exception(error) else None
        if trace is not None and trace.tb_frame is asking:
            stand_in._traced_scope.attempt_caught(error)
        if name in _FALLBACKS:  # A copy may ask for it when it has left the clause.
            stand_in._traced_scope.begin_fallback()
    except Exception as fault:
        failed(_WATCHING, fault)


class BatchFlowStandIn(StandIn):
    """Stands in for a batch flow, and looks at the batch that its `prep` returns."""

    __slots__ = ()

    @_asked_once
    def prep(self) -> Any:
        prep, scope = self._traced_node.prep, self._traced_scope

        def traced_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            items = prep(*args, **kwargs)
            _begin_batch(scope, items)
            return items

        return traced_by_pocketflow_otel

    @_asked_once
    def prep_async(self) -> Any:
        prep, scope = self._traced_node.prep_async, self._traced_scope

        async def awaited_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            items = await prep(*args, **kwargs)
            _begin_batch(scope, items)
            return items

        return awaited_by_pocketflow_otel


def _begin_batch(scope: Any, items: object) -> None:
    try:
        if scope.batch is not None:
            scope.batch.begin(scope, items)
    except Exception as error:
        failed(_WATCHING, error)


def real(node: Any) -> Any:
    """Return the user's node or flow, where a stand-in may have been given."""
    return _node_of(node) if issubclass(type(node), StandIn) else node
