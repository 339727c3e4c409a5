"""Interrupt flows at random moments, and say what is left of their runs: nothing should be.

    python -m tests.soak.interrupts [--kind sync] [--interrupts 1000] [--seed 1]

Each kind of flow is interrupted so often, by SIGINT and by an exception that a handler raises, with
all outputs on. After each interrupt a short run follows, and what is left then is counted by its
kind. Prints one line of JSON for each kind of flow; fails if anything was left.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections import Counter, deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import redirect_stderr, suppress
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

from opentelemetry.context import Context, attach, get_current
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode, BatchNode, Flow, Node

import pocketflow_otel
from pocketflow_otel.runtime.scope import Scope, scope_of

LATEST = 0.02
"""Seconds after which an interrupt comes at the latest: within many steps."""
ENOUGH = 10.0
"""Seconds after which a flow ends whose interrupt was swallowed: by a finalizer, for example."""
STUCK = 15.0
"""Seconds after which an interrupt comes once more. One that a handler raises amid `call_soon` has asyncio
forget a task, and wait for it for ever when the loop closes: bare programs, too."""
OFTEN = 20
"""Interrupts between two looks at what is left."""
PATIENCE = 20.0
"""Seconds that another thread may hold a lock."""
OURS = "pocketflow_otel"
BESIDE = "a flow beside the one that is interrupted"

Store = dict[str, Any]


class Step(Node):
    def exec(self, prepared: object) -> int:
        if random.random() < 0.2:
            raise ValueError("now and then")
        return 1

    def exec_fallback(self, prepared: object, error: Exception) -> int:
        return 2

    def post(self, shared: Store, prepared: object, executed: int) -> str:
        shared["count"] = shared.get("count", 0) + executed
        return "done" if time.monotonic() > shared["end"] else "default"


class Items(BatchNode):
    def prep(self, shared: Store) -> list[int]:
        return [1, 2, 3]

    def exec(self, item: int) -> int:
        return item

    def post(self, shared: Store, prepared: object, executed: list[int]) -> None:
        shared[f"items {len(shared) % 20}"] = executed


class AsyncStep(AsyncNode):
    async def exec_async(self, prepared: object) -> int:
        await asyncio.sleep(0)
        return 1

    async def post_async(self, shared: Store, prepared: object, executed: int) -> str:
        shared["count"] = shared.get("count", 0) + executed
        return "done" if time.monotonic() > shared["end"] else "default"


class AsyncItems(AsyncParallelBatchNode):
    async def prep_async(self, shared: Store) -> list[int]:
        return [1, 2, 3]

    async def exec_async(self, item: int) -> int:
        await asyncio.sleep(0)
        return item


class Threads(Node):
    """Runs flows in threads of its own, and one itself, all below this step."""

    def exec(self, prepared: object) -> None:
        until = [until_interrupted(0.05) for _ in range(2)]
        threads = [
            threading.Thread(target=copy_context().run, args=(loop(Step(2)).run, shared), name=BESIDE)
            for shared in until
        ]
        # Of a start that is interrupted Python keeps the thread for ever, and what it was to run.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        for thread in threads:
            thread.start()
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            loop(Step(2)).run(until_interrupted())
        finally:
            for shared in until:
                shared["end"] = 0.0
            for thread in threads:
                thread.join()


def until_interrupted(seconds: float = ENOUGH) -> Store:
    """Return a store for a flow that goes on until it is interrupted, or so many seconds have passed."""
    return {"end": time.monotonic() + seconds}


def loop(step: Any, items: Any = None, *, flow: type = Flow) -> Any:
    """Return a flow that repeats a step, with a nested flow of another between."""
    step - "done" >> Node()
    if items is None:
        step >> step
    else:
        step >> flow(start=items) >> step
    return flow(start=step)


def run_sync() -> None:
    loop(Step(2), Items()).run(until_interrupted())


def run_async() -> None:
    asyncio.run(loop(AsyncStep(), AsyncItems(), flow=AsyncFlow).run_async(until_interrupted()))


def run_threads() -> None:
    Flow(start=Threads()).run({})


KINDS = {"sync": run_sync, "async": run_async, "threads": run_threads}


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def send_interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


class OpenSpans(SpanProcessor):
    """Keeps the spans that have begun and not ended, and the last root of each name."""

    def __init__(self) -> None:
        self.open: dict[int, str] = {}
        self.ended: deque[ReadableSpan] = deque(maxlen=100)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.open[span.get_span_context().span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        assert context is not None
        self.open.pop(context.span_id, None)
        self.ended.append(span)


class Receiver(BaseHTTPRequestHandler):
    """Takes whatever is sent to it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Inside:
    """What this package keeps: the sizes of its tables, and its locks, by where they are found.

    Args:
        provider: Whose processors to look into, besides all modules.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self.tables: dict[str, int] = {}
        self.locks: dict[str, Any] = {}
        self._seen: set[int] = set()
        self._look("processors", provider._active_span_processor._span_processors)
        for name, module in sorted(sys.modules.items()):
            if name.split(".")[0] == OURS:
                for key, value in list(vars(module).items()):
                    self._look(f"{name.removeprefix(OURS)}.{key}", value)

    def _look(self, place: str, value: Any) -> None:
        if isinstance(value, str | bytes | int | ModuleType) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if hasattr(value, "acquire") and hasattr(value, "release"):
            self.locks[place] = value
        elif isinstance(value, Mapping | AbstractSet | list | deque):
            self.tables[place] = len(value)
            inside = list(value.values()) if isinstance(value, Mapping) else list(value)
            for number, each in enumerate(inside):
                self._look(f"{place}[{number}]", each)
        elif isinstance(value, tuple):
            for number, each in enumerate(value):
                self._look(f"{place}[{number}]", each)
        elif type(value).__module__.split(".")[0] == OURS or "Processor" in type(value).__name__:
            for name in _attributes_of(value):
                self._look(f"{place}.{name}", getattr(value, name, None))
        elif isinstance(value, type) and value.__module__.split(".")[0] == OURS:
            for name, each in list(vars(value).items()):
                if not callable(each):
                    self._look(f"{place}.{name}", each)


def _attributes_of(value: object) -> list[str]:
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    return [*getattr(value, "__dict__", {}), *slots]


def left_behind(before: Inside, after: Inside, folder: Path) -> Counter[str]:
    """Count what is left of runs that have ended, by its kind."""
    left: Counter[str] = Counter()
    for place, size in after.tables.items():
        left[f"entry in {place}"] = max(0, size - before.tables.get(place, size))
    held = [place for place, lock in after.locks.items() if not is_free(lock)]
    left.update(f"held: {place}" for place in held)
    left["scope of a run alive"] = sum(isinstance(each, Scope) for each in gc.get_objects())
    left["journal"] = len(list(folder.glob("*.jsonl")))
    left["descriptor of a journal"] = sum(".jsonl" in opened for opened in open_files())
    return +left


def open_files() -> list[str]:
    """Return where the descriptors of this process lead to."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # What listed them, and what ended meanwhile.
            found.append(str(descriptor.readlink()))
    return found


