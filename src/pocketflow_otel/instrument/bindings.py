"""Read from a function's code what its calls are bound to: `flow` in `flow = create_flow()`.

Names come from the bytecode alone and never from a frame's variables: to read `frame.f_locals` of a
function before Python 3.13 keeps references to all of them, so that objects would live longer.
"""

from __future__ import annotations

import dis
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType

_PASSED_OVER: Final = frozenset(
    {"NOP", "CACHE", "PRECALL", "KW_NAMES", "EXTENDED_ARG", "PUSH_NULL", "END_SEND", "NOT_TAKEN"}
)
_CALLS: Final = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "SEND"})
_STORES: Final = frozenset({"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"})
_LOADS: Final = frozenset(
    f"LOAD_{kind}"
    for kind in ("FAST", "FAST_CHECK", "FAST_BORROW", "NAME", "GLOBAL", "DEREF", "CLASSDEREF", "CONST")
)
_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_MAX_CACHES: Final = 10
_MAX_BYTES: Final = 16_384  # of bytecode: a tenth of a second to read, on a slow machine


class CallSite(NamedTuple):
    """One call in a function's code.

    Attributes:
        function: The last name of what is called: `create` in `flows.create()`; empty if unknown.
        receiver: The name before that, `flows`; empty without one.
        bound: The variables and attributes that get the result, and a key that is a constant.
        returned: Whether the function returns the result.
        repeated: Whether the call is in a loop.
        bare: Whether it has no arguments.
    """

    function: str
    receiver: str
    bound: tuple[str, ...]
    returned: bool
    repeated: bool
    bare: bool


class CodeInfo(NamedTuple):
    """The calls, parameters and results of one function, read from its code.

    Attributes:
        calls: Its calls by the offset of their instruction.
        parameters: Whether it takes arguments, besides `self` or `cls`.
        results: How many different results it returns.
        loops: The variables of its `for` loops.
    """

    calls: Mapping[int, CallSite]
    parameters: bool
    results: int
    loops: frozenset[str]

    def at(self, offset: int) -> CallSite | None:
        """Return the call that a frame is in; its offset may be that of a cache after the call."""
        for before in range(0, 2 * _MAX_CACHES, 2):
            call = self.calls.get(offset - before)
            if call is not None:
                return call
        return None


class _Op(NamedTuple):
    offset: int
    name: str
    value: Any
    first: tuple[int, int] | None
    last: tuple[int, int] | None


_codes: dict[int, tuple[ref[CodeType], CodeInfo]] = {}  # by id: to hash a code costs more than all the rest


def code_of(frame: FrameType) -> CodeInfo:
    """Return what was read from the code of a frame; it is read once."""
    code = frame.f_code
    key = id(code)
    known = _codes.get(key)
    if known is None or known[0]() is not code:
        _codes[key] = known = (ref(code, lambda _: _codes.pop(key, None)), _read(code))
    return known[1]


