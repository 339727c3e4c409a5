"""A method is given a stand-in for its `self` where all it does with that is to ask for attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pocketflow
import pytest

from pocketflow_otel.instrument.self_use import asks_in_order, uses_self_for_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

kept: list[object] = []


class Base:
    def run(self) -> Any:
        return None


class Asks(Base):
    """Methods that ask for attributes, set them, and delete them."""

    value: Any
    index: Any

    def loads(self) -> Any:
        return self.value

    def calls(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(self.index, *args, **kwargs)

    def stores(self) -> None:
        self.value = self.index

    def stores_another(self, other: object) -> None:
        self.value = other

    def deletes(self) -> None:
        del self.value

    def counts(self) -> Any:
        for self.index in range(self.value):
            try:
                return self.value()
            except Exception as error:
                if self.index == self.value:
                    return self.value(error)
        return None

    def comprehends(self) -> Any:
        return [self.value(each) for each in self.index]

    def generates(self) -> Any:
        return sum(self.value(each) for each in self.index)

    def nests(self) -> Any:
        def inner() -> Any:
            return lambda: self.value

        return inner

    def calls_super(self) -> Any:
        return super().run()

    def names_super(self) -> Any:
        return super(Asks, self).run()  # noqa: UP008 - as PocketFlow does

    def names_super_within(self) -> Any:
        return [super(Asks, self).run() for _ in self.value]

    async def awaits(self) -> Any:
        return await self.value(self.index)

    async def comprehends_async(self) -> Any:
        return [await self.value(each) for each in self.index]

    def has_another_self_within(self) -> Any:
        return (lambda self: kept.append(self)), self.value

    def ignores(self) -> Any:
        return 1


class HandsOn(Base):
    """Methods by which somebody else gets hold of the object itself, or might: it cannot be told."""

    value: Any

    def adds(self) -> None:
        self.value += 1  # Holds on to it from the one to the other.

    def returns(self) -> Any:
        return self

    def passes(self) -> Any:
        return kept.append(self)

    def passes_by_name(self) -> Any:
        return dict(node=self)  # noqa: C408

    def passes_after_attribute(self) -> Any:
        return self.value(self)

    def keeps(self) -> None:
        other = self
        kept.append(other.value)

    def puts_on(self, other: Any) -> None:
        other.node = self

    def puts_under(self, other: Any) -> None:
        other[0] = self

    def indexes(self) -> Any:
        return self[0]  # type: ignore[index]

    def compares(self, other: object) -> bool:
        return self is other

    def tests(self) -> int:
        return 1 if self else 2

    def formats(self) -> str:
        return f"{self}"

    def packs(self) -> Any:
        return (self, 1)

    def replaces(self) -> Any:
        self = 1  # type: ignore[assignment]
        return self

    def forgets(self) -> None:
        del self

    def yields(self) -> Any:
        yield self

    def nests(self) -> Any:
        return lambda: kept.append(self)

    def comprehends(self) -> Any:
        return [self for _ in range(2)]

    def sees_locals(self) -> Any:
        return locals()

    def evaluates(self) -> Any:
        return eval("self")

    def matches(self) -> Any:
        match self:
            case Base():
                return 1
        return 2

    async def awaits(self) -> Any:
        return await self  # type: ignore[misc]


def methods(cls: type) -> list[Callable[..., Any]]:
    return [value for value in vars(cls).values() if callable(value)]


@pytest.mark.parametrize("method", methods(Asks), ids=lambda method: method.__name__)
def test_who_asks_for_attributes_alone_may_get_another_object(method: Callable[..., Any]) -> None:
    assert uses_self_for_attributes(method)


@pytest.mark.parametrize("method", methods(HandsOn), ids=lambda method: method.__name__)
def test_who_hands_on_the_object_gets_it_itself(method: Callable[..., Any]) -> None:
    assert not uses_self_for_attributes(method)


def test_a_function_without_parameters_of_its_own_has_no_self() -> None:
    def takes_all(*args: Any) -> Any:
        return args

    assert not uses_self_for_attributes(takes_all)


@pytest.mark.parametrize(
    "method",
    [
        value
        for cls in vars(pocketflow).values()
        if isinstance(cls, type)
        for name, value in vars(cls).items()
        if name in ("_run", "_run_async", "_exec")
    ],
    ids=lambda method: method.__qualname__,
)
def test_the_methods_of_pocketflow_that_run_a_node_ask_for_attributes_alone_and_in_order(
    method: Callable[..., Any],
) -> None:
    assert uses_self_for_attributes(method)
    assert asks_in_order(method)
