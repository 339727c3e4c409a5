"""Processes that run a flow of 300 steps and do not live to its end; started by `test_survival.py`.

One process imports everything and forks each victim from itself, which saves the import of the SDK
each time. Prints a line of JSON for each: its directory, exit code and stderr.

    python victims.py DIRECTORY HOW COUNT SEED      HOW: kill, term, exit, none
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pocketflow

ROUNDS, INNER, LOOPS = 10, 10, 199  # 1 + 10 * 10 + 199 = 300 steps


class Begin(pocketflow.AsyncNode):
    async def post_async(self, shared: Any, prepared: object, executed: object) -> None:
        shared["left"] = LOOPS


class Inner(pocketflow.AsyncNode):
    async def exec_async(self, prepared: object) -> None:
        await asyncio.sleep(0.0002)


class Rounds(pocketflow.AsyncParallelBatchFlow):
    async def prep_async(self, shared: Any) -> list[dict[str, int]]:
        return [{"round": number} for number in range(ROUNDS)]


class Loop(pocketflow.AsyncNode):
    async def post_async(self, shared: Any, prepared: object, executed: object) -> str:
        shared["left"] -= 1
        if shared["left"] == shared.get("leave at"):
            os._exit(3)
        return "again" if shared["left"] else "done"


def create_flow() -> Any:
    begin, loop = Begin(), Loop()
    first = node = Inner()
    node.name = "inner0"
    for number in range(1, INNER):
        following = Inner()
        following.name = f"inner{number}"
        node = node >> following
    begin >> Rounds(start=first) >> loop
    loop - "again" >> loop
    return pocketflow.AsyncFlow(start=begin)


def run(directory: Path, shared: dict[str, Any]) -> None:
    import pocketflow_otel

    os.environ["POCKETFLOW_OTEL_DIR"] = str(directory)
    provider = pocketflow_otel.configure()
    asyncio.run(create_flow().run_async(shared))
    provider.shutdown()


def victim(directory: Path, how: str, told_until: int, chance: random.Random) -> dict[str, Any]:
    """Fork, run, and end the child when it has told so many bytes; return what is left of it.

    The moment is chosen by what was told, not by the clock, and the pipe is small: so it lies
    within the run on a busy machine, too.
    """
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(writing, 2)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            run(directory, {"leave at": chance.randrange(1, LOOPS)} if how == "exit" else {})
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    told, alive = b"", how in ("kill", "term")
    while True:
        if alive and len(told) >= told_until:
            time.sleep(chance.uniform(0, 0.002))
            os.kill(child, signal.SIGKILL if how == "kill" else signal.SIGTERM)
            alive = False
        piece = os.read(reading, 512)
        told += piece
        if not piece:
            break
    os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"directory": str(directory), "code": code, "stderr": told.decode(errors="replace")}


def main() -> None:
    place, how, count, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    import pocketflow_otel.sdk.configure  # noqa: F401 - before the forks

    chance = random.Random(seed)
    whole = victim(place / "whole", "none", 0, chance)
    print(json.dumps(whole), flush=True)
    for number in range(count):
        # From before the first line until after the last, one in each part of the run.
        told_until = int((number + chance.random()) / count * len(whole["stderr"].encode()))
        print(json.dumps(victim(place / f"{number}", how, told_until, chance)), flush=True)


if __name__ == "__main__":
    main()
