"""Hooks: replaced functions of modules, whose arguments are found by name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard
from pocketflow_otel.instrument.tracebacks import clear_traceback
from pocketflow_otel.instrument.wrapping import call_wrapper
from pocketflow_otel.runtime.context import current_context
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from pocketflow_otel.instrument.patching import Patches
    from pocketflow_otel.instrument.wrapping import Args, CallHandler, Kwargs

_CHANGING: Final = guard("change the arguments of a call")


class Arguments:
    """The arguments of one call, found by their names, however they are passed.

    Args:
        positions: The position of each parameter.
        args, kwargs: As the caller passed them.
    """

    __slots__ = ("_positions", "args", "kwargs")

    def __init__(self, positions: dict[str, int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._positions = positions
        self.args = args
        self.kwargs = kwargs

    def __getitem__(self, name: str) -> Any:
        """Return an argument; `None` where it is not passed, or there is no such parameter."""
        position = self._positions.get(name, len(self.args))
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def __setitem__(self, name: str, value: object) -> None:
        position = self._positions.get(name, len(self.args))
        if position < len(self.args):
            self.args = (*self.args[:position], value, *self.args[position + 1 :])
        else:
            self.kwargs = {**self.kwargs, name: value}


@dataclass(frozen=True, slots=True)
class Hook:
    """One function of pflow, and the handler of its calls.

    Attributes:
        name: `function`, or `Class.method`.
        open: Opens what stands around a call; `None` lets it pass.
        change: Changes the arguments of a call instead.
        needs: The parameters that are read; without one of them the hook is of no use.
        required: Whether a pflow without it is one we do not know.
    """

    name: str
    open: Callable[[Arguments], CallHandler | None] | None = None
    change: Callable[[Arguments], None] | None = None
    needs: tuple[str, ...] = ()
    required: bool = True

    def install(self, module: ModuleType, patches: Patches) -> bool:
        """Replace the function in its module; tell whether it was there."""
        owner, _, name = self.name.rpartition(".")
        holder: Any = module.__dict__.get(owner) if owner else module
        function = getattr(holder, "__dict__", {}).get(name)
        if not inspect.isfunction(function):
            return False
        positions = {
            parameter: position for position, parameter in enumerate(inspect.signature(function).parameters)
        }
        if any(needed not in positions for needed in self.needs):
            return False
        patches.replace(holder, name, lambda function: self._wrap(function, positions))
        return True

    def _wrap(self, function: Callable[..., Any], positions: dict[str, int]) -> Callable[..., Any]:
        open_, change = self.open, self.change
        if change is not None:
            return _changing(function, change, positions)

        def open_call(args: Args, kwargs: Kwargs) -> CallHandler | None:
            return open_(Arguments(positions, args, kwargs)) if open_ is not None else None

        return call_wrapper(open_call)(function)


def _changing(
    function: Callable[..., Any], change: Callable[[Arguments], None], positions: dict[str, int]
) -> Callable[..., Any]:
    def traced_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if current_context().get(SCOPE_KEY) is not UNTRACED:
            with _CHANGING:
                call = Arguments(positions, args, kwargs)
                change(call)
                args, kwargs = call.args, call.kwargs
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            clear_traceback(error)
            raise

    return traced_by_pocketflow_otel


def install_all(module: ModuleType, hooks: Sequence[Hook], patches: Patches) -> list[str]:
    """Install the hooks of a module; return the names of those that it should have and has not."""
    return [
        f"{module.__name__}.{hook.name}"
        for hook in hooks
        if not hook.install(module, patches) and hook.required
    ]
