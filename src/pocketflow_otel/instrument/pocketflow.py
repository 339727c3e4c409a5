"""Which methods of PocketFlow are replaced, and by what.

Classes are patched, never instances: flows run copies. `_run*` is replaced on PocketFlow's own classes,
and from there a stand-in for `self` sees the rest: see `scopes.stand_in`. What PocketFlow calls on the
node itself is replaced, too: `_exec`, which runs the items of a batch, and `_orch*` of batch flows.

Of the user's classes those methods alone are replaced by which they take PocketFlow's place: `_run*`, so
that an override without `super()` gives a span, and one with it gives no second; `_exec`, and then what
that calls. There the replacement is hidden.
"""

from __future__ import annotations

import sys
from functools import partial
from inspect import iscoroutinefunction
from opcode import opmap
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.built_titles import keep_title
from pocketflow_otel.instrument.main_classes import MAIN_MODULES
from pocketflow_otel.instrument.naming import attributes_of
from pocketflow_otel.instrument.patching import Patches, SubclassPatcher, original_of
from pocketflow_otel.instrument.scopes.attempts import Pass, open_attempt, open_fallback
from pocketflow_otel.instrument.scopes.batch import BatchState
from pocketflow_otel.instrument.scopes.flow import FlowScope, open_prep, open_round
from pocketflow_otel.instrument.scopes.node import NodeScope, open_batch, open_exec
from pocketflow_otel.instrument.scopes.stand_in import real
from pocketflow_otel.instrument.span_scope import Continuation
from pocketflow_otel.instrument.titles import says_nothing, title_when_built
from pocketflow_otel.instrument.wrapping import call_wrapper
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.tracer import FlowTracer
    from pocketflow_otel.instrument.wrapping import Args, CallHandler, Kwargs
    from pocketflow_otel.runtime.scope import Scope

_NAMING: Final = guard("name a flow")

_ORCHESTRATION: Final = ("_run", "_run_async", "_orch", "_orch_async", "get_next_node")
"""Methods of a flow in which a user's own code could write to the store between two nodes."""

_ROUTING: Final = frozenset({"_orch", "_orch_async", "get_next_node"})
"""Those of them that find the next node."""

_NAMES: Final = frozenset({
    "AsyncNode", "RuntimeError", "_exec", "_orch", "_orch_async", "_run", "_run_async", "asyncio", "copy",
    "gather", "get", "get_next_node", "isinstance", "list", "params", "post", "post_async", "prep",
    "prep_async", "set_params", "start", "start_node", "successors", "warn", "warnings",
})  # fmt: skip
"""What PocketFlow's releases name in these methods: none of it writes to the store. A copy's may."""
_STORE: Final = opmap["STORE_SUBSCR"]

_METHODS: Final[dict[str, tuple[str, ...]]] = {
    "BaseNode": ("_run",),  # It may leave `_exec` to those that inherit from it.
    "Node": ("_run", "_exec"),
    "BatchNode": ("_exec",),
    "Flow": ("_run",),
    "BatchFlow": ("_run", "_orch"),
    "AsyncNode": ("_run_async", "_exec"),
    "AsyncBatchNode": ("_exec",),
    "AsyncParallelBatchNode": ("_exec",),
    "AsyncFlow": ("_run_async",),
    "AsyncBatchFlow": ("_run_async", "_orch_async"),
    "AsyncParallelBatchFlow": ("_run_async", "_orch_async"),
}
"""PocketFlow's classes, and the methods without which what they do is not seen."""


