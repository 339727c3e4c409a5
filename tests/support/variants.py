"""The PocketFlows the tests run against, each loaded from a copy of its own under a private name.

Releases come from `$POCKETFLOW_VARIANTS/<version>/pocketflow`, by default `.venv/variants` below
the project's root, where `make test` puts them. Two states of the repository's main branch were
never released and carry the number of the last release; `head` and `keywords` stand for them. They
are 0.0.3 with the differences that matter here, in our words.
"""

from __future__ import annotations

import asyncio
import copy
import os
import sys
import time
import warnings
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

RELEASES = ("0.0.1", "0.0.2", "0.0.3")
VARIANTS = (*RELEASES, "head", "keywords")


def folder() -> Path:
    default = Path(__file__).parents[2] / ".venv" / "variants"
    return Path(os.environ.get("POCKETFLOW_VARIANTS") or default)


@cache
def variant(name: str) -> ModuleType:
    """Return one of `VARIANTS`, the same module at each call."""
    module = load(name if name in RELEASES else RELEASES[-1], f"_pocketflow_{name.replace('.', '_')}")
    if name == "head":
        _keep_attempts_on_the_node(module)
    if name == "keywords":
        _pass_by_keyword(module)
    return module


def load(release: str, module_name: str) -> ModuleType:
    path = folder() / release / "pocketflow" / "__init__.py"
    if not path.exists():
        raise FileNotFoundError(
            f"PocketFlow {release} is not at {path}: `make test` installs it there, "
            f"or run `pip install --no-deps --target {path.parent.parent} pocketflow=={release}`."
        )
    spec = spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and pickle look
    spec.loader.exec_module(module)
    return module


def _keep_attempts_on_the_node(module: ModuleType) -> None:
    """Number async attempts in `self.cur_retry`, which the items of a parallel batch share."""

    async def _exec(self: Any, prep_res: Any) -> Any:
        for self.cur_retry in range(self.max_retries):
            try:
                return await self.exec_async(prep_res)
            except Exception as error:
                if self.cur_retry == self.max_retries - 1:
                    return await self.exec_fallback_async(prep_res, error)
                if self.wait > 0:
                    await asyncio.sleep(self.wait)
        return None

    module.AsyncNode._exec = _exec


