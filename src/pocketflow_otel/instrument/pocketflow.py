"""Which methods of PocketFlow are replaced, and by what.

Classes are patched, never instances: flows run copies. `_run*` and `exec*` are replaced on every
class that defines them, the user's included, so that an override without `super()` gives a span,
and each attempt is seen; `_exec` and `_orch*` on PocketFlow's own classes. The wrappers are plain
functions (bound methods must pickle), and sync and async differ by one `await`.
"""

from __future__ import annotations

import sys
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.around import around
from pocketflow_otel.instrument.attempts import open_attempt, open_fallback
from pocketflow_otel.instrument.family import Family
from pocketflow_otel.instrument.naming import TITLE
from pocketflow_otel.instrument.patch import Patches
from pocketflow_otel.instrument.steps import (
    ExecPhase,
    FlowScope,
    NodeScope,
    Preparation,
    RoundScope,
    open_exec,
    step_of,
)
from pocketflow_otel.instrument.titles import says_nothing, title_when_built
from pocketflow_otel.run import scope_of
from pocketflow_otel.semconv import EXEC

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from opentelemetry.context import Context

    from pocketflow_otel.instrument.around import Args, Around, Call
    from pocketflow_otel.instrument.tracing import Tracing
    from pocketflow_otel.run import Scope

_NAMING: Final = guard("name a flow")

_ORCHESTRATION: Final = ("_run", "_run_async", "_orch", "_orch_async", "get_next_node")
"""Methods of a flow in which a user's own code could write to the store between two nodes."""


class PocketFlow:
    """One copy of PocketFlow: its classes, and the methods replaced on them and their subclasses.

    Args:
        module: `pocketflow`, or a module with classes of the same names.
        tracing: Where spans come from.
    """

    def __init__(self, module: ModuleType, tracing: Tracing) -> None:
        self._tracing = tracing
        self._patches = Patches()
        self._node: type = module.BaseNode
        self._flow: type = module.Flow
        self._batch_node: type = module.BatchNode
        self._batch_flow: type = module.BatchFlow
        self._parallel: tuple[type, ...] = (module.AsyncParallelBatchNode, module.AsyncParallelBatchFlow)
        self._family = Family(self._node, self._patches, self._patch_class)
        self._own = frozenset(
            cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, self._node)
        )

    def patch(self) -> None:
        """Replace the methods of every class there is, and see to those still to come."""
        self._tracing.enabled = True
        self._patches.replace(self._flow, "__init__", self._naming)
        for cls in self._own:
            items = issubclass(cls, self._batch_node)
            self._patches.replace(cls, "_exec", around(_open_batch if items else open_exec))
            for name in ("_orch", "_orch_async"):
                self._patches.replace(cls, name, around(_open_round))
        self._family.patch()

    def undo(self) -> None:
        """Put every method back, and let calls pass where others have wrapped ours since."""
        self._tracing.enabled = False
        self._patches.undo()

    def _patch_class(self, cls: type) -> None:
        prepares = issubclass(cls, self._batch_flow)
        for base in cls.__mro__:  # mixins define methods too
            self._replace(base, "_run", self._step)
            self._replace(base, "exec", around(open_attempt))
            if base in self._own:
                continue  # Its `_exec` is replaced already, and its `exec_fallback` only raises.
            self._replace(base, "_exec", around(_open_batch))
            self._replace(base, "exec_fallback", around(open_fallback))
            if prepares:
                self._replace(base, "prep", around(_open_preparation))

    def _replace(self, cls: type, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
        """Replace a method and its async twin, if that really is async."""
        self._patches.replace(cls, name, make)
        if iscoroutinefunction(cls.__dict__.get(f"{name}_async")):
            self._patches.replace(cls, f"{name}_async", make)

    def _naming(self, function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(flow: Any, *args: Any, **kwargs: Any) -> None:
            function(flow, *args, **kwargs)
            if self._tracing.enabled:
                with _NAMING:
                    cls = type(flow)
                    if cls in self._own or says_nothing(cls.__name__):  # Else the class is a name.
                        flow.__dict__[TITLE] = title_when_built(sys._getframe(1))

        return wrapper

    def _step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return around(partial(self._open_step, function))(function)

    def _open_step(self, function: object, node: Any, args: Args, call: Call) -> Around | None:
        if not isinstance(node, self._node):
            return None
        tracing = self._tracing
        # By position from PocketFlow's releases, by name from the head of its repository.
        shared = args[0] if args else call.get("shared")
        return tracing.open_below(node, function, partial(self._scope, function, node, shared), self._begin)

    def _scope(
        self, method: object, node: Any, shared: object, parent: Scope | None
    ) -> FlowScope | NodeScope:
        cls = FlowScope if isinstance(node, self._flow) else NodeScope
        scope = cls(node, shared, parent, self._tracing)
        scope.method = method
        return scope

    def _begin(self, scope: FlowScope | NodeScope, context: Context | None) -> None:
        node = scope.owner
        if isinstance(scope, NodeScope):
            scope.open(context, parallel=self._parallel_mode(node, self._batch_node))
            return
        cls = type(node)
        scope.open(
            context,
            plain=cls in self._own,
            stock=all(self._defines(cls, name) for name in _ORCHESTRATION),
            parallel=self._parallel_mode(node, self._batch_flow),
        )

    def _parallel_mode(self, node: Any, batch: type) -> bool | None:
        return isinstance(node, self._parallel) if isinstance(node, batch) else None

    def _defines(self, cls: type, name: str) -> bool:
        """Tell whether `cls` has `name` from PocketFlow itself, or has none."""
        return next((base in self._own for base in cls.__mro__ if name in base.__dict__), True)


def _open_round(flow: Any, args: Args, call: Call) -> RoundScope | None:
    scope = scope_of()
    if not isinstance(scope, FlowScope) or scope.owner is not flow or scope.batch is None:
        return None
    round_ = RoundScope(scope.batch, scope)
    round_.open(args[1] if len(args) > 1 else call.get("params"))
    return round_


def _open_preparation(flow: Any, args: Args, call: Call) -> Preparation | None:
    scope = scope_of()
    if not isinstance(scope, FlowScope) or scope.owner is not flow or scope.preparing:
        return None
    return Preparation(scope)


def _open_batch(node: Any, args: Args, call: Call) -> Around | None:
    scope = step_of(node)
    if scope is None or scope.batch is None:
        return open_exec(node, args, call)
    if scope.phase == EXEC:
        return None
    phase = ExecPhase(scope)
    scope.batch.begin(scope, args[0] if args else call.get("prep_res", call.get("items")))
    return phase
