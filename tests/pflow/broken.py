"""Run a workflow in a pflow's own environment, once for each function of ours, with that function broken.

    python -m tests.pflow.broken HOME

The workflow lies in the folder `work` of HOME, with those it runs; others are removed. A line of JSON tells
of each run. Each is a process that was forked when pflow had been imported, and had run the workflow once.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import logging
import os
import pkgutil
import shutil
import sys
import tempfile
import threading
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.pflow.pairs import files_in, without_times
from tests.support.functions import plain

import pocketflow_otel.instrument
from pocketflow_otel import Config, PflowInstrumentor
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType, FunctionType

    from opentelemetry.context import Context

WORKFLOW: Final = "everything.pflow.md"
NEEDED: Final = (WORKFLOW, "middle.pflow.md", "innermost.pflow.md")
OURS: Final = (
    "pflow.", "scopes.batch", "scopes.flow", "scopes.node", "scopes.sequencer", "scopes.store_scope",
)  # fmt: skip
"""Modules of `pocketflow_otel.instrument` whose functions are broken; the others are, under PocketFlow."""
WRAPPERS: Final = frozenset({"traced_by_pocketflow_otel"})
"""Functions that hold guards or do nothing but call pflow's."""
SWITCHES: Final = frozenset({"PflowPatcher.__init__", "PflowPatcher.patch"})
"""Functions that fail when tracing is switched on, to whom does that."""


class Fault(Exception):
    """What a broken function raises."""


class Started(SpanProcessor):
    """Counts the spans that are started."""

    spans = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.spans += 1


class Life:
    """What a process of ours does besides running the workflow."""

    def before(self) -> None:
        """Do something before pflow's command is called."""

    def told(self) -> dict[str, Any]:
        """Return what is to be told of it."""
        return {}


class Traced(Life):
    """Traces the workflow, and may have one function broken.

    Args:
        broken: The function.
        early: Whether it is broken already when tracing is switched on.
        children: As in `Config`.
    """

    def __init__(
        self, broken: FunctionType | None = None, *, early: bool = False, children: str = "trace"
    ) -> None:
        self._broken = broken
        self._early = early
        self._children = children
        self._exporter = InMemorySpanExporter()
        self._started = Started()
        self._warnings: list[str] = []

    def before(self) -> None:
        handler = logging.Handler()
        handler.emit = lambda record: self._warnings.append(record.getMessage())  # type: ignore[method-assign]
        ours = logging.getLogger("pocketflow_otel")
        ours.addHandler(handler)
        ours.propagate = False
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        provider.add_span_processor(self._started)
        config = Config(
            children=self._children,
            capture_values=("*",),
            compat=("openinference", "langfuse"),
            pflow_details=("errors", "paths"),
        )
        if self._early:
            self._break()
        self.switch_on(provider, config)
        if not self._early:
            self._break()

    def switch_on(self, provider: TracerProvider, config: Config) -> None:
        PflowInstrumentor().instrument(tracer_provider=provider, config=config)

    def _break(self) -> None:
        if self._broken is not None:
            self._broken.__code__ = _faulty(self._broken)

    def told(self) -> dict[str, Any]:
        spans = self._exporter.get_finished_spans()
        return {
            "warnings": self._warnings,
            "faults": faults,
            "spans": len(spans),
            "unfinished": self._started.spans - len(spans),
            "left": scope_of() is None,
        }


class Profiled(Traced):
    """Tells which functions are called when tracing is switched on, and which when the workflow runs."""

    def __init__(self, *, children: str) -> None:
        super().__init__(children=children)
        self._called: dict[str, set[CodeType]] = {"early": set(), "late": set()}
        self._now = self._called["early"]

    def before(self) -> None:
        super().before()
        self._now = self._called["late"]
        sys.setprofile(self._note)
        threading.setprofile(self._note)

    def switch_on(self, provider: TracerProvider, config: Config) -> None:
        sys.setprofile(self._note)
        super().switch_on(provider, config)
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            self._now.add(frame.f_code)

    def told(self) -> dict[str, Any]:
        sys.setprofile(None)
        return {
            when: [name for name, function in functions() if function.__code__ in called]
            for when, called in self._called.items()
        }


faults = 0


