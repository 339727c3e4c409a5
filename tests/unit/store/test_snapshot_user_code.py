"""A snapshot is taken without running user code, whatever is in the store."""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.steps import nothing
from tests.support.stores import UNCHANGED, Color, Document, diff, modified, on_span

from pocketflow_otel.store.snapshot import Diff, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Touched(Exception):
    pass


touches: list[str] = []
SPECIAL = """
    eq ne lt le gt ge hash bool len length_hint iter next reversed contains getitem setitem delitem missing
    repr str format bytes index int float complex fspath buffer getattr getattribute dir sizeof call
    copy deepcopy reduce reduce_ex getstate enter exit get set delete set_name add radd sub and or ror
    array instancecheck subclasscheck
"""


def explodes(name: str) -> Callable[..., Any]:
    def touched(*args: object, **kwargs: object) -> Any:
        touches.append(name)
        raise Touched(name)

    return touched


def bombs(*leave_out: str) -> dict[str, Any]:
    return {f"__{name}__": explodes(name) for name in SPECIAL.split() if name not in leave_out}


def bomb() -> Any:
    """Make an object that explodes when it is looked at, of a type that does too."""

    class Type(type):
        __name__ = property(explodes("type.__name__"))  # type: ignore[assignment]
        __mro__ = property(explodes("type.__mro__"))  # type: ignore[assignment]
        __dict__ = property(explodes("type.__dict__"))  # type: ignore[assignment]

    own = {f"__{name}__": property(explodes(name)) for name in ("class", "dict")}
    made = Type("Bomb", (), {**bombs(), **own, "keys": explodes("keys"), "items": explodes("items")})()
    for name in ("hash", "eq", "ne", "repr", "getattribute", "len", "iter", "bool", "call", "instancecheck"):
        setattr(Type, f"__{name}__", explodes(f"type.{name}"))
    return made


@pytest.fixture(autouse=True)
def _nothing_explodes() -> Iterator[None]:
    touches.clear()
    yield
    assert touches == []


def bomb_of(base: type, **own: Any) -> Any:
    """Make a subclass of a built-in type whose every method explodes, once it is filled."""
    leave_out = () if own else ("getattribute",)
    methods = ("keys", "items", "values", "copy", "get", "pop", "append", "encode", "index", "update")
    explosive = bombs(*leave_out) | {name: explodes(name) for name in methods}
    return type(f"Bomb{base.__name__}", (base,), explosive | own)


STORES_OF_BOMBS: dict[str, Callable[[], Any]] = {
    "a value": lambda: {"a": bomb()},
    "an element of a list": lambda: {"a": [bomb(), 1]},
    "a value of a nested dict": lambda: {"a": {"b": {"c": bomb()}}},
    "an element of a tuple": lambda: {"a": (bomb(), [])},
    "an element of a deque": lambda: {"a": deque([bomb()])},
    "a subclass of dict": lambda: {"a": bomb_of(dict)(x=1)},
    "a subclass of list": lambda: {"a": bomb_of(list)((1, 2))},
    "a subclass of tuple": lambda: {"a": bomb_of(tuple)((1, 2))},
    "a subclass of set": lambda: {"a": bomb_of(set)((1, 2))},
    "a subclass of str": lambda: {"a": bomb_of(str)("x")},
    "a subclass of int": lambda: {"a": bomb_of(int)(7)},
    "a subclass of bytes": lambda: {"a": bomb_of(bytes)(b"x")},
    "an attribute": lambda: SimpleNamespace(a=bomb()),
    "a default": lambda: {"a": defaultdict(bomb, b=bomb())},
}


@pytest.mark.parametrize("make", STORES_OF_BOMBS.values(), ids=STORES_OF_BOMBS)
def test_looking_at_a_value_calls_none_of_its_code(make: Callable[[], Any]) -> None:
    shared = make()
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    looks = [(snapshot.schema(), snapshot.update(shared)) for _ in range(2)]
    assert looks[0] == looks[1] == (snapshot.schema(), UNCHANGED)


@pytest.mark.parametrize("make", STORES_OF_BOMBS.values(), ids=STORES_OF_BOMBS)
def test_another_value_of_explosive_type_is_a_modification(make: Callable[[], Any]) -> None:
    shared, other = make(), make()
    if type(shared) is dict:
        assert diff(shared, lambda s: s.update(a=other["a"])) == modified("a")
    else:
        assert diff(shared, lambda s: setattr(s, "a", other.a)) == modified("a")


def test_the_schema_of_a_bomb_is_its_type() -> None:
    snapshot = Snapshot.take({"a": bomb(), "b": [bomb()], "c": bomb_of(list)((1, 2))})
    assert snapshot is not None
    assert snapshot.schema() == '{"a":"Bomb","b":"list[1]","c":"Bomblist"}'