def _pass_by_keyword(module: ModuleType) -> None:
    """Give every argument of every call by its name; batches call theirs `prep_res` too."""

    def run(self: Any, shared: Any) -> Any:
        if self.successors:
            warnings.warn("Node won't run successors. Use Flow.", stacklevel=1)
        return self._run(shared=shared)

    def run_node(self: Any, shared: Any) -> Any:
        prepared = self.prep(shared=shared)
        executed = self._exec(prep_res=prepared)
        return self.post(shared=shared, prep_res=prepared, exec_res=executed)

    def exec_once(self: Any, prep_res: Any) -> Any:
        return self.exec(prep_res=prep_res)

    def exec_node(self: Any, prep_res: Any) -> Any:
        for self.cur_retry in range(self.max_retries):
            try:
                return self.exec(prep_res=prep_res)
            except Exception as error:
                if self.cur_retry == self.max_retries - 1:
                    return self.exec_fallback(prep_res=prep_res, exc=error)
                if self.wait > 0:
                    time.sleep(self.wait)
        return None

    def exec_batch(self: Any, prep_res: Any) -> Any:
        return [super(module.BatchNode, self)._exec(prep_res=item) for item in prep_res or []]

    def orchestrate(self: Any, shared: Any, params: Any = None) -> Any:
        node, given, action = copy.copy(self.start_node), params or {**self.params}, None
        while node:
            node.set_params(params=given)
            action = node._run(shared=shared)
            node = copy.copy(self.get_next_node(curr=node, action=action))
        return action

    def run_flow(self: Any, shared: Any) -> Any:
        prepared = self.prep(shared=shared)
        action = self._orch(shared=shared)
        return self.post(shared=shared, prep_res=prepared, exec_res=action)

    def run_batch_flow(self: Any, shared: Any) -> Any:
        rounds = self.prep(shared=shared) or []
        for params in rounds:
            self._orch(shared=shared, params={**self.params, **params})
        return self.post(shared=shared, prep_res=rounds, exec_res=None)

    async def run_async(self: Any, shared: Any) -> Any:
        if self.successors:
            warnings.warn("Node won't run successors. Use AsyncFlow.", stacklevel=1)
        return await self._run_async(shared=shared)

    async def run_node_async(self: Any, shared: Any) -> Any:
        prepared = await self.prep_async(shared=shared)
        executed = await self._exec(prep_res=prepared)
        return await self.post_async(shared=shared, prep_res=prepared, exec_res=executed)

    async def exec_node_async(self: Any, prep_res: Any) -> Any:
        for attempt in range(self.max_retries):
            try:
                return await self.exec_async(prep_res=prep_res)
            except Exception as error:
                if attempt == self.max_retries - 1:
                    return await self.exec_fallback_async(prep_res=prep_res, exc=error)
                if self.wait > 0:
                    await asyncio.sleep(self.wait)
        return None

    async def exec_batch_async(self: Any, prep_res: Any) -> Any:
        return [await super(module.AsyncBatchNode, self)._exec(prep_res=item) for item in prep_res]

    async def exec_parallel(self: Any, prep_res: Any) -> Any:
        above = super(module.AsyncParallelBatchNode, self)
        return await asyncio.gather(*(above._exec(prep_res=item) for item in prep_res))

    async def orchestrate_async(self: Any, shared: Any, params: Any = None) -> Any:
        node, given, action = copy.copy(self.start_node), params or {**self.params}, None
        while node:
            node.set_params(params=given)
            is_async = isinstance(node, module.AsyncNode)
            action = await node._run_async(shared=shared) if is_async else node._run(shared=shared)
            node = copy.copy(self.get_next_node(curr=node, action=action))
        return action

    async def run_flow_async(self: Any, shared: Any) -> Any:
        prepared = await self.prep_async(shared=shared)
        action = await self._orch_async(shared=shared)
        return await self.post_async(shared=shared, prep_res=prepared, exec_res=action)

    async def run_batch_flow_async(self: Any, shared: Any) -> Any:
        rounds = await self.prep_async(shared=shared) or []
        for params in rounds:
            await self._orch_async(shared=shared, params={**self.params, **params})
        return await self.post_async(shared=shared, prep_res=rounds, exec_res=None)

    async def run_parallel_flow(self: Any, shared: Any) -> Any:
        rounds = await self.prep_async(shared=shared) or []
        merged = [{**self.params, **params} for params in rounds]
        await asyncio.gather(*(self._orch_async(shared=shared, params=params) for params in merged))
        return await self.post_async(shared=shared, prep_res=rounds, exec_res=None)

    for cls, methods in {
        module.BaseNode: {"run": run, "_run": run_node, "_exec": exec_once},
        module.Node: {"_exec": exec_node},
        module.BatchNode: {"_exec": exec_batch},
        module.Flow: {"_orch": orchestrate, "_run": run_flow},
        module.BatchFlow: {"_run": run_batch_flow},
        module.AsyncNode: {
            "run_async": run_async,
            "_run_async": run_node_async,
            "_exec": exec_node_async,
        },
        module.AsyncBatchNode: {"_exec": exec_batch_async},
        module.AsyncParallelBatchNode: {"_exec": exec_parallel},
        module.AsyncFlow: {"_orch_async": orchestrate_async, "_run_async": run_flow_async},
        module.AsyncBatchFlow: {"_run_async": run_batch_flow_async},
        module.AsyncParallelBatchFlow: {"_run_async": run_parallel_flow},
    }.items():
        for name, method in methods.items():
            parts = method.__code__, vars(module), name, method.__defaults__, method.__closure__
            setattr(cls, name, FunctionType(*parts))  # As if the module itself had it.
