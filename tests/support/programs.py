"""Random PocketFlow programs: descriptions, what builds and runs them, and what they saw.

A `Program` is plain data. `Performance` builds it from one PocketFlow's classes and runs it; the
methods of its nodes and flows follow the description and write down every call: in `ledger`, which
two performances of one program have in common, and as a tree of `Seen`, which an oracle compares
with spans. Nothing in here knows of tracing.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

NODES = ("BaseNode", "Node", "BatchNode", "AsyncNode", "AsyncBatchNode", "AsyncParallelBatchNode")
FLOWS = ("Flow", "BatchFlow", "AsyncFlow", "AsyncBatchFlow", "AsyncParallelBatchFlow")
ACTIONS = (None, "default", "a", "b", "", 7, False)
FUEL = 25
"""How many steps may end before every action leads nowhere: loops must."""

Ways = tuple[str, ...]
Write = tuple[str, str]
Fails = dict[str, tuple[int, ...]]
"""Which calls of a phase raise, counted from 0 over the whole run."""


class Broken(Exception):
    """An error with a qualified name and no argument of its own."""

    def __str__(self) -> str:
        return f"broken: {self.args[0]}"


ERRORS = (ValueError, KeyError, Broken)


@dataclass(frozen=True)
class NodeSpec:
    key: str
    kind: str
    name: str | None
    retries: int
    fallback: str | None  # `gives`, `raises`
    actions: tuple[object, ...]
    fails: Fails
    items: int
    lazy: bool
    pauses: int
    writes: dict[str, tuple[Write, ...]]
    inner: Spec | None
    inner_shares: bool


@dataclass(frozen=True)
class FlowSpec:
    key: str
    kind: str
    name: str | None
    plain: bool
    members: tuple[Spec, ...]
    edges: tuple[tuple[int, str, int | None], ...]
    rounds: tuple[dict[str, int], ...]
    lazy: bool
    params: dict[str, int]
    action: str | None
    fails: Fails

    def ways(self, member: Spec) -> dict[str, Spec | None]:
        """Return where the actions of a member lead, in the order in which they were declared."""
        return {
            action: None if target is None else self.members[target]
            for source, action, target in self.edges
            if self.members[source] is member
        }


Spec = NodeSpec | FlowSpec


@dataclass(frozen=True)
class Program:
    root: Spec
    error: type[Exception]
    built_traced: bool

    @property
    def parallel(self) -> bool:
        return any("Parallel" in spec.kind for spec in below(self.root))


def below(spec: Spec) -> Iterator[Spec]:
    yield spec
    children = spec.members if isinstance(spec, FlowSpec) else filter(None, [spec.inner])
    for child in children:
        yield from below(child)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    keys = iter(range(1000))
    some = st.sampled_from

    def fails(*phases: str) -> Fails:
        never = ()
        return {phase: draw(some([never] * 40 + [(0,), (1,), (2,)])) for phase in phases}

    def writes() -> tuple[Write, ...]:
        write = st.tuples(some(["bind", "append", "count", "drop"]), some(["a", "b", "c"]))
        return tuple(draw(st.lists(write, max_size=2)))

    def node(kind: str, depth: int, ways: Ways) -> NodeSpec:
        number = next(keys)
        inner = None
        if depth < 2 and draw(st.integers(0, 5)) == 0:
            inner = step(draw(some(kinds(asynchronous=kind.startswith("Async")))), depth + 1)
        actions = some((*ways, *ways, *ways, *ACTIONS) if ways else ACTIONS)
        return NodeSpec(
            key=f"n{number}",
            kind=kind,
            name=draw(some([None, f"n{number}"])),
            retries=1 if kind == "BaseNode" else draw(some([2, 3, 2, 3, 1, 0])),
            fallback=None if kind == "BaseNode" else draw(some([None, "gives", "gives", "raises"])),
            actions=tuple(draw(actions) for _ in range(draw(some([1, 2, 3])))),
            fails={**fails("prep", "post"), "exec": draw(some([(), (0,), (0, 1), (), (1, 2), (0, 1, 2, 3)]))},
            items=draw(some([3, 2, 3, 2, 1, 0])),
            lazy=draw(st.booleans()),
            pauses=draw(st.integers(0, 2)),
            writes={"prep": writes(), "post": writes()},
            inner=inner,
            inner_shares=draw(st.booleans()),
        )

    def flow(kind: str, depth: int, *, within_batch: bool) -> FlowSpec:
        number = next(keys)
        choices = kinds(asynchronous=kind.startswith("Async"), deep=depth >= 2)
        size = draw(some([2, 3, 4, 3, 2, 4, 1, 0] if depth == 0 else [2, 1, 3, 0]))
        edges: dict[tuple[int, str], int | None] = {}
        for index in range(size):
            if index + 1 < size:
                edges[index, draw(some(["default", "default", "a"]))] = index + 1
            if draw(some([False, True])):
                target = draw(some([*range(size), None]))
                edges.setdefault((index, draw(some(["a", "default", "b"]))), target)
        members = tuple(
            step(
                draw(some(choices)),
                depth + 1,
                ways=tuple(action for source, action in edges if source == index),
                within_batch="Batch" in kind,
            )
            for index in range(size)
        )
        params = st.dictionaries(some(["p", "q"]), st.integers(0, 3), max_size=2)
        return FlowSpec(
            key=f"f{number}",
            kind=kind,
            name=draw(some([None, f"f{number}"])),
            plain=kind in ("Flow", "AsyncFlow") and not within_batch and draw(st.booleans()),
            members=members,
            edges=tuple((source, action, target) for (source, action), target in edges.items()),
            rounds=tuple(draw(params) for _ in range(draw(some([2, 3, 1, 0])))) if "Batch" in kind else (),
            lazy=draw(st.booleans()),
            params=draw(params),
            action=draw(some([None, None, "a"])),
            fails=fails("prep", "post"),
        )

    def step(kind: str, depth: int, *, ways: Ways = (), within_batch: bool = False) -> Spec:
        return flow(kind, depth, within_batch=within_batch) if kind in FLOWS else node(kind, depth, ways)

    return Program(
        root=step(draw(some((*FLOWS, *FLOWS[2:], *FLOWS, *FLOWS[2:], *NODES))), 0),
        error=draw(some(ERRORS)),
        built_traced=draw(st.booleans()),
    )


@cache
def kinds(*, asynchronous: bool, deep: bool = False) -> tuple[str, ...]:
    """Return what a flow or node of a kind may hold or run: sync ones no async ones."""
    names = NODES if deep else (*NODES, *NODES, *FLOWS)
    if not asynchronous:
        return tuple(name for name in names if not name.startswith("Async"))
    return (*names, *(name for name in names if name.startswith("Async")))


@dataclass(eq=False)
class Seen:
    """One execution of a node or flow, as its own methods saw it."""

    spec: Spec
    above: Seen | Item | None
    params: dict[str, int]
    before: dict[str, tuple[object, object]]
    after: dict[str, tuple[object, object]] = field(default_factory=dict)
    children: list[Seen] = field(default_factory=list)
    items: dict[object, Item] = field(default_factory=dict)
    phase: str = "prep"
    error: Exception | None = None
    returned: object = None


@dataclass(eq=False)
class Item:
    """What became of one item of a batch node; of another node, of all it was given."""

    step: Seen
    attempts: list[Exception | None] = field(default_factory=list)
    fallback: bool = False
    error: Exception | None = None
    children: list[Seen] = field(default_factory=list)


@dataclass
class Outcome:
    """All a program shows to the outside."""

    returned: object
    error: tuple[type, str] | None
    store: dict[str, object]
    warnings: list[tuple[type, str, str, int]]
    ledger: list[tuple[object, ...]]
    attributes: dict[str, object]


_here: contextvars.ContextVar[Seen | Item | None] = contextvars.ContextVar("here", default=None)


def look(shared: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Return the values of a store, and copies that stay as they are."""
    return {key: (value, copy.deepcopy(value)) for key, value in shared.items()}


