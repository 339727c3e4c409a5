"""Functions of modules are replaced by name, and their arguments found however they are passed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from opentelemetry.context import attach, detach, get_current, set_value

from pocketflow_otel.guard import set_strict
from pocketflow_otel.instrument.patching import Patches
from pocketflow_otel.instrument.pflow.context_propagation import ContextBound, propagating_executor
from pocketflow_otel.instrument.pflow.hooks import Arguments, Hook, install_all
from pocketflow_otel.instrument.pflow.shared_state import (
    EngineRecords,
    NodeView,
    WarningInfo,
    WorkflowView,
    category_of,
    output_of,
)
from pocketflow_otel.instrument.wrapping import CallHandler
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED
from pocketflow_otel.store.introspection import StoreProxy, list_items, store_of

SOURCE = '''
def greet(name, loud=False, *, sign="."):
    """Greet."""
    return f"{name}{'!' if loud else ''}{sign}"

class Engine:
    def run(self, workflow, shared=None):
        return [workflow, shared]

    @staticmethod
    def check(workflow):
        return workflow

value = 1
'''


@pytest.fixture
def module() -> Any:
    module = ModuleType("theirs")
    exec(SOURCE, module.__dict__)
    return module


PLACES = {"name": 0, "loud": 1}


@pytest.mark.parametrize(
    ("args", "kwargs"), [(("ada", True), {}), (("ada",), {"loud": True}), ((), {"name": "ada", "loud": True})]
)
def test_an_argument_is_found_and_replaced_however_it_is_passed(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    call = Arguments(PLACES, args, kwargs)
    found = call["name"], call["loud"], call["absent"]
    call["name"] = "eve"

    assert (found, call["name"], call["loud"], len(call.args) + len(call.kwargs)) == (
        ("ada", True, None), "eve", True, 2,
    )  # fmt: skip


def test_replacing_an_argument_leaves_the_callers_dict_as_it_is() -> None:
    kwargs = {"name": "ada"}
    call = Arguments(PLACES, (), kwargs)
    call["name"] = "eve"

    assert kwargs == {"name": "ada"}


class Noted(CallHandler):
    """Notes what a call returned or raised."""

    __slots__ = ("result", "seen")

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    def end(self, error: BaseException | None) -> None:
        self.seen.append(self.result if error is None else type(error))


def test_a_function_of_a_module_is_surrounded_and_put_back_the_very_same(module: Any) -> None:
    seen: list[object] = []
    patches, original = Patches(), module.greet
    missing = install_all(module, [Hook("greet", lambda call: Noted(seen), needs=("name",))], patches)
    answers = [module.greet("ada", sign="?"), module.greet(name="eve", loud=True)]
    with pytest.raises(TypeError):
        module.greet()
    replaced = module.greet
    patches.undo()

    assert (missing, answers, seen) == ([], ["ada?", "eve!."], ["ada?", "eve!.", TypeError])
    assert (replaced.__name__, replaced.__doc__, module.greet is original) == ("greet", "Greet.", True)


def test_a_method_is_surrounded_and_its_arguments_changed(module: Any) -> None:
    def change(call: Arguments) -> None:
        call["shared"] = {"changed": call["shared"]}

    install_all(module, [Hook("Engine.run", change=change)], Patches())

    assert module.Engine().run("flow", 1) == ["flow", {"changed": 1}]


def test_what_is_not_there_is_named_and_what_is_not_required_is_not(module: Any) -> None:
    hooks = [
        Hook("gone"),
        Hook("Engine.gone"),
        Hook("Gone.run"),
        Hook("Engine.check"),  # no plain function
        Hook("value"),
        Hook("greet", needs=("name", "language")),
        Hook("optional", required=False),
        Hook("Engine.run", needs=("workflow", "shared")),
    ]

    assert install_all(module, hooks, Patches()) == [
        "theirs.gone", "theirs.Engine.gone", "theirs.Gone.run", "theirs.Engine.check", "theirs.value",
        "theirs.greet",
    ]  # fmt: skip


def test_nothing_is_opened_in_a_run_that_is_not_recorded(module: Any) -> None:
    seen: list[object] = []
    install_all(module, [Hook("greet", lambda call: Noted(seen))], Patches())
    token = attach(set_value(SCOPE_KEY, UNTRACED))
    try:
        assert module.greet("ada") == "ada."
    finally:
        detach(token)

    assert seen == []


@pytest.mark.parametrize("part", ["open", "change"])
def test_a_hook_that_fails_lets_the_call_pass(module: Any, part: str) -> None:
    set_strict(False)
    install_all(module, [Hook("greet", **{part: lambda call: 1 / 0})], Patches())  # type: ignore[arg-type]

    assert module.greet("ada") == "ada."


def test_a_global_is_swapped_and_put_back_unless_somebody_else_has_swapped_it_since(module: Any) -> None:
    patches = Patches()
    patches.swap(module, "value", 2)
    swapped = module.value
    patches.undo()
    put_back = module.value
    patches.swap(module, "value", 2)
    module.value = 3
    patches.undo()

    assert (swapped, put_back, module.value) == (2, 1, 3)


def test_a_propagating_pool_hands_the_context_on_and_another_pool_does_not() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def seen() -> object:
        return get_current().get("key")

    token = attach(set_value("key", "value"))
    try:
        with propagating_executor(ThreadPoolExecutor)(1) as ours, ThreadPoolExecutor(1) as plain:
            answers = [ours.submit(seen).result(), plain.submit(seen).result()]
            after = ours.submit(lambda: 1 / 0).exception()
    finally:
        detach(token)

    assert (answers, type(after)) == (["value", None], ZeroDivisionError)
    assert issubclass(propagating_executor(ThreadPoolExecutor), ThreadPoolExecutor)
    assert propagating_executor(ThreadPoolExecutor).__name__ == "ThreadPoolExecutor"


def test_a_function_with_a_context_is_called_as_it_is() -> None:
    assert ContextBound(lambda *args, **kwargs: (args, kwargs), get_current())(1, a=2) == ((1,), {"a": 2})


# The store

STORE: dict[str, Any] = {
    "name": "ada",
    "__execution__": {},
    "_pflow_depth": 1,
    "_batch_trace": {},
    "greet": {"stdout": "hello", "_pflow_child": 1},
    "fetch": "odd",
    "__failures__": {"broken": {"data": {"stderr": "no"}, "category": "shell_failure", "error": "x"}},
}


def test_a_workflow_sees_its_store_without_pflows_own_records() -> None:
    assert list_items(WorkflowView(STORE)) == {key: STORE[key] for key in ("name", "greet", "fetch")}


@pytest.mark.parametrize(
    ("node", "own"),
    [("greet", {"stdout": "hello"}), ("fetch", {}), ("broken", {"stderr": "no"}), ("new", {})],
)
def test_a_node_sees_what_it_wrote_at_the_top(node: str, own: dict[str, Any]) -> None:
    rest = {key: STORE[key] for key in ("name", "greet", "fetch") if key != node}

    assert list_items(NodeView(STORE, node)) == rest | own


def test_a_view_stands_for_the_store_behind_it() -> None:
    assert store_of(StoreProxy(StoreProxy(STORE))) is STORE
    assert list_items(StoreProxy(STORE)) == STORE
    assert list_items(WorkflowView(7)) is None
    assert list_items(NodeView(7, "greet")) is None


@pytest.mark.parametrize("shared", [None, 7, {}, {"__failures__": None}, {"__failures__": {"a": 1}, "a": 3}])
def test_odd_stores_have_nothing_to_say(shared: Any) -> None:
    assert (output_of(shared, "a"), category_of(shared, "a", "HttpNode")) == ({}, "http_failure")
    assert EngineRecords.read(shared, "a") == EngineRecords(0, None, None, None)


def test_the_category_of_a_failure_is_pflows_where_it_has_one() -> None:
    assert [category_of(STORE, "broken", "LLMNode"), category_of(STORE, "greet", "Any")] == [
        "shell_failure", "node_action_error",
    ]  # fmt: skip


class Diagnostic:
    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("warning", "info"),
    [
        ("careful", WarningInfo("warning", "warning", "careful")),
        ({"message": "careful", "type": "api"}, WarningInfo("api", "warning", "careful")),
        (
            Diagnostic(message="m", id="cache.x", context={"type": "t"}, severity=Diagnostic(value="info")),
            WarningInfo("cache.x", "info", "m"),
        ),
        (Diagnostic(message="m", context={"category": "c"}, severity=3), WarningInfo("c", "warning", "m")),
        (7, WarningInfo("warning", "warning", "")),
    ],
)
def test_a_warning_is_read_in_each_of_its_shapes(warning: object, info: WarningInfo) -> None:
    assert WarningInfo.read(warning) == info
