"""Functions of modules are replaced by name, and their arguments found however they are passed."""

from __future__ import annotations

from traceback import extract_tb
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.context import attach, detach, set_value

from pocketflow_otel.guard import set_strict
from pocketflow_otel.instrument.patching import Patches
from pocketflow_otel.instrument.pflow.hooks import Arguments, Hook, install_all
from pocketflow_otel.instrument.wrapping import Watcher
from pocketflow_otel.runtime.scope import SCOPE_KEY, UNTRACED

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


class Noted(Watcher):
    """Notes what a call returned or raised."""

    __slots__ = ("seen",)

    def __init__(self, seen: list[object]) -> None:
        super().__init__()
        self.seen = seen

    def see_end(self, error: BaseException | None) -> None:
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


def test_an_error_has_one_frame_of_ours_however_many_functions_are_replaced(module: Any) -> None:
    exec("def outer(name): greet(name)", module.__dict__)
    install_all(module, [Hook(name, change=lambda call: None) for name in ("greet", "outer")], Patches())
    with pytest.raises(ZeroDivisionError) as raised:
        module.outer(Unprintable())

    assert [frame.name for frame in extract_tb(raised.value.__traceback__)][1:] == [
        "traced_by_pocketflow_otel", "outer", "greet", "__format__",
    ]  # fmt: skip


class Unprintable:
    def __format__(self, spec: str) -> str:
        return str(1 / 0)
