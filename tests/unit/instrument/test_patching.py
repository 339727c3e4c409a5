"""Methods are replaced on the classes that define them, and what stood there comes back, the very same."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock, patch

import cloudpickle
import dill
import pytest

from pocketflow_otel.instrument.patching import Patches

Method = Callable[..., Any]


class Base:
    def run(self, n: int = 1) -> list[str]:
        """Run it."""
        return [f"base {n}"]


class Child(Base):
    def run(self, n: int = 1) -> list[str]:
        return [f"child {n}", *super().run(n)]


class Heir(Base):
    pass


def loud(function: Method) -> Method:
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ["loud", *function(self, *args, **kwargs)]

    return wrapper


@pytest.fixture
def patches() -> Any:
    patches = Patches()
    yield patches
    patches.undo()


def test_a_method_is_replaced_and_put_back(patches: Patches) -> None:
    original = Base.__dict__["run"]
    patches.replace(Base, "run", loud)
    replaced = Base().run(2)
    patches.undo()
    assert (replaced, Base().run(2), Base.__dict__["run"] is original) == (
        ["loud", "base 2"],
        ["base 2"],
        True,
    )


def test_a_replacement_looks_like_what_it_replaces(patches: Patches) -> None:
    original = Base.run
    patches.replace(Base, "run", loud)
    replaced: Any = Base.run
    assert (
        replaced.__name__,
        replaced.__qualname__,
        replaced.__doc__,
        replaced.__module__,
        replaced.__wrapped__,
    ) == (
        "run",
        "Base.run",
        "Run it.",
        __name__,
        original,
    )


def test_a_mock_with_a_methods_signature_is_bound_as_the_method_is(patches: Patches) -> None:
    patches.replace(Child, "run", loud, hidden=True)
    with patch.object(Child, "run", autospec=True, side_effect=Child.run) as run:
        assert Child().run(2) == ["child 2", "base 2"]
    assert [type(argument) for argument in run.call_args.args] == [Child, int]
    assert Child().run(2) == ["loud", "child 2", "base 2"]


def test_a_method_is_not_replaced_twice(patches: Patches) -> None:
    for _ in range(2):
        patches.replace(Base, "run", loud)
    assert Base().run() == ["loud", "base 1"]


def test_two_sets_of_patches_replace_a_method_once() -> None:
    original = Base.__dict__["run"]
    one, two = Patches(), Patches()
    one.replace(Base, "run", loud)
    two.replace(Base, "run", loud)
    replaced = Base().run()
    two.undo()
    one.undo()
    assert (replaced, Base.__dict__["run"] is original) == (["loud", "base 1"], True)


def test_an_inherited_method_is_left_to_the_class_that_defines_it(patches: Patches) -> None:
    patches.replace(Heir, "run", loud)
    replaced = Heir().run()
    patches.undo()
    assert (replaced, "run" in Heir.__dict__) == (["base 1"], False)


def test_a_method_and_the_one_it_calls_are_both_replaced(patches: Patches) -> None:
    patches.replace(Base, "run", loud)
    patches.replace(Child, "run", loud)
    assert Child().run() == ["loud", "child 1", "loud", "base 1"]


@pytest.mark.parametrize(
    "value",
    [
        staticmethod(lambda: 1),
        classmethod(lambda cls: 1),
        property(lambda self: 1),
        functools.partial(print),
        functools.partialmethod(print),
        Mock(),
        len,
        print,
        3,
        None,
        type("Callable", (), {"__call__": lambda self: 1})(),
        type("Proxy", (), {"__getattr__": lambda self, name: self})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_function_stays(value: object, patches: Patches) -> None:
    cls = type("Some", (), {"run": value})
    patches.replace(cls, "run", loud)
    assert cls.__dict__["run"] is value


def test_what_is_not_there_is_not_made(patches: Patches) -> None:
    patches.replace(Base, "walk", loud)
    assert not hasattr(Base, "walk")


def test_a_bound_method_can_be_pickled_and_copied(patches: Patches) -> None:
    patches.replace(Base, "run", loud)
    bound = Base().run
    copies = (pickle.loads(pickle.dumps(bound)), copy.deepcopy(bound), copy.copy(bound))
    assert [copied() for copied in copies] == [["loud", "base 1"]] * 3


@pytest.mark.parametrize("way", [cloudpickle, dill], ids=lambda way: way.__name__)
def test_a_bound_method_is_sent_to_other_processes_as_the_original(patches: Patches, way: Any) -> None:
    patches.replace(Base, "run", loud, hidden=True, applies=lambda cls: cls is Base)
    assert way.loads(way.dumps(Base().run))() == ["base 1"]
    assert (Base().run(), Heir().run()) == (["loud", "base 1"], ["base 1"])


def test_a_coroutine_function_stays_one(patches: Patches) -> None:
    class Async:
        async def run(self) -> int:
            return 1

    def passing(function: Method) -> Method:
        async def wrapper(self: Any) -> Any:
            return await function(self) + 1

        return wrapper

    patches.replace(Async, "run", passing)
    assert (inspect.iscoroutinefunction(Async.run), asyncio.run(Async().run())) == (True, 2)


def test_a_wrapper_that_somebody_put_around_ours_stays(patches: Patches) -> None:
    class Theirs:
        def run(self) -> list[str]:
            return ["theirs"]

    patches.replace(Theirs, "run", loud)
    ours: Any = Theirs.run

    @functools.wraps(ours)
    def around(self: Any) -> Any:
        return ["around", *ours(self)]

    Theirs.run = around  # type: ignore[method-assign]
    patches.undo()
    assert (Theirs.run is around, Theirs().run()) == (True, ["around", "loud", "theirs"])


def test_a_wrapper_around_ours_is_wrapped_anew(patches: Patches) -> None:
    class Theirs:
        def run(self) -> list[str]:
            return ["theirs"]

    patches.replace(Theirs, "run", loud)
    ours: Any = Theirs.run

    @functools.wraps(ours)
    def around(self: Any) -> Any:
        return ["around", *ours(self)]

    Theirs.run = around  # type: ignore[method-assign]
    patches.replace(Theirs, "run", loud)
    replaced = Theirs().run()
    patches.undo()
    assert (replaced, Theirs.run is around) == (["loud", "around", "loud", "theirs"], True)


def test_what_somebody_put_in_the_place_of_ours_stays(patches: Patches) -> None:
    class Theirs:
        def run(self) -> list[str]:
            return ["theirs"]

    patches.replace(Theirs, "run", loud)
    Theirs.run = theirs = lambda self: ["new"]  # type: ignore[method-assign]
    patches.undo()
    assert Theirs.__dict__["run"] is theirs


def test_a_class_made_from_a_patched_one_is_put_back_too(patches: Patches) -> None:
    class Plain:
        __annotations__ = {"x": int}

        def run(self) -> list[str]:
            return ["plain"]

    original = Plain.__dict__["run"]
    patches.replace(Plain, "run", loud)
    slotted: Any = dataclass(slots=True)(Plain)
    patches.replace(slotted, "run", loud)
    replaced = slotted(1).run()
    patches.undo()
    assert (slotted is Plain, replaced, slotted.__dict__["run"] is original) == (
        False,
        ["loud", "plain"],
        True,
    )


def test_a_replacement_copied_to_another_name_is_put_back_too(patches: Patches) -> None:
    class Alias:
        def run(self) -> list[str]:
            return ["alias"]

    original = Alias.__dict__["run"]
    patches.replace(Alias, "run", loud)
    Alias.start = Alias.run  # type: ignore[attr-defined]
    patches.undo()
    assert (Alias.__dict__["run"] is original, Alias.__dict__["start"] is original) == (True, True)


def test_neither_class_nor_function_lives_longer() -> None:
    class Short:
        def run(self) -> list[str]:
            return ["short"]

    patches = Patches()
    patches.replace(Short, "run", loud)
    references = [weakref.ref(Short), weakref.ref(Short.run), weakref.ref(Short.run.__wrapped__)]  # type: ignore[attr-defined]
    del Short
    gc.collect()
    assert [reference() for reference in references] == [None] * 3
    patches.undo()


def test_a_hook_is_replaced_and_put_back(patches: Patches) -> None:
    made: list[object] = []

    class Parent:
        def __init_subclass__(cls, **kwargs: object) -> None:
            made.append((cls.__name__, kwargs))

    def noting(function: Method) -> Method:
        def wrapper(cls: type, **kwargs: object) -> None:
            made.append("noted")
            function(cls, **kwargs)

        return wrapper

    original = Parent.__dict__["__init_subclass__"]
    for _ in range(2):
        patches.replace_hook(Parent, "__init_subclass__", noting)
    type("One", (Parent,), {}, n=1)
    patches.undo()
    type("Two", (Parent,), {})
    assert (made, Parent.__dict__["__init_subclass__"] is original) == (
        ["noted", ("One", {"n": 1}), ("Two", {})],
        True,
    )


@pytest.mark.parametrize("value", [len, staticmethod(len), 3, None], ids=lambda value: type(value).__name__)
def test_what_is_no_classmethod_is_no_hook(value: object, patches: Patches) -> None:
    cls = type("Some", (), {"hook": value})
    patches.replace_hook(cls, "hook", loud)
    assert cls.__dict__["hook"] is value


def test_an_attribute_is_added_and_taken_away(patches: Patches) -> None:
    added = classmethod(lambda cls: 1)
    patches.add(Base, "extra", added)
    there = Base.__dict__["extra"] is added
    patches.undo()
    assert (there, "extra" in Base.__dict__) == (True, False)


def test_an_added_attribute_that_somebody_replaced_stays(patches: Patches) -> None:
    class Theirs:
        pass

    patches.add(Theirs, "extra", 1)
    Theirs.extra = theirs = object()  # type: ignore[attr-defined]
    patches.undo()
    assert Theirs.__dict__["extra"] is theirs


def test_an_added_attribute_that_somebody_took_away_is_no_harm(patches: Patches) -> None:
    class Theirs:
        pass

    patches.add(Theirs, "extra", 1)
    patches.add(Theirs, "more", 2)
    del Theirs.extra  # type: ignore[attr-defined]
    patches.undo()
    assert not hasattr(Theirs, "more")


def test_undoing_twice_is_no_harm(patches: Patches) -> None:
    patches.replace(Base, "run", loud)
    patches.undo()
    patches.undo()
    assert Base().run() == ["base 1"]


def test_patches_can_be_applied_again(patches: Patches) -> None:
    original = Base.__dict__["run"]
    for _ in range(3):
        patches.replace(Base, "run", loud)
        assert Base().run() == ["loud", "base 1"]
        patches.undo()
        assert Base.__dict__["run"] is original