def test_a_dict_subclass_is_read_past_its_own_methods() -> None:
    store = bomb_of(dict)({"a": 1, "gone": 2})
    snapshot = Snapshot.take(store)
    assert snapshot is not None
    dict.__setitem__(store, "a", 5)
    dict.__setitem__(store, "b", 5)
    dict.__delitem__(store, "gone")
    assert (snapshot.update(store), snapshot.schema()) == (
        Diff(("b",), ("a",), ("gone",)),
        '{"a":"int","b":"int"}',
    )


def test_an_object_is_read_past_its_own_getattribute_and_properties() -> None:
    class Guarded:
        __slots__ = ("__dict__", "slot")
        answer = property(explodes("property"))

    guarded: Any = Guarded()
    guarded.slot, guarded.name = 1, "x"
    Guarded.__getattribute__ = explodes("getattribute")  # type: ignore[method-assign]
    Guarded.__dict__["__dict__"]
    assert diff(guarded, lambda s: object.__setattr__(s, "slot", 2)) == modified("slot")


def test_a_proxy_that_fakes_its_dict_is_read_past_that() -> None:
    class Proxy:
        __slots__ = ("_target",)
        __dict__ = property(explodes("dict"))  # type: ignore[assignment]
        __class__ = property(explodes("class"))  # type: ignore[assignment]

    proxy = Proxy()
    proxy._target = {"a": 1}
    assert diff(proxy, lambda s: setattr(s, "_target", {})) == modified("_target")


def test_a_mapping_is_read_past_its_own_methods() -> None:
    class Wrapper:
        def __init__(self) -> None:
            self.data = {"a": [1]}

        def __getitem__(self, key: str) -> Any:
            explodes("mapping")()
            return self.data[key]

        __iter__ = __len__ = keys = items = explodes("mapping")

    wrapper = Wrapper()
    assert diff(wrapper, lambda s: s.data["a"].append(2)) == modified("a")


def test_keys_with_code_of_their_own_are_told_apart_by_identity() -> None:
    class Key:
        explosive = False

        def __hash__(self) -> int:
            if Key.explosive:
                explodes("hash")()
            return 7

        def __eq__(self, other: object) -> bool:
            if Key.explosive:
                explodes("eq")()
            return self is other

        __repr__ = __str__ = explodes("repr")

    one, two, three = Key(), Key(), Key()
    shared: dict[Any, Any] = {one: 1, two: [], ("row", three): 1}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared[three] = 1
    shared[two].append(1)
    del shared[one]
    Key.explosive = True
    found = snapshot.update(shared)
    assert (repr(found), snapshot.schema()) == (
        "Diff(added=(<Key>,), modified=(<Key>,), removed=(<Key>,), bounded=False)",
        """{"<Key>":"list[1]","('row', <Key>)":"int","<Key>":"int"}""",
    )


def test_a_name_of_a_subclass_of_str_stays_unasked_when_another_changes() -> None:
    class Text(str):
        explosive = False

        def __hash__(self) -> int:
            if Text.explosive:
                explodes("hash")()
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            if Text.explosive:
                explodes("eq")()
            return str.__eq__(self, other)

    shared: dict[str, Any] = {Text("a"): 1, "b": 2}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    for value in (3, 4):
        shared["b"] = value
        Text.explosive = True
        assert snapshot.update(shared) == modified("b")
        Text.explosive = False


def test_an_enum_key_is_shown_by_its_type() -> None:
    assert repr(diff({}, lambda s: s.update({Color.RED: 1}))) == (
        "Diff(added=(<Color>,), modified=(), removed=(), bounded=False)"
    )


def test_a_generator_is_never_advanced() -> None:
    numbers = iter(range(3))
    lines = (line for line in ["a"])
    shared = {"numbers": numbers, "nested": [lines, {"map": map(str, numbers)}]}
    assert diff(shared, nothing) == UNCHANGED
    assert (list(numbers), list(lines)) == ([0, 1, 2], ["a"])


def test_a_missing_key_of_a_defaultdict_is_not_made() -> None:
    shared = {"a": defaultdict(explodes("default"))}
    assert diff(shared, nothing) == UNCHANGED
    assert shared == {"a": {}}


def test_the_values_are_not_kept_once_they_are_gone() -> None:
    document = Document()
    before = sys.getrefcount(document)
    shared: dict[str, Any] = {"a": document, "b": [document]}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared.clear()
    snapshot.update(shared)
    assert sys.getrefcount(document) == before


def test_a_step_with_explosive_values_runs_as_if_untraced() -> None:
    first, second = bomb(), bomb()
    shared = {"first": first, "list": [first]}
    found = on_span(shared, lambda s: (s.update(second=second), s["list"].append(second)))
    assert found == {
        "schema": '{"first":"Bomb","list":"list[1]"}',
        "added.keys": ["second"],
        "added.types": ["Bomb"],
        "modified.keys": ["list"],
        "modified.types": ["list[2]"],
    }
    assert (shared["first"] is first, shared["second"] is second) == (True, True)