class Performance:
    """One program, built and run once."""

    def __init__(self, program: Program, module: ModuleType) -> None:
        self.program = program
        self.module = module
        self.calls: Counter[tuple[str, str]] = Counter()
        self.ledger: list[tuple[object, ...]] = []
        self.roots: list[Seen] = []
        self.raised: list[Exception] = []
        self.objects: dict[str, Any] = {}
        self.root = self.build(program.root)

    def build(self, spec: Spec) -> Any:
        built: Any
        if isinstance(spec, NodeSpec):
            built = node_class(self.module, spec.kind, fallback=spec.fallback is not None)()
            if spec.kind != "BaseNode":
                built.max_retries = spec.retries
            if spec.inner is not None:
                self.build(spec.inner)
        else:
            built = self.build_flow(spec)
        built.play, built.spec = self, spec
        if spec.name:
            built.name = spec.name
        self.objects[spec.key] = built
        return built

    def build_flow(self, spec: FlowSpec) -> Any:
        members = [self.build(member) for member in spec.members]
        start = members[0] if members else None
        if spec.plain:
            flow = getattr(self.module, spec.kind)(start)
            hook_plain(flow, asynchronous=spec.kind.startswith("Async"))
        else:
            flow = flow_class(self.module, spec.kind)(start)
        for source, action, target in spec.edges:
            members[source].successors[action] = None if target is None else members[target]
        flow.set_params(dict(spec.params))
        return flow

    def run(self) -> Outcome:
        """Run the root to the end of every task it began, in a context of its own."""
        store: dict[str, Any] = {"a": 1, "b": [], "c": {"n": 0}}
        returned = error = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                returned = contextvars.copy_context().run(self._run, store)
            except Exception as raised:
                if all(raised is not known for known in self.raised):
                    raise
                error = type(raised), str(raised)
        return Outcome(
            returned,
            error,
            store,
            [(w.category, str(w.message), w.filename, w.lineno) for w in caught],
            self.ledger,
            {name: value for name, value in vars(self.root).items() if name in ("params", "cur_retry")},
        )

    def _run(self, store: dict[str, Any]) -> object:
        if not self.program.root.kind.startswith("Async"):
            return self.root.run(store)

        async def until_all_is_quiet() -> object:
            try:
                return await self.root.run_async(store)
            finally:
                while others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)

        return asyncio.run(until_all_is_quiet())

    def count(self, spec: Spec, phase: str, *details: object) -> int:
        number = self.calls[spec.key, phase]
        self.calls[spec.key, phase] += 1
        self.ledger.append((spec.key, phase, number, *(repr(detail) for detail in details)))
        return number

    def fails(self, spec: Spec, phase: str, number: int) -> Exception | None:
        return self.new_error(spec, phase, number) if number in spec.fails[phase] else None

    def new_error(self, spec: Spec, phase: str, number: int) -> Exception:
        error = self.program.error(f"{spec.key} {phase} {number}")
        self.raised.append(error)
        return error

    def prep(self, spec: Spec, params: dict[str, int], shared: dict[str, Any]) -> Any:
        number = self.count(spec, "prep", params, shared)
        above = _here.get()
        seen = Seen(spec, above, params, look(shared))
        (self.roots if above is None else above.children).append(seen)
        _here.set(seen)
        if isinstance(spec, NodeSpec):
            self.write(spec, "prep", shared)
        seen.error = self.fails(spec, "prep", number)
        seen.after = look(shared)
        if seen.error is not None:
            raise seen.error
        seen.phase = "exec"
        if isinstance(spec, FlowSpec):
            rounds = [dict(params) for params in spec.rounds]
            return iter(rounds) if spec.lazy else rounds
        if "Batch" not in spec.kind:
            return f"{spec.key}#{number}"
        return iter(range(spec.items)) if spec.lazy else list(range(spec.items))

    @contextmanager
    def attempt(self, node: Any, prep_res: object) -> Iterator[None]:
        """Stand around one `exec`: `prep_res` tells the items of a batch apart."""
        spec, seen = node.spec, _here.get()
        assert isinstance(seen, Seen)
        assert seen.spec is spec
        number = self.count(spec, "exec", prep_res, node.params, getattr(node, "cur_retry", None))
        item = seen.items.setdefault(prep_res, Item(seen))
        _here.set(item)
        item.error = None
        try:
            yield
            item.error = self.fails(spec, "exec", number)
            if item.error is not None:
                raise item.error
        except Exception as error:
            item.error = error
            raise
        finally:
            _here.set(seen)
            item.attempts.append(item.error)
            if (
                len(item.attempts) == spec.retries
                and getattr(node, "cur_retry", spec.retries) < spec.retries - 1
            ):
                item.error = None  # The repository's head then takes it for a success.
            seen.after = look(node.shared)

    def fall_back(self, spec: NodeSpec, prep_res: object, exc: Exception) -> str:
        seen = _here.get()
        assert isinstance(seen, Seen)
        item = seen.items[prep_res]
        number = self.count(spec, "fallback", prep_res, exc)
        if spec.fallback == "raises":
            item.error = self.new_error(spec, "fallback", number)
            raise item.error
        item.fallback = True
        item.error = None
        return f"{spec.key} instead"

    def post(self, spec: Spec, shared: dict[str, Any], prep_res: object, exec_res: object) -> object:
        seen = _here.get()
        assert isinstance(seen, Seen)
        assert seen.spec is spec
        shown = prep_res if isinstance(prep_res, str | list) else type(prep_res)
        number = self.count(spec, "post", shown, exec_res, shared)
        seen.phase = "post"
        if isinstance(spec, NodeSpec):
            self.write(spec, "post", shared)
        seen.error = self.fails(spec, "post", number)
        seen.after = look(shared)
        if seen.error is not None:
            raise seen.error
        if sum(count for (_, phase), count in self.calls.items() if phase == "post") > FUEL:
            seen.returned = "spent"
        elif isinstance(spec, NodeSpec):
            seen.returned = spec.actions[number % len(spec.actions)]
        else:
            seen.returned = exec_res if spec.action is None else spec.action
        _here.set(seen.above)
        return seen.returned

    def write(self, spec: NodeSpec, phase: str, shared: dict[str, Any]) -> None:
        for how, key in spec.writes[phase]:
            value = shared.get(key)
            if how == "drop":
                shared.pop(key, None)
            elif how == "append" and isinstance(value, list):
                value.append(len(value))
            elif how == "count" and isinstance(value, dict):
                value["n"] += 1
            else:
                shared[key] = {"bind": 2, "append": [0], "count": {"n": 1}}[how]

    def inner(self, spec: NodeSpec) -> tuple[Any, bool]:
        """Return what a node runs in its `exec`, and whether that is async."""
        assert spec.inner is not None
        return self.objects[spec.inner.key], spec.inner.kind.startswith("Async")


