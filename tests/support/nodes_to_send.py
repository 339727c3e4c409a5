"""A program of nodes of many kinds, which sends each to another process: `python FILE FOLDER`.

Prints, as JSON, what came of each node and way. The pickles are in the folder, one file each.
`# %%` begins a cell of a notebook. Marked is where the classes of PocketFlow come from.
"""

from __future__ import annotations

from typing import Final

IMPORTS: Final = """
from pocketflow import AsyncBatchNode, AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchFlow, BatchNode
from pocketflow import Flow, Node
"""

NODES: Final = """
import asyncio, copy, functools, json, pathlib, sys
import cloudpickle, dill, wrapt

# %%
def counted(function):
    @functools.wraps(function)
    def around(*args):
        return function(*args)
    return around

@wrapt.decorator
def passing(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs)

# %%
class Add(Node):
    def prep(self, shared):
        return shared["n"]
    def exec(self, number):
        return number + 1
    def post(self, shared, prepared, executed):
        shared["n"] = executed
        if "sent" in shared:
            shared["sent"](self)

class Decorated(Add):
    exec = counted(Add.exec)

class DecoratedByWrapt(Add):
    exec = passing(Add.exec)

class Cached(Add):
    exec = functools.lru_cache(Add.exec)

class Partial(Add):
    def add(self, much, number):
        return number + much
    exec = functools.partialmethod(add, 10)

class OwnRun(Add):
    def _run(self, shared):
        shared["n"] += 100
        return super()._run(shared)

class OwnAttempts(Add):
    def _exec(self, prepared):
        return super()._exec(prepared + 1000)

class Registered(Add):
    known = []
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Registered.known.append(cls.__name__)

class Late(Registered):
    def exec(self, number):
        return number + len(self.known)

class Squares(BatchNode):
    def prep(self, shared):
        return range(shared["n"] + 3)
    def exec(self, item):
        return item * item
    def post(self, shared, prepared, executed):
        shared["n"] = executed

class Rounds(BatchFlow):
    def prep(self, shared):
        return [{"much": 1}, {"much": 2}]

class AsyncAdd(AsyncNode):
    async def prep_async(self, shared):
        return shared["n"]
    async def exec_async(self, number):
        return number + 1
    async def post_async(self, shared, prepared, executed):
        shared["n"] = executed

class AsyncOwnRun(AsyncAdd):
    async def _run_async(self, shared):
        shared["n"] += 100
        return await super()._run_async(shared)

class AsyncSquares(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return range(shared["n"] + 3)
    async def exec_async(self, item):
        return item * item
    async def post_async(self, shared, prepared, executed):
        shared["n"] = executed

# %%
def with_own_exec():
    node = Add()
    node.exec = lambda number: number - 1
    return node

def flows():
    flow = Flow(start=Add())
    flow.start_node >> Late() >> Add()
    yield "Chain", flow
    for cls in (Add, Decorated, DecoratedByWrapt, Cached, Partial, OwnRun, OwnAttempts, Registered, Squares):
        yield cls.__name__, Flow(start=cls(max_retries=2))
    yield "Instance", Flow(start=with_own_exec())
    yield "Rounds", Rounds(start=Add())
    for cls in (AsyncAdd, AsyncOwnRun, AsyncSquares):
        yield cls.__name__, AsyncFlow(start=cls())

def ran(flow, shared):
    if isinstance(flow, AsyncFlow):
        asyncio.run(flow.run_async(shared))
    else:
        flow.run(shared)
    return shared["n"]

# %%
def outcome(of, *args):
    try:
        return of(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def sent(name, dumps, thing):
    pathlib.Path(sys.argv[1], name).write_bytes(dumps(thing))
    return sorted(vars(thing))

found = {}
for name, flow in flows():
    for way in (cloudpickle, dill):
        named = f"{name}.{way.__name__}"
        found[named, "before a run"] = outcome(sent, f"{named}.1", way.dumps, flow)
        found[named, "run"] = ran(flow, {"n": 1})
        found[named, "after a run"] = outcome(sent, f"{named}.2", way.dumps, flow)
        found[named, "copied"] = ran(copy.deepcopy(flow), {"n": 1})
        inner = []
        send = lambda node: inner.append(outcome(sent, f"{named}.3", way.dumps, Flow(start=node)))
        ran(flow, {"n": 1, "sent": send})
        found[named, "within"] = inner
print(json.dumps({" ".join(key): value for key, value in found.items()}))
"""

WORKER: Final = """
import asyncio, importlib.util, json, pathlib, sys
import cloudpickle, dill

def ran(flow, shared):
    ended = flow.run_async(shared) if hasattr(flow, "run_async") else flow.run(shared)
    if asyncio.iscoroutine(ended):
        asyncio.run(ended)
    return shared["n"]

results = {}
for folder in sys.argv[2:]:
    for path in sorted(pathlib.Path(folder).iterdir()):
        way = cloudpickle if ".cloudpickle." in path.name else dill
        try:
            result = ran(way.loads(path.read_bytes()), {"n": 1})
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        results.setdefault(folder, {})[path.name] = result
is_there = importlib.util.find_spec("pocketflow_otel") is not None
loaded = sorted(name for name in sys.modules if name.startswith("pocketflow_otel"))
print(json.dumps({"installed": is_there, "loaded": loaded, "results": results}))
"""
"""Runs what was sent: `python FILE - FOLDER...`."""