class PocketFlowPatcher:
    """One copy of PocketFlow: its classes, and the methods replaced on them and their subclasses.

    A copy may have only some of the classes; it is traced as far as it goes.

    Args:
        module: `pocketflow`, or a module with classes of the same names.
        flow_tracer: Where spans come from.

    Attributes:
        classes: Those of PocketFlow's classes that there are, by name; none in a module that is
            something else.
    """

    def __init__(self, module: ModuleType, flow_tracer: FlowTracer) -> None:
        self._flow_tracer = flow_tracer
        self._patches = Patches()
        classes = {name: cls for name in _METHODS if isinstance(cls := vars(module).get(name), type)}
        runs = any(_has(cls, name) for cls in classes.values() for name in ("_run", "_run_async"))
        self.classes: dict[str, type] = classes if runs else {}
        # By identity: a metaclass of the user's may have classes that cannot be hashed.
        self._own = set(map(id, self.classes.values()))
        # What nodes and flows inherit from: `BaseNode`, if that is what they do.
        self._nodes = self._bases(*_METHODS)
        self._flows = self._bases("Flow", "AsyncFlow")
        self._batch_nodes = self._bases("BatchNode", "AsyncBatchNode", "AsyncParallelBatchNode")
        self._batch_flows = self._bases("BatchFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow")
        self._parallel = self._bases("AsyncParallelBatchNode", "AsyncParallelBatchFlow")
        self._non_writing = {
            id(method): method for cls in self.classes.values() for method in _non_writing(cls)
        }
        self._patchers = [SubclassPatcher(cls, self._patches, self._patch_class) for cls in self._nodes]

    def _bases(self, *names: str) -> tuple[type, ...]:
        """Return the classes of these names, without those that inherit from one of the others."""
        found = {self.classes[name]: None for name in names if name in self.classes}
        return tuple(cls for cls in found if found.keys().isdisjoint(cls.__mro__[1:]))

    def missing(self) -> list[str]:
        """Return what the copy would need to have, for all that it does to be seen."""
        kinds = [kind for kind in ("Node", "Flow") if not any(name.endswith(kind) for name in self.classes)]
        return kinds + [
            f"{name}.{method}"
            for name, cls in self.classes.items()
            for method in _METHODS[name]
            if not _has(cls, method)
        ]

    def patch(self) -> None:
        """Replace the methods of every class there is, and see to those still to come."""
        self._flow_tracer.enabled = True
        for cls in self._flows:
            self._patches.replace(cls, "__init__", self._title_wrapper, hidden=_is_of_main(cls))
        for cls in self.classes.values():
            open_ = open_batch if issubclass(cls, self._batch_nodes) else open_exec
            wrap = call_wrapper(open_, takes_stand_in=True)
            self._patches.replace(cls, "_exec", wrap, hidden=_is_of_main(cls))
            if issubclass(cls, self._batch_flows):
                for name in ("_orch", "_orch_async"):
                    self._patches.override(cls, name, call_wrapper(open_round), hidden=_is_of_main(cls))
        for patcher in self._patchers:
            patcher.patch()

    def undo(self) -> None:
        """Put every method back, and let calls pass where others have wrapped ours since."""
        self._flow_tracer.enabled = False
        self._patches.undo()

    def _patch_class(self, cls: type) -> None:
        # Where `_exec` is the user's, no stand-in is asked for `exec`; where `_run` is, none for `prep`.
        own_exec = self._has_own_exec(cls)
        own_prep = issubclass(cls, self._batch_flows) and self._has_own_run(cls)
        for base in cls.__mro__:  # mixins define methods too
            if id(base) in self._own:
                self._replace(base, "_run", self._step_wrapper, hidden=_is_of_main(base))
                continue
            self._replace(base, "_run", self._own_step_wrapper, hidden=True)
            self._replace(base, "_exec", call_wrapper(open_batch), hidden=True)
            if own_prep:
                self._replace(base, "prep", call_wrapper(open_prep), hidden=True, applies=self._has_own_run)
            if own_exec:
                for name, open_ in (("exec", open_attempt), ("exec_fallback", open_fallback)):
                    self._replace(base, name, call_wrapper(open_), hidden=True, applies=self._has_own_exec)

    def _is_overridden(self, cls: type, name: str) -> bool:
        """Return whether a class has a method from elsewhere than PocketFlow itself."""
        home = next((base for base in cls.__mro__ if name in base.__dict__), None)
        return home is not None and id(home) not in self._own

    def _has_own_exec(self, cls: type) -> bool:
        return self._is_overridden(cls, "_exec")

    def _has_own_run(self, cls: type) -> bool:
        return self._is_overridden(cls, "_run") or self._is_overridden(cls, "_run_async")

    def _replace(
        self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]], **hiding: Any
    ) -> None:
        """Replace a method and its async counterpart, if that really is async."""
        self._patches.replace(cls, name, make, **hiding)
        if iscoroutinefunction(original_of(cls.__dict__.get(f"{name}_async"))):
            self._patches.replace(cls, f"{name}_async", make, **hiding)

    def _title_wrapper(self, function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(flow: Any, *args: Any, **kwargs: Any) -> None:
            function(flow, *args, **kwargs)
            if self._flow_tracer.enabled:
                with _NAMING:
                    cls = type(flow)
                    if id(cls) in self._own or says_nothing(cls.__name__):  # Else the class is a name.
                        keep_title(flow, title_when_built(sys._getframe(1)))

        return wrapper

    def _step_wrapper(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self._own_step_wrapper(function, takes_stand_in=True)

    def _own_step_wrapper(
        self, function: Callable[..., Any], *, takes_stand_in: bool = False
    ) -> Callable[..., Any]:
        def open_(args: Args, kwargs: Kwargs) -> CallHandler | None:
            return self._open_step(function, args, kwargs)

        return call_wrapper(open_, takes_stand_in=takes_stand_in)(function)

    def _open_step(self, function: object, args: Args, kwargs: Kwargs) -> CallHandler | None:
        node = real(args[0]) if args else None
        if not issubclass(type(node), self._nodes):
            return None
        # By position from PocketFlow's releases, by name from the head of its repository.
        shared = args[1] if len(args) > 1 else kwargs.get("shared")
        is_flow = issubclass(type(node), self._flows)
        kind, batches = (FlowScope, self._batch_flows) if is_flow else (NodeScope, self._batch_nodes)
        make = partial(self._make_scope, kind, batches, function, node, shared)
        begin: Callable[[Any, Context | None], None] = self._begin_flow if is_flow else NodeScope.begin
        opened = self._flow_tracer.open_below(node, function, make, begin)
        return _open_super_call(function, node) if opened is None else opened

    def _make_scope(
        self,
        kind: type[FlowScope | NodeScope],
        batches: tuple[type, ...],
        method: object,
        node: Any,
        shared: object,
        parent: Scope | None,
    ) -> FlowScope | NodeScope:
        scope = kind(node, shared, parent, self._flow_tracer)
        scope.method = method
        if issubclass(type(node), batches):
            scope.batch = BatchState(parallel=issubclass(type(node), self._parallel))
        return scope

    def _begin_flow(self, scope: FlowScope, context: Context | None) -> None:
        flow = scope.owner
        own_code = [name for name in _ORCHESTRATION if not self._is_as_released(flow, name)]
        scope.begin(
            context,
            is_framework_class=id(type(flow)) in self._own,
            framework_loop_only=not own_code,
            framework_routing=_ROUTING.isdisjoint(own_code),
        )

    def _is_as_released(self, flow: Any, name: str) -> bool:
        """Return whether a flow has `name` from PocketFlow itself, as it was released, or has none."""
        if name in attributes_of(flow):
            return False
        found = next((base.__dict__[name] for base in type(flow).__mro__ if name in base.__dict__), None)
        return found is None or id(original_of(found)) in self._non_writing


def _is_of_main(cls: type) -> bool:
    """Return whether a class is pickled with all that it has: the main module has no name to import it by."""
    return cls.__module__ in MAIN_MODULES


def _open_super_call(function: object, node: object) -> CallHandler | None:
    """Open what a call of `super()._run` goes on with: the open scope of its node or flow."""
    scope = scope_of()
    if isinstance(scope, FlowScope | NodeScope) and scope.owner is node and scope.is_super_call(function):
        return Pass(scope) if isinstance(scope, NodeScope) else Continuation(scope)
    return None


def _has(cls: type, name: str) -> bool:
    """Return whether a class has a method that can be replaced where it is defined."""
    return any(type(base.__dict__.get(name)) is FunctionType for base in cls.__mro__)


def _non_writing(cls: type) -> Iterator[FunctionType]:
    """Yield those methods of a class's own orchestration that cannot write to the store, by their code.

    What somebody has put in their place is none of them.
    """
    for method in map(cls.__dict__.get, _ORCHESTRATION):
        if type(method) is not FunctionType or method.__globals__.get("__name__") != cls.__module__:
            continue
        if not _writes(method.__code__):
            yield method


def _writes(code: CodeType) -> bool:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return not _NAMES.issuperset(code.co_names) or _STORE in code.co_code[::2] or any(map(_writes, inner))
