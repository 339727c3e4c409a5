"""What a method does with its `self`, read from its code."""

from __future__ import annotations

import dis
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PASSED_OVER: Final = frozenset({"CACHE", "NOP", "EXTENDED_ARG", "PUSH_NULL", "PRECALL"})
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"})
_SEES_ALL: Final = frozenset({"locals", "vars", "eval", "exec", "dir"})
_SUPER: Final = 2
"""`super` stands before its two arguments."""
_PHASES: Final = {"prep": 0, "prep_async": 0, "_exec": 1, "post": 2, "post_async": 2}
"""What runs a step, and in which order."""


def uses_self_for_attributes(function: Callable[..., Any]) -> bool:
    """Return whether a method asks its `self` for attributes, and does nothing else with it.

    Then something with the same attributes can take its place: nobody gets hold of it.

    >>> def asks(self): return self.name
    >>> def hands_on(self): return print(self)
    >>> uses_self_for_attributes(asks), uses_self_for_attributes(hands_on)
    (True, False)
    """
    code = function.__code__
    return bool(code.co_argcount) and _only_attributes(code, code.co_varnames[0])


def asks_in_order(function: Callable[..., Any]) -> bool:
    """Return whether a method asks for `prep`, `_exec` and `post` as they run: for each when it is its turn.

    >>> def in_order(self): done = self._exec(None); return self.post(done)
    >>> def beforehand(self): return self.post(self._exec(None))
    >>> asks_in_order(in_order), asks_in_order(beforehand)
    (True, False)
    """
    ops = dis.get_instructions(function)
    asked = [_PHASES[op.argval] for op in ops if op.opname in _ATTRIBUTES and op.argval in _PHASES]
    return asked == sorted(asked)


def _only_attributes(code: CodeType, name: str) -> bool:
    ops = [op for op in dis.get_instructions(code) if op.opname not in _PASSED_OVER]
    if any(op.opname in ("LOAD_GLOBAL", "LOAD_NAME") and op.argval in _SEES_ALL for op in ops):
        return False
    in_cell = name in code.co_cellvars or name in code.co_freevars
    for index, op in enumerate(ops):
        # Where a nested function uses it, it is in a cell, which the other instructions only hand on.
        if name in _names(op.argval) and ("DEREF" in op.opname if in_cell else "FAST" in op.opname):
            taken = "LOAD" in op.opname and _names(op.argval)[-1] == name
            if not taken or not (_is_super(ops, index) or ops[index + 1].opname in _ATTRIBUTES):
                return False
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return all(_only_attributes(nested, name) for nested in inner if name in nested.co_freevars)


def _names(value: Any) -> tuple[Any, ...]:
    """Return the variables of an instruction; from Python 3.13 on it may have two."""
    return value if type(value) is tuple else (value,)


def _is_super(ops: list[dis.Instruction], index: int) -> bool:
    """Return whether `self` is loaded for `super(Class, self)`."""
    return (
        index >= _SUPER
        and ops[index - _SUPER].argval == "super"
        and ops[index + 1].opname in ("CALL", "LOAD_SUPER_ATTR")
    )