def store_of(node: Any, shared: dict[str, Any]) -> dict[str, Any]:
    """Return the store a node gives to what it runs in its `exec`."""
    return shared if node.spec.inner_shares else {"inner": node.spec.key}


@cache
def node_class(module: ModuleType, kind: str, *, fallback: bool) -> type:
    """Return a subclass of `kind` whose methods follow `self.spec`; arguments go by name too."""
    base: type = getattr(module, kind)

    class Scripted(base):  # type: ignore[misc, valid-type]
        def prep(self, shared: Any) -> Any:
            self.shared = shared
            return self.play.prep(self.spec, self.params, shared)

        def exec(self, prep_res: Any) -> Any:
            with self.play.attempt(self, prep_res):
                if self.spec.inner is not None:
                    self.play.inner(self.spec)[0].run(store_of(self, self.shared))
                return f"{self.spec.key}({prep_res})"

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return self.play.post(self.spec, shared, prep_res, exec_res)

    class AsyncScripted(base):  # type: ignore[misc, valid-type]
        async def pause(self) -> None:
            for _ in range(self.spec.pauses):
                await asyncio.sleep(0)

        async def prep_async(self, shared: Any) -> Any:
            self.shared = shared
            return self.play.prep(self.spec, self.params, shared)

        async def exec_async(self, prep_res: Any) -> Any:
            with self.play.attempt(self, prep_res):
                await self.pause()
                if self.spec.inner is not None:
                    inner, asynchronous = self.play.inner(self.spec)
                    store = store_of(self, self.shared)
                    await inner.run_async(store) if asynchronous else inner.run(store)
                return f"{self.spec.key}({prep_res})"

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            await self.pause()
            return self.play.post(self.spec, shared, prep_res, exec_res)

    class Fallback:
        def exec_fallback(self: Any, prep_res: Any, exc: Exception) -> Any:
            return self.play.fall_back(self.spec, prep_res, exc)

    class AsyncFallback:
        async def exec_fallback_async(self: Any, prep_res: Any, exc: Exception) -> Any:
            await self.pause()
            return self.play.fall_back(self.spec, prep_res, exc)

    asynchronous = kind.startswith("Async")
    scripted: type = AsyncScripted if asynchronous else Scripted
    scripted.__name__ = f"My{kind}"
    if not fallback:
        return scripted
    mixin = AsyncFallback if asynchronous else Fallback
    return type(f"My{kind}", (mixin, scripted), {"__module__": __name__})