def is_free(lock: Any) -> bool:
    """Return whether another thread can have a lock."""
    got: list[bool] = []

    def get() -> None:
        got.append(lock.acquire(timeout=PATIENCE))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=get)
    thread.start()
    thread.join()
    return got[0]


def interrupt(run: Callable[[], None], handler: Callable[..., None], after: float) -> str:
    """Interrupt a run after so many seconds; return what came of it."""
    signal.signal(signal.SIGALRM, handler)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, after, STUCK)
        run()
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        # `asyncio.run` makes the one of the other, if there is time.
        return type(error).__name__ if time.monotonic() - began < STUCK else "stuck"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for thread in threading.enumerate():
            if thread.name == BESIDE and thread.is_alive():
                thread.join()  # Who was to wait for it may have been interrupted.
    return "swallowed"


def short_run(spans: OpenSpans) -> Counter[str]:
    """Run a flow of one step; return what it shows of earlier runs."""
    left: Counter[str] = Counter()
    if scope_of(get_current()) is not None:
        left["scope is current"] += 1
    spans.ended.clear()
    flow = Flow(start=Node())
    flow.name = "afterwards"
    flow.run({})
    roots = [span for span in spans.ended if span.name.endswith("afterwards")]
    if [span.parent for span in roots] != [None]:
        left["run that is no root, or untold"] += 1
    if left:
        attach(Context())  # The next interrupt is to find a run of its own.
    return left


def build_flows() -> None:
    """Build flows: with each, titles of those that are gone are forgotten."""
    for _ in range(200):
        Flow(start=Node())


def interrupted(
    kind: str, interrupts: int, chance: random.Random, provider: TracerProvider, folder: Path
) -> dict[str, Any]:
    """Interrupt flows of one kind; return what came of the interrupts, and what was left by its kind.

    A span that was interrupted while the SDK began it has no end; that is told, and is no failure.
    """
    spans = OpenSpans()
    provider.add_span_processor(spans)
    handlers = raise_interrupt, send_interrupt
    for handler in handlers * 2:  # Fills caches.
        interrupt(KINDS[kind], handler, LATEST)
    short_run(spans)
    build_flows()
    provider.force_flush()
    before, known = Inside(provider), Counter[str]()
    ends, left = Counter[str](), Counter[str]()
    for number in range(1, interrupts + 1):
        handler = handlers[number % len(handlers)]
        ends[interrupt(KINDS[kind], handler, chance.uniform(0.0, LATEST))] += 1
        left += short_run(spans)
        if number % OFTEN == 0 or number == interrupts:
            provider.force_flush()
            gc.collect()
            build_flows()
            now = left_behind(before, Inside(provider), folder)
            left += now - known
            known |= now
    return {
        "kind": kind,
        "interrupts": dict(ends),
        "left": dict(sorted(left.items())),
        "spans without end": len(spans.open),
    }


def main() -> None:
    """Interrupt each kind of flow, print what is left, and fail if that is anything."""
    parser = ArgumentParser(prog="python -m tests.soak.interrupts", description=__doc__.split("\n")[0])
    parser.add_argument("--interrupts", type=int, default=1000, help="of each kind of flow")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of flow; all by default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(folder, "told").open("w") as told,
        redirect_stderr(told),
    ):
        provider = pocketflow_otel.configure(console="live", directory=folder)
        for kind in options.kind or KINDS:
            found = interrupted(kind, options.interrupts, random.Random(options.seed), provider, Path(folder))
            failed |= bool(found["left"])
            print(json.dumps(found), flush=True)
        provider.shutdown()
    server.shutdown()
    sys.exit(failed)


if __name__ == "__main__":
    main()
