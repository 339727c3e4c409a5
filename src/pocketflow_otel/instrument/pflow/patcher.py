"""Which modules of pflow are instrumented, when they are imported, and how all that is undone."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import guard, logger
from pocketflow_otel.instrument.import_hooks import ImportHooks
from pocketflow_otel.instrument.patching import Patches, SubclassPatcher
from pocketflow_otel.instrument.pflow import engine_0_8, engine_0_11, subprocesses
from pocketflow_otel.instrument.pflow.context_propagation import propagating_executor
from pocketflow_otel.instrument.pflow.engine_0_8 import Engine08Adapter
from pocketflow_otel.instrument.pflow.engine_0_11 import Engine011Adapter
from pocketflow_otel.instrument.pflow.hooks import Hook, install_all
from pocketflow_otel.instrument.scopes.attempts import open_attempt, open_fallback, open_pass
from pocketflow_otel.instrument.scopes.node import open_exec
from pocketflow_otel.instrument.sdk_services import sdk_services
from pocketflow_otel.instrument.wrapping import Watcher, call_wrapper
from pocketflow_otel.runtime.scope import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from pocketflow_otel.instrument.pflow.adapter import EngineAdapter
    from pocketflow_otel.instrument.pflow.hooks import Arguments
    from pocketflow_otel.instrument.tracer import FlowTracer

DISTRIBUTION: Final = "pflow-cli"

_QUIETING: Final = guard("stand in for pflow's lines about nodes")

_POOLS: Final = {"pflow.nodes.python.python_code": True, "pflow.nodes.llm.llm": False}
"""Modules that run a step in a pool of one thread, and whether all releases do."""
_POOL: Final = "ThreadPoolExecutor"
_SHELL: Final = "pflow.nodes.shell.shell"
_OUTPUT: Final = "pflow.core.output_controller"
_PROMPT: Final = "pflow.execution.gate_prompt"
_SERVER: Final = "pflow.ui.server"
_NODE_EVENTS: Final = frozenset(
    {"node_start", "node_complete", "node_cached", "node_warning", "batch_progress"}
)
"""Events of nodes that pflow prints lines of, as the live view does in lines of its own."""


class PflowPatcher:
    """The patcher of pflow, of whichever release.

    Nothing of pflow is imported: each module is seen to when pflow imports it.

    Args:
        flow_tracer: Where spans come from. What it records of errors is made to leave out their texts,
            unless those are asked for: pflow's hold data.
    """

    def __init__(self, flow_tracer: FlowTracer) -> None:
        self._flow_tracer = flow_tracer
        flow_tracer.after_run = self._after_run
        if "errors" not in flow_tracer.config.pflow_details:
            flow_tracer.config = replace(flow_tracer.config, mask_errors=True)
        self._patches = Patches()
        self._imports = ImportHooks(guard("instrument pflow"))
        self._begun = False
        self._missing: list[str] = []
        self._warned = False

    def patch(self) -> None:
        """Replace functions of what has been imported, and of what will be."""
        self._flow_tracer.enabled = True
        self._imports.add("pflow", self._begin)

    def undo(self) -> None:
        """Put everything back; what is imported from now on stays as it is."""
        self._imports.clear()
        self._flow_tracer.enabled = False
        self._patches.undo()

    def _begin(self, package: ModuleType) -> None:
        """Choose the engine adapter by which pflow this is, and have its hooks installed."""
        if not self._patches.active or self._begun:
            return
        self._begun = True
        subprocesses.hide_launcher(os.environ)
        folder = Path(package.__path__[0])
        vendored = (folder / "pocketflow").is_dir()
        adapter_class: type[EngineAdapter] = Engine08Adapter if vendored else Engine011Adapter
        adapter = adapter_class(self._flow_tracer, _version())
        for name, hooks in adapter.hooks().items():
            self._on_import(folder, name, partial(self._install, hooks))
        nodes = "pflow.pocketflow" if vendored else "pflow.core.node"
        self._on_import(folder, nodes, self._install_attempts)
        if self._flow_tracer.config.children == "trace":
            self._on_import(folder, _SHELL, partial(self._install, _SHELL_HOOKS))
        for name, required in _POOLS.items():
            self._on_import(folder, name, partial(self._install_pool, required))
        self._on_import(folder, _OUTPUT, self._install_output)
        # Both from 0.14 on.
        self._add_hook(_PROMPT, partial(self._install, _PROMPT_HOOKS))
        self._add_hook(_SERVER, self._install_server)

    def _on_import(self, folder: Path, name: str, install: Callable[[ModuleType], None]) -> None:
        path = folder.joinpath(*name.split(".")[1:])
        if not (path.is_dir() or path.with_suffix(".py").is_file()):
            self._add_missing([name])
        self._add_hook(name, install)

    def _add_hook(self, name: str, install: Callable[[ModuleType], None]) -> None:
        def install_if_active(module: ModuleType) -> None:
            if self._patches.active:
                install(module)

        self._imports.add(name, install_if_active)

    def _install(self, hooks: Sequence[Hook], module: ModuleType) -> None:
        self._add_missing(install_all(module, hooks, self._patches))

    def _install_attempts(self, module: ModuleType) -> None:
        node = module.__dict__.get("Node")
        if not isinstance(node, type):
            self._add_missing([f"{module.__name__}.Node"])
            return
        for cls in node.__mro__:
            self._patches.replace(cls, "_run", call_wrapper(open_pass, takes_stand_in=True))
            self._patches.replace(cls, "_exec", call_wrapper(open_exec, takes_stand_in=True))
        SubclassPatcher(node, self._patches, partial(self._patch_node, module.__name__)).patch()

    def _patch_node(self, framework: str, cls: type) -> None:
        """See to the attempts of a node class that makes them by an `_exec` of its own."""
        users = [base for base in cls.__mro__ if base.__module__ not in (framework, object.__module__)]
        if any("_exec" in base.__dict__ for base in users):
            for base in users:
                self._patches.replace(base, "exec", call_wrapper(open_attempt), hidden=True)
                self._patches.replace(base, "exec_fallback", call_wrapper(open_fallback), hidden=True)

    def _install_pool(self, required: bool, module: ModuleType) -> None:
        pool = module.__dict__.get(_POOL)
        if isinstance(pool, type):
            self._patches.swap(module, _POOL, propagating_executor(pool))
        elif required:
            self._add_missing([f"{module.__name__}.{_POOL}"])

    def _install_output(self, module: ModuleType) -> None:
        controller = module.__dict__.get("OutputController")
        if controller is None or "create_progress_callback" not in vars(controller):
            self._add_missing([f"{module.__name__}.OutputController.create_progress_callback"])
            return
        self._patches.replace(controller, "create_progress_callback", self._hiding_node_lines)

    def _install_server(self, module: ModuleType) -> None:
        subprocesses.trace_runs(os.environ)

    def _hiding_node_lines(self, create: Callable[..., Any]) -> Callable[..., Any]:
        """Leave out pflow's lines about nodes where the live view prints lines of its own."""

        def traced_by_pocketflow_otel(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            callback = create(*args, **kwargs)
            if not callable(callback):
                return callback

            def quieted_by_pocketflow_otel(node_id: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                hidden = False
                with _QUIETING:
                    hidden = event in _NODE_EVENTS and not _adds_details(kwargs) and self._shows_live()
                return None if hidden else callback(node_id, event, *args, **kwargs)

            return quieted_by_pocketflow_otel

        return traced_by_pocketflow_otel

    def _shows_live(self) -> bool:
        """Return whether the step that runs now has its lines in a live view."""
        services = sdk_services()
        return (
            scope_of() is not None
            and services is not None
            and services.shows_live(self._flow_tracer.provider)
        )

    def _after_run(self) -> None:
        """Have the run's spans sent before the process can end: after a broken pipe pflow's `os._exit`s."""
        services = sdk_services()
        if services is not None:
            services.flush(self._flow_tracer.provider)
        if self._missing:
            self._warn_missing()

    def _add_missing(self, names: Sequence[str]) -> None:
        self._missing += [name for name in names if name not in self._missing]
        if any(name.startswith((engine_0_11.RUNNER, engine_0_8.RUNNER)) for name in names):
            self._warn_missing()  # No run will end of which we know.

    def _warn_missing(self) -> None:
        """Log once what this pflow does not have."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "pflow %s is not as pocketflow-otel knows it: without %s, a part of the run is not traced",
                _version(), ", ".join(self._missing),
            )  # fmt: skip


class _Answer(Watcher):
    """A question of a gate: once it has been answered, the view knows that its line is ended."""

    __slots__ = ()

    def see_end(self, error: BaseException | None) -> None:
        services = sdk_services()
        if error is None and services is not None:
            services.end_lines()


def _open_prompt(call: Arguments) -> _Answer:
    return _Answer()


def _continue_trace(call: Arguments) -> None:
    """Have the processes that a shell step starts continue its trace."""
    if isinstance(call["prep_res"], dict):
        call["prep_res"] = subprocesses.with_trace_environment(call["prep_res"])


_SHELL_HOOKS: Final = (Hook("ShellNode.exec", change=_continue_trace, needs=("prep_res",)),)
_PROMPT_HOOKS: Final = (Hook("_prompt", _open_prompt, required=False),)


def _adds_details(fields: Mapping[str, Any]) -> bool:
    """Return whether a line of pflow's has more than ours: an error that was passed over."""
    if fields.get("is_error"):
        return False
    passed_over = fields.get("error_message") and fields.get("ignore_errors")
    return bool(passed_over or fields.get("smart_handled"))


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