@cache
def flow_class(module: ModuleType, kind: str) -> type:
    """Return a subclass of the flow `kind` whose `prep` and `post` follow `self.spec`."""
    base: type = getattr(module, kind)

    class Scripted(base):  # type: ignore[misc, valid-type]
        def prep(self, shared: Any) -> Any:
            return self.play.prep(self.spec, self.params, shared)

        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return self.play.post(self.spec, shared, prep_res, exec_res)

    class AsyncScripted(base):  # type: ignore[misc, valid-type]
        async def prep_async(self, shared: Any) -> Any:
            return self.play.prep(self.spec, self.params, shared)

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> Any:
            return self.play.post(self.spec, shared, prep_res, exec_res)

    scripted: type = AsyncScripted if kind.startswith("Async") else Scripted
    scripted.__name__ = f"My{kind}"
    return scripted


def hook_plain(flow: Any, *, asynchronous: bool) -> None:
    """Let a flow of PocketFlow's own class follow `flow.spec`, by attributes of the instance."""
    nothing: dict[str, int] = {}

    def prep(shared: Any) -> Any:
        return flow.play.prep(flow.spec, nothing, shared)

    def post(shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return flow.play.post(flow.spec, shared, prep_res, exec_res)

    async def prep_async(shared: Any) -> Any:
        return prep(shared)

    async def post_async(shared: Any, prep_res: Any, exec_res: Any) -> Any:
        return post(shared, prep_res, exec_res)

    if asynchronous:
        flow.prep_async, flow.post_async = prep_async, post_async
    else:
        flow.prep, flow.post = prep, post