def _read(code: CodeType) -> CodeInfo:
    ops = list(_ops(code)) if len(code.co_code) <= _MAX_BYTES else []
    returns = {op.value for op, after in pairwise(ops) if _loads(op) and after.name == "RETURN_VALUE"}
    results = {
        before.value if _loads(before) else before.offset
        for before, op in pairwise(ops)
        if op.name == "RETURN_VALUE" and before.name != "LOAD_CONST"
    }
    jumps = [
        (op.value, op.offset)
        for before, op in pairwise(ops)
        if "JUMP_BACKWARD" in op.name and not _awaits(before, op)
    ]
    calls: dict[int, CallSite] = {}
    paths: dict[tuple[int, int] | None, list[str]] = {}
    awaited: dict[tuple[int, int] | None, CallSite] = {}
    for index, op in enumerate(ops):
        if op.name in _CALLS:
            path = paths.get(op.first, ()) if op.first is not None else ()
            after = _after(ops, index)
            bound = _bound(ops, after)
            following = ops[after].name if after < len(ops) else ""
            call = CallSite(
                function=path[-1] if path else "",
                receiver=path[-2] if len(path) > 1 else "",
                bound=bound,
                returned=following == "RETURN_VALUE" or not returns.isdisjoint(bound),
                repeated=any(start <= op.offset < end for start, end in jumps),
                bare=op.name == "CALL" and op.value == 0,
            )
            if op.name == "SEND" and op.last in awaited:
                inner = awaited[op.last]
                call = call._replace(function=inner.function, receiver=inner.receiver, bare=inner.bare)
            elif op.last is not None:
                awaited[op.last] = call
            calls[op.offset] = call
            if op.first is not None and op.name != "SEND":
                paths.setdefault(op.first, []).append("")  # What follows is called on the result.
        elif op.first is None or not isinstance(op.value, str):
            continue
        elif op.name in _ATTRIBUTES:
            before = ops[index - 1]  # Of a pair, the position is that of the first alone.
            path = [before.value] if _loads(before) and before.first is None else []
            paths.setdefault(op.first, path).append(op.value)
        elif op.name in _LOADS and op.name != "LOAD_CONST":
            paths[op.first] = [op.value]
    parameters = code.co_argcount + code.co_kwonlyargcount - (code.co_varnames[:1] in (("self",), ("cls",)))
    various = code.co_flags & (0x04 | 0x08)  # `*args`, `**kwargs`
    return CodeInfo(calls, parameters > 0 or bool(various), len(results), frozenset(_loop_variables(ops)))


def _ops(code: CodeType) -> Iterator[_Op]:
    """Yield the instructions that matter; Python 3.13 and later pair some, which are parted again."""
    for op in dis.get_instructions(code):
        if op.opname in _PASSED_OVER:
            continue
        at = op.positions
        first = last = None
        if at is not None and None not in at:
            first, last = (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)
        if type(op.argval) is tuple and "_FAST" in op.opname:
            pair = op.opname.replace("_STORE", " STORE").replace("_LOAD", " LOAD").split()
            for name, value in zip(pair, op.argval, strict=True):
                yield _Op(op.offset, name, value, first, last)  # type: ignore[arg-type]
                first = last = None
        else:
            yield _Op(op.offset, op.opname, op.argval, first, last)  # type: ignore[arg-type]


def _loop_variables(ops: list[_Op]) -> Iterator[str]:
    for index, op in enumerate(ops):
        if op.name == "FOR_ITER":
            for after in ops[index + 1 :]:
                if after.name in _STORES:
                    yield after.value
                elif after.name != "UNPACK_SEQUENCE":
                    break


def _loads(op: _Op) -> bool:
    return op.name in _ATTRIBUTES or (op.name in _LOADS and op.name != "LOAD_CONST")


def _awaits(before: _Op, jump: _Op) -> bool:
    """Return whether a jump back is no loop of the author's, but part of an `await`."""
    return jump.name == "JUMP_BACKWARD_NO_INTERRUPT" or before.name == "CLEANUP_THROW"


def _after(ops: list[_Op], index: int) -> int:
    """Return the index of the instruction that gets the result of a call or an `await`."""
    op = ops[index]
    if op.name != "SEND":
        return index + 1
    return next((at for at in range(index, len(ops)) if ops[at].offset >= op.value), len(ops))


def _bound(ops: list[_Op], index: int) -> tuple[str, ...]:
    """Return the names that the value on top of the stack is stored under from `index` on."""
    names: list[str] = []
    values = 1
    while values and index < len(ops):
        op = ops[index]
        if op.name == "COPY" and op.value == 1:  # `a = b = value`
            values += 1
        elif op.name in _STORES:
            names.append(op.value)
            values -= 1
        else:  # `self.flow = value`, `flows["qa"] = value`
            while index < len(ops) and (ops[index].name in _LOADS or ops[index].name in _ATTRIBUTES):
                index += 1
            if index == len(ops) or ops[index] is op:
                break
            if ops[index].name == "STORE_ATTR":
                names.append(ops[index].value)
            elif ops[index].name != "STORE_SUBSCR":
                break
            elif ops[index - 1].name == "LOAD_CONST" and type(ops[index - 1].value) is str:
                names.append(ops[index - 1].value)
            values -= 1
        index += 1
    return tuple(names)