def fault() -> None:
    """Raise what a broken function raises."""
    global faults
    faults += 1
    raise Fault


def _faulty(function: FunctionType) -> CodeType:
    """Return what a function is to do instead: with that, all who hold the function have a broken one.

    Code goes into a function only where both have the same free variables.
    """
    __class__ = object

    def plain(*args: Any, **kwargs: Any) -> Any:
        sys = __import__("sys")
        sys.modules["__main__"].fault()

    def of_method(*args: Any, **kwargs: Any) -> Any:
        sys = __import__("sys")
        sys.modules["__main__"].fault()
        return __class__

    def generator(*args: Any, **kwargs: Any) -> Any:
        sys = __import__("sys")
        yield sys.modules["__main__"].fault()

    if inspect.isgeneratorfunction(function):
        return generator.__code__
    return of_method.__code__ if function.__code__.co_freevars else plain.__code__


def functions() -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions and methods that may be broken, by name."""
    package = pocketflow_otel.instrument
    prefix = package.__name__ + "."
    for found in pkgutil.walk_packages(package.__path__, prefix):
        name = found.name.removeprefix(prefix)
        if not (name.startswith(OURS[0]) or name in OURS):
            continue
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            for each in vars(value).values() if isinstance(value, type) else [value]:
                function = plain(each)
                if function is not None and is_ours_to_break(function):
                    yield f"{name}.{function.__qualname__}", function


def is_ours_to_break(function: FunctionType) -> bool:
    """Tell whether a function is called within a guard; a named tuple's cannot be broken this way."""
    return not (
        function.__name__ in WRAPPERS or function.__name__ == "__new__" or function.__qualname__ in SWITCHES
    )


class Home:
    """A home that is the same before each run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for other in path.glob("work/*.md"):
            if other.name not in NEEDED:
                other.unlink()
        self._template = path.with_name("template")
        shutil.copytree(path, self._template)
        (command,) = entry_points(group="console_scripts", name="pflow")
        self._pflow = command.load()

    def perform(self, life: Life) -> dict[str, Any]:
        """Run the workflow in a process of its own; return what came of it."""
        shutil.rmtree(self.path)
        shutil.copytree(self._template, self.path)
        with (
            tempfile.TemporaryFile("w+") as told,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            child = os.fork()
            if not child:
                code = 70
                try:
                    code = self._live(life, out.fileno(), err.fileno())
                    json.dump(life.told(), told)
                    told.flush()
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            for file in (told, out, err):
                file.seek(0)
            return {
                "code": code,
                "stdout": without_times(out.read()).decode(),
                "stderr": without_times(err.read()).decode(),
                "files": dict(files_in(self.path)),
                **json.loads(told.read() or "{}"),
            }

    def run_here(self) -> None:
        """Run it in this process, which imports what it needs."""
        with Path(os.devnull).open("wb") as nowhere:
            kept = os.dup(1), os.dup(2)
            self._live(Life(), nowhere.fileno(), nowhere.fileno())
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)

    def _live(self, life: Life, out: int, err: int) -> int:
        """Call pflow's command in its home, with its output going elsewhere; return the exit code."""
        os.chdir(self.path / "work")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        life.before()
        sys.argv = ["pflow", WORKFLOW]
        code = 0
        try:
            self._pflow()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        return code


def main(home: Home) -> Iterator[tuple[str, dict[str, Any]]]:
    home.run_here()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)  # Of a pool that nobody waits for; a fork would not have it.
    gc.freeze()  # Else the first collection in each fork copies all that was imported.
    yield "bare", home.perform(Life())
    yield "traced", home.perform(Traced())
    by_name = dict(functions())
    done = set()
    for children in ("hide", "trace"):
        called = home.perform(Profiled(children=children))
        for when in ("early", "late"):
            for name in called[when]:
                if (when, name) not in done:
                    done.add((when, name))
                    life = Traced(by_name[name], early=when == "early", children=children)
                    yield f"{when} {name}", home.perform(life)


if __name__ == "__main__":
    for name, done in main(Home(Path(sys.argv[1]))):
        sys.stdout.write(json.dumps({"name": name, **done}) + "\n")
        sys.stdout.flush()  # Else what is forked has it too.
