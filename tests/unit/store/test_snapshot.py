"""The snapshot and the diff of a shared store: one case per promise, then the promises that need room."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pocketflow import Flow, Node
from tests.support.effort import examples

from pocketflow_otel.store.introspection import MAX_NAME_LENGTH
from pocketflow_otel.store.snapshot import MAX_DEPTH, MAX_ELEMENTS, MAX_NAMES, MAX_TOTAL, Diff, Snapshot
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNCHANGED = Diff()
BOUNDED = Diff(bounded=True)


def added(*keys: object) -> Diff:
    return Diff(added=keys)


def modified(*keys: object) -> Diff:
    return Diff(modified=keys)


def removed(*keys: object) -> Diff:
    return Diff(removed=keys)


def diff(shared: Any, mutate: Callable[[Any], object]) -> Diff:
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    mutate(shared)
    return snapshot.update(shared)


def nothing(shared: Any) -> None:
    pass


@dataclass
class Plain:
    question: str = "why?"
    history: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    question: str = "why?"
    history: list[str] = field(default_factory=list)


@dataclass
class SlottedChild(Slotted):
    answer: str = ""


@dataclass
class Indexed(Plain):
    """A dataclass that can be used like a dict: what it keeps are still its attributes."""

    stats: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: object) -> None:
        setattr(self, key, value)


class Namespaced:
    """A mapping that gives a node its own corner of a parent store, as pflow has it."""

    def __init__(self, parent: dict[str, Any], namespace: str) -> None:
        self._parent = parent
        self._namespace = namespace
        parent.setdefault(namespace, {})

    def __getitem__(self, key: str) -> Any:
        own = self._parent[self._namespace]
        return own[key] if key in own else self._parent[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._parent[self._namespace][key] = value


class Validated:
    """Keeps books of its own beside the fields, as pydantic's models do."""

    __slots__ = ("__dict__", "__fields_set__")

    def __init__(self) -> None:
        self.__fields_set__ = {"question"}
        self.question = "why?"

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        self.__fields_set__.add(name)


class Elsewhere:
    """A mapping whose content is in another process."""

    def __init__(self) -> None:
        self._client = object()

    def __getitem__(self, key: str) -> str:
        return "value"


class Several(Elsewhere):
    """A mapping of two dicts: nobody knows which is asked first."""

    def __init__(self) -> None:
        self._defaults: dict[str, str] = {}
        self._overrides: dict[str, str] = {}


class Text(str):
    """A string of a type of its own."""

    def __str__(self) -> str:
        raise AssertionError


class Words(StrEnum):
    ANSWER = "answer"


class Color(Enum):
    RED = 1


class Document:
    def __init__(self) -> None:
        self.pages = ["one"]


def self_referencing() -> dict[str, Any]:
    loop: list[Any] = [[1]]
    loop.append(loop)
    return {"loop": loop}


def deep(levels: int) -> dict[str, Any]:
    inner: list[Any] = ["x"]
    for _ in range(levels - 1):
        inner = [inner]
    return {"deep": inner}


def innermost(value: Any) -> list[Any]:
    while type(value[0]) is list:
        value = value[0]
    return value


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Diff]] = {
    # Keys
    "a new key": (lambda: {"a": 1}, lambda s: s.update(b=2), added("b")),
    "new keys, in the store's order": (dict, lambda s: s.update(b=1, a=2), added("b", "a")),
    "a removed key": (lambda: {"a": 1, "b": 2}, lambda s: s.pop("a"), removed("a")),
    "an emptied store": (lambda: {"a": 1, "b": []}, lambda s: s.clear(), removed("a", "b")),
    "a key removed and added again, same value": (
        lambda: {"a": (v := object()), "b": v},
        lambda s: s.update(a=s.pop("a")),
        UNCHANGED,
    ),
    "a key removed and added again, new value": (
        lambda: {"a": 1, "b": 2},
        lambda s: s.update(a=s.pop("a") + 1),
        modified("a"),
    ),
    "keys in another order": (
        lambda: {"a": [1], "b": 2},
        lambda s: s.update(a=s.pop("a")),
        UNCHANGED,
    ),
    "one key for another": (
        lambda: {"a": 1, "b": 2},
        lambda s: (s.pop("a"), s.update(c=1)),
        Diff(added=("c",), removed=("a",)),
    ),
    "all at once": (
        lambda: {"gone": 1, "same": 2, "grown": [], "other": 3},
        lambda s: (s.pop("gone"), s.update(new=0, other=4), s["grown"].append(1)),
        Diff(added=("new",), modified=("grown", "other"), removed=("gone",)),
    ),
    "int keys": (lambda: {1: "a", 2: "b"}, lambda s: s.update({1: "x", 3: "c"}), Diff((3,), (1,))),
    "a key None": (dict, lambda s: s.update({None: 1}), added(None)),
    "tuple keys": (
        lambda: {("row", 1): []},
        lambda s: (s["row", 1].append(0), s.update({("row", 2): []})),
        Diff((("row", 2),), (("row", 1),)),
    ),
    "keys of a StrEnum, by their text": (
        lambda: {Words.ANSWER: "a"},
        lambda s: s.update({"answer": "b"}),
        modified("answer"),
    ),
    "keys of a subclass of str": (dict, lambda s: s.update({Text("a"): 1}), added("a")),
    "a lone surrogate in a key": (dict, lambda s: s.update({"\ud800": 1}), added("\ud800")),
    "10,000 keys, one new, one changed": (
        lambda: {f"key{n}": n for n in range(10_000)},
        lambda s: s.update(key5000="x", new=1),
        Diff(("new",), ("key5000",)),
    ),
    # Rebinding
    "a rebound equal str": (
        lambda: {"a": " ".join("longtext")},
        lambda s: s.update(a=" ".join("longtext")),
        UNCHANGED,
    ),
    "a rebound equal int": (lambda: {"a": 10**20}, lambda s: s.update(a=10**20 + 0), UNCHANGED),
    "a rebound equal float": (lambda: {"a": float("1.5")}, lambda s: s.update(a=float("1.5")), UNCHANGED),
    "a rebound equal bytes": (lambda: {"a": bytes([9, 8])}, lambda s: s.update(a=bytes([9, 8])), UNCHANGED),
    "an equal scalar of another type": (lambda: {"a": 1}, lambda s: s.update(a=True), modified("a")),
    "a scalar that changed": (lambda: {"a": "x"}, lambda s: s.update(a="y"), modified("a")),
    "a value that became None": (lambda: {"a": "x"}, lambda s: s.update(a=None), modified("a")),
    "an equal list of another identity": (lambda: {"a": [1]}, lambda s: s.update(a=[1]), modified("a")),
    "the same list bound again": (lambda: {"a": [1]}, lambda s: s.update(a=s["a"]), UNCHANGED),
    "a list for a scalar": (lambda: {"a": 1}, lambda s: s.update(a=[1]), modified("a")),
    "a scalar for a list": (lambda: {"a": [1]}, lambda s: s.update(a=1), modified("a")),
    "another object of the same type": (
        lambda: {"a": Document()},
        lambda s: s.update(a=Document()),
        modified("a"),
    ),
    # In place
    "a list that grew": (lambda: {"a": []}, lambda s: s["a"].append(1), modified("a")),
    "a list that shrank": (lambda: {"a": [1, 2]}, lambda s: s["a"].pop(), modified("a")),
    "a list that was sorted": (lambda: {"a": [2, 1]}, lambda s: s["a"].sort(), modified("a")),
    "a list with another element": (
        lambda: {"a": [1, 2, 3]},
        lambda s: s["a"].__setitem__(1, 9),
        modified("a"),
    ),
    "a list with an equal element": (
        lambda: {"a": ["".join("ab")]},
        lambda s: s["a"].__setitem__(0, "".join("ab")),
        UNCHANGED,
    ),
    "a list appended to and popped from": (
        lambda: {"a": [1]},
        lambda s: (s["a"].append(2), s["a"].pop()),
        UNCHANGED,
    ),
    "a total in a nested dict": (
        lambda: {"stats": {"total": 1000}},
        lambda s: s["stats"].update(total=s["stats"]["total"] + 5),
        modified("stats"),
    ),
    "a dict mutated three levels down": (
        lambda: {"a": {"b": {"c": {"d": 1}}}},
        lambda s: s["a"]["b"]["c"].update(d=2),
        modified("a"),
    ),
    "a key gone from a nested dict": (
        lambda: {"a": {"b": {"c": 1}}},
        lambda s: s["a"]["b"].clear(),
        modified("a"),
    ),
    "one key for another in a nested dict": (
        lambda: {"a": {"b": 1}},
        lambda s: s["a"].update(c=s["a"].pop("b")),
        modified("a"),
    ),
    "a list of dicts": (
        lambda: {"messages": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]},
        lambda s: s["messages"][0].update(content="c"),
        modified("messages"),
    ),
    "an element moved from one nested list to the next": (
        lambda: {"a": [[1, 2], [3]]},
        lambda s: s["a"][1].insert(0, s["a"][0].pop()),
        modified("a"),
    ),
    "a set": (lambda: {"a": {1}}, lambda s: s["a"].add(2), modified("a")),
    "a set with one element for another": (
        lambda: {"a": {1, 2}},
        lambda s: (s["a"].discard(1), s["a"].add(3)),
        modified("a"),
    ),
    "a set with an element taken out and put back": (
        lambda: {"a": {*map("n".__add__, "abcdefgh")}},
        lambda s: [(s["a"].discard(x), s["a"].add(x)) for x in map("n".__add__, "hgfedcba")],
        UNCHANGED,
    ),
    "a set of tuples": (lambda: {"a": {(1, 2)}}, lambda s: s["a"].add((3, 4)), modified("a")),
    "a set of tuples in another order": (
        lambda: {"a": {(n,) for n in range(50)}},
        lambda s: (s["a"].update(range(1000)), s["a"].difference_update(range(1000))),
        UNCHANGED,
    ),
    "a deque": (lambda: {"a": deque([1])}, lambda s: s["a"].append(2), modified("a")),
    "a full deque turned over": (
        lambda: {"a": deque([1, 2], maxlen=2)},
        lambda s: s["a"].append(3),
        modified("a"),
    ),
    "an OrderedDict": (
        lambda: {"a": OrderedDict(x=1, y=2)},
        lambda s: s["a"].update(x=3),
        modified("a"),
    ),
    "an OrderedDict in another order": (
        lambda: {"a": OrderedDict(x=1, y=2)},
        lambda s: s["a"].move_to_end("x"),
        modified("a"),
    ),
    "a defaultdict read at a missing key": (
        lambda: {"a": defaultdict(list)},
        lambda s: s["a"]["x"],
        modified("a"),
    ),
    "a Counter": (lambda: {"a": Counter("aab")}, lambda s: s["a"].update("b"), modified("a")),
    "a bytearray": (lambda: {"a": bytearray(b"ab")}, lambda s: s["a"].__setitem__(0, 120), modified("a")),
    "a bytearray in a list": (
        lambda: {"a": [bytearray(b"ab")]},
        lambda s: s["a"][0].reverse(),
        modified("a"),
    ),
    "a tuple holding a list": (lambda: {"a": (1, [2])}, lambda s: s["a"][1].append(3), modified("a")),
    "a tuple holding a dict in a tuple": (
        lambda: {"a": ((1, {"b": 2}),)},
        lambda s: s["a"][0][1].update(b=3),
        modified("a"),
    ),
    "one list under two keys": (
        lambda: {"a": (v := [1]), "b": v},
        lambda s: s["a"].append(1),
        modified("a", "b"),
    ),
    "one list twice in a list": (
        lambda: {"a": [[1]] * 2},
        lambda s: s["a"][1].append(2),
        modified("a"),
    ),
    "a list that holds itself, left alone": (self_referencing, nothing, UNCHANGED),
    "a list that holds itself, changed below": (
        self_referencing,
        lambda s: s["loop"][0].append(2),
        modified("loop"),
    ),
    "a store that holds itself": (
        lambda: {"a": 1},
        lambda s: s.update(me=s, a=2),
        Diff(("me",), ("a",)),
    ),
    # Compared by identity
    "an array changed in place": (
        lambda: {"a": np.zeros(3)},
        lambda s: s["a"].__iadd__(1),
        UNCHANGED,
    ),
    "another array": (lambda: {"a": np.zeros(3)}, lambda s: s.update(a=np.zeros(3)), modified("a")),
    "a list of arrays with another array": (
        lambda: {"a": [np.zeros(3), np.zeros(3)]},
        lambda s: s["a"].__setitem__(0, np.zeros(3)),
        modified("a"),
    ),
    "a list of arrays left alone": (lambda: {"a": [np.zeros(3), np.zeros(3)]}, nothing, UNCHANGED),
    "a number of numpy": (lambda: {"a": np.float64(1)}, lambda s: s.update(a=np.float64(1)), modified("a")),
    "a queue that was put to": (lambda: {"a": queue.Queue()}, lambda s: s["a"].put(1), UNCHANGED),
    "another queue": (lambda: {"a": queue.Queue()}, lambda s: s.update(a=queue.Queue()), modified("a")),
    "a lock that was taken": (lambda: {"a": threading.Lock()}, lambda s: s["a"].acquire(), UNCHANGED),
    "another lock": (lambda: {"a": threading.Lock()}, lambda s: s.update(a=threading.Lock()), modified("a")),
    "a generator that was advanced": (lambda: {"a": iter([1, 2])}, lambda s: next(s["a"]), UNCHANGED),
    "a generator for a generator": (
        lambda: {"a": (x for x in ())},
        lambda s: s.update(a=iter(())),
        modified("a"),
    ),
    "an object changed inside": (
        lambda: {"a": Document()},
        lambda s: s["a"].pages.append("two"),
        UNCHANGED,
    ),
    "a subclass of list that grew": (lambda: {"a": UserList()}, lambda s: s["a"].append(1), UNCHANGED),
    # Kinds of stores
    "a defaultdict as store": (lambda: defaultdict(list), lambda s: s["a"].append(1), added("a")),
    "an OrderedDict as store": (lambda: OrderedDict(a=1), lambda s: s.update(a=2, b=1), Diff(("b",), ("a",))),
    "a mapping proxy": (
        lambda: MappingProxyType({"a": [1]}),
        lambda s: s["a"].append(2),
        modified("a"),
    ),
    "a mapping proxy of a UserDict": (
        lambda: MappingProxyType(UserDict(a=[1])),
        lambda s: s["a"].append(2),
        modified("a"),
    ),
    "a UserDict": (lambda: UserDict(a=1), lambda s: s.update(a=2, b=3), Diff(("b",), ("a",))),
    "a dataclass": (Plain, lambda s: s.history.append("x"), modified("history")),
    "a dataclass with slots": (Slotted, lambda s: setattr(s, "question", "how?"), modified("question")),
    "a dataclass with slots and without": (
        SlottedChild,
        lambda s: (setattr(s, "answer", "so"), s.history.append("x")),
        modified("history", "answer"),
    ),
    "a dataclass used like a dict": (
        Indexed,
        lambda s: s.__setitem__("question", "how?"),
        modified("question"),
    ),
    "a dataclass used like a dict, with a dict": (
        Indexed,
        lambda s: s["stats"].update(total=1),
        modified("stats"),
    ),
    "a namespaced store": (
        lambda: Namespaced({"question": "why?"}, "ask"),
        lambda s: s.__setitem__("answer", 42),
        modified("ask"),
    ),
    "a SimpleNamespace": (lambda: SimpleNamespace(a=1), lambda s: setattr(s, "b", 2), added("b")),
    "an object that has nothing yet": (SimpleNamespace, lambda s: setattr(s, "a", 1), added("a")),
    "slots that are not set yet": (
        type("Late", (), {"__slots__": ("a",)}),
        lambda s: setattr(s, "a", 1),
        added("a"),
    ),
    "a deleted attribute": (lambda: SimpleNamespace(a=1), lambda s: delattr(s, "a"), removed("a")),
    "an object": (Document, lambda s: s.pages.append("two"), modified("pages")),
    "a model that keeps books": (Validated, lambda s: setattr(s, "answer", 42), added("answer")),
}


@pytest.mark.parametrize(("make", "mutate", "expected"), CASES.values(), ids=CASES)
def test_the_diff_says_what_changed(
    make: Callable[[], Any], mutate: Callable[[Any], object], expected: Diff
) -> None:
    assert diff(make(), mutate) == expected


@pytest.mark.parametrize("make", [case[0] for case in CASES.values()], ids=CASES)
def test_nothing_changed_when_nothing_was_done(make: Callable[[], Any]) -> None:
    assert diff(make(), nothing) == UNCHANGED


@pytest.mark.parametrize(
    "shared",
    [None, 3, "text", b"bytes", [1, 2], (1,), {1}, object(), np.zeros(3), len, Plain, Elsewhere(), Several()],
    ids=lambda shared: type(shared).__name__,
)
def test_what_cannot_be_listed_has_no_snapshot(shared: object) -> None:
    assert Snapshot.take(shared) is None


def test_a_store_that_can_no_longer_be_listed_has_no_diff() -> None:
    assert diff(Namespaced({"a": 1}, "ask"), lambda s: setattr(s, "_parent", None)) == UNCHANGED


# User code


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

        __getitem__ = __iter__ = __len__ = keys = items = explodes("mapping")

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


# Bounds


def test_a_change_at_the_deepest_level_looked_at_is_seen() -> None:
    assert diff(deep(MAX_DEPTH + 1), lambda s: innermost(s["deep"]).__setitem__(0, "y")) == modified("deep")


def test_a_change_below_the_deepest_level_is_not_seen_and_the_diff_says_so() -> None:
    assert diff(deep(MAX_DEPTH + 2), lambda s: innermost(s["deep"]).__setitem__(0, "y")) == BOUNDED


def test_nothing_is_missed_in_an_empty_list_below_the_deepest_level() -> None:
    shared = deep(MAX_DEPTH + 2)
    innermost(shared["deep"]).clear()
    assert diff(shared, nothing) == UNCHANGED


def test_a_value_that_changes_while_it_is_read_is_said_to_be_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(value: object) -> None:
        raise RuntimeError("deque mutated during iteration")

    monkeypatch.setattr("pocketflow_otel.store.snapshot._ends", changing)
    assert diff({"a": deque(range(MAX_ELEMENTS + 1))}, nothing) == BOUNDED


def test_growth_just_below_the_deepest_level_is_seen() -> None:
    assert diff(deep(MAX_DEPTH + 2), lambda s: innermost(s["deep"]).append("y")) == Diff(
        modified=("deep",), bounded=True
    )


def test_a_list_of_the_most_elements_is_read_whole() -> None:
    shared = {"a": [0] * MAX_ELEMENTS}
    assert diff(shared, lambda s: s["a"].__setitem__(MAX_ELEMENTS // 2, 1)) == modified("a")


LARGE: dict[str, Callable[[], Any]] = {
    "list": lambda: [0] * (MAX_ELEMENTS + 1),
    "tuple": lambda: ([],) * (MAX_ELEMENTS + 1),
    "flat tuple": lambda: (0,) * (MAX_ELEMENTS + 1),
    "set": lambda: set(range(MAX_ELEMENTS + 1)),
    "deque": lambda: deque(range(MAX_ELEMENTS + 1)),
    "dict": lambda: dict.fromkeys(range(MAX_ELEMENTS + 1)),
    "OrderedDict": lambda: OrderedDict.fromkeys(range(MAX_ELEMENTS + 1)),
    "bytearray": lambda: bytearray(MAX_ELEMENTS + 1),
    "list of lists": lambda: [[[0] * 40 for _ in range(40)] for _ in range(40)],
    "list of dicts": lambda: [{"role": "user", "content": n} for n in range(MAX_ELEMENTS)],
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_a_value_with_more_elements_is_said_to_be_bounded_as_long_as_it_is_there(
    make: Callable[[], Any],
) -> None:
    shared = {"large": make(), "small": [1], "n": 0}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    found = [snapshot.update(shared)]
    shared["n"] = 1
    found.append(snapshot.update(shared))
    shared["small"].append(2)
    found.append(snapshot.update(shared))
    del shared["large"]
    found.append(snapshot.update(shared))
    found.append(snapshot.update(shared))
    assert found == [
        BOUNDED,
        Diff(modified=("n",), bounded=True),
        Diff(modified=("small",), bounded=True),
        removed("large"),
        UNCHANGED,
    ]


@pytest.mark.parametrize(
    ("make", "mutate"),
    [
        (LARGE["list"], lambda v: v.append(1)),
        (LARGE["list"], lambda v: v.__setitem__(0, 1)),
        (LARGE["list"], lambda v: v.__setitem__(-1, 1)),
        (LARGE["deque"], lambda v: v.rotate()),
        (LARGE["dict"], lambda v: v.update({0: 1})),
        (LARGE["dict"], lambda v: v.update({MAX_ELEMENTS: 1})),
        (LARGE["set"], lambda v: v.add(-1)),
        (LARGE["bytearray"], lambda v: v.__setitem__(-1, 1)),
        (LARGE["list of lists"], lambda v: v[-1].append(0)),
        (LARGE["list of lists"], lambda v: v[-1][-1].__setitem__(-1, 1)),
        (LARGE["list of dicts"], lambda v: v[-1].update(content="")),
    ],
)
def test_growth_and_changes_at_the_ends_of_a_large_value_are_seen(
    make: Callable[[], Any], mutate: Callable[[Any], object]
) -> None:
    assert diff({"a": make()}, lambda s: mutate(s["a"])) == Diff(modified=("a",), bounded=True)


def test_a_thousand_large_containers_are_not_all_read() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(1000)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared["key0"][5] = 1
    shared["key999"][5] = 1
    found = [snapshot.update(shared), snapshot.update(shared)]
    assert found == [Diff(modified=("key0",), bounded=True), BOUNDED]


def test_containers_that_grow_leave_the_budget_and_the_diff_says_so() -> None:
    shared: dict[str, list[int]] = {f"key{n}": [] for n in range(MAX_TOTAL // MAX_ELEMENTS * 2)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    first = snapshot.update(shared)
    snapshot.schema()
    for value in shared.values():
        value.extend([0] * MAX_ELEMENTS)
    grown = snapshot.update(shared)
    shared["key0"][5] = shared["key7"][5] = 1
    assert (first, grown.bounded, snapshot.update(shared)) == (
        UNCHANGED,
        True,
        Diff(modified=("key0",), bounded=True),
    )
    assert json.loads(snapshot.schema()) == dict.fromkeys(shared, f"list[{MAX_ELEMENTS}]")


def test_what_is_removed_makes_room_for_what_comes() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(MAX_TOTAL // MAX_ELEMENTS)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    shared.clear()
    snapshot.update(shared)
    shared["new"] = [0]
    snapshot.update(shared)
    shared["new"].append(1)
    assert snapshot.update(shared) == modified("new")


def test_the_schema_gives_the_size_of_a_container_that_was_not_read() -> None:
    shared = {f"key{n}": [0] * MAX_ELEMENTS for n in range(20)}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    snapshot.schema()
    shared["key19"].append(1)
    snapshot.update(shared)
    assert json.loads(snapshot.schema())["key19"] == f"list[{MAX_ELEMENTS + 1}]"


def test_a_web_of_lists_is_read_once_each() -> None:
    web: list[Any] = [1]
    for _ in range(MAX_DEPTH):
        web = [web] * 60
    knot: list[Any] = []
    knot.extend([knot] * 60)
    shared = {"web": web, "knot": knot, "n": 1}
    assert diff(shared, lambda s: innermost(s["web"]).append(2)) == modified("web")


def test_a_wide_and_deep_tree_is_not_read_whole() -> None:
    def tree(levels: int) -> list[Any]:
        return [tree(levels - 1) if levels else 0 for _ in range(9)]

    shared = {"tree": tree(4)}
    assert diff(shared, lambda s: s["tree"].append(0)) == Diff(modified=("tree",), bounded=True)


# Names and types


def test_the_schema_names_types_and_the_sizes_of_built_in_containers() -> None:
    class History(list[int]):
        pass

    snapshot = Snapshot.take(
        {
            "url": "x",
            "n": 1,
            "nothing": None,
            "raw": b"abc",
            "list": [1, 2],
            "tuple": (1,),
            "set": {1},
            "frozen": frozenset({1, 2}),
            "dict": {"a": 1},
            "ordered": OrderedDict(a=1),
            "default": defaultdict(list),
            "counter": Counter("ab"),
            "deque": deque([1]),
            "bytearray": bytearray(5),
            "history": History([1, 2]),
            "array": np.zeros(3),
            "function": len,
            "type": dict,
            'a "quoted" key': 1,
            "größe": 1,
            "\ud800": 1,
            7: 1,
            ("row", 1): 1,
            None: 1,
        }
    )
    assert snapshot is not None
    assert json.loads(snapshot.schema()) == {
        "url": "str",
        "n": "int",
        "nothing": "NoneType",
        "raw": "bytes[3]",
        "list": "list[2]",
        "tuple": "tuple[1]",
        "set": "set[1]",
        "frozen": "frozenset[2]",
        "dict": "dict[1]",
        "ordered": "OrderedDict[1]",
        "default": "defaultdict[0]",
        "counter": "Counter[2]",
        "deque": "deque[1]",
        "bytearray": "bytearray[5]",
        "history": "History",
        "array": "ndarray",
        "function": "builtin_function_or_method",
        "type": "type",
        'a "quoted" key': "int",
        "größe": "int",
        "\\ud800": "int",
        "7": "int",
        "('row', 1)": "int",
        "None": "int",
    }


def test_the_schema_of_a_module_leaves_out_what_python_keeps_there() -> None:
    module = ModuleType("state")
    module.question = "why?"  # type: ignore[attr-defined]
    snapshot = Snapshot.take(module)
    assert snapshot is not None
    assert snapshot.schema() == '{"question":"str"}'


def test_the_schema_follows_the_store() -> None:
    shared: dict[str, Any] = {"a": 1, "b": [], "c": 1}
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    schemas = [snapshot.schema()]
    shared["a"] = "text"
    shared["b"].append(1)
    del shared["c"]
    shared["d"] = {}
    snapshot.update(shared)
    schemas.append(snapshot.schema())
    assert schemas == ['{"a":"int","b":"list[0]","c":"int"}', '{"a":"str","b":"list[1]","d":"dict[0]"}']


def test_the_schema_gives_the_first_names_and_says_there_are_more() -> None:
    full = Snapshot.take({f"key{n}": n for n in range(MAX_NAMES)})
    more = Snapshot.take({f"key{n}": n for n in range(MAX_NAMES + 1)})
    assert full is not None
    assert more is not None
    assert (more.schema(), full.truncated, more.truncated) == (full.schema(), False, True)


@pytest.mark.parametrize("letter", ["k", "ö", "\ud800"], ids=["ascii", "umlaut", "surrogate"])
def test_a_long_name_is_shortened_and_can_be_encoded(letter: str) -> None:
    snapshot = Snapshot.take({letter * 1000: 1})
    assert snapshot is not None
    (name,) = json.loads(snapshot.schema())
    assert (len(name), name[-1], name.encode().decode()) == (MAX_NAME_LENGTH, "…", name)


# On spans


class Edit(Node):
    def __init__(self, edit: Callable[[Any], object]) -> None:
        super().__init__()
        self.edit = edit

    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        self.edit(shared)


def on_span(shared: Any, edit: Callable[[Any], object]) -> dict[str, Any]:
    """Return what the span of a step says about its store, without the common prefix."""
    with capture_spans() as captured:
        Flow(start=Edit(edit)).run(shared)
    attributes = captured.one("invoke_node Edit").attributes
    assert attributes is not None
    prefix = "pocketflow.shared."
    return {
        name.removeprefix(prefix): list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


def test_a_span_says_what_the_store_was_and_what_became_of_it() -> None:
    def edit(shared: dict[str, Any]) -> None:
        del shared["draft"]
        shared["history"].append("because")
        shared["score"] = 0.5
        shared["answer"] = 42
        shared["sources"] = []

    assert on_span({"question": "why?", "history": [], "score": 1, "draft": None}, edit) == {
        "schema": '{"question":"str","history":"list[0]","score":"int","draft":"NoneType"}',
        "added.keys": ["answer", "sources"],
        "added.types": ["int", "list[0]"],
        "modified.keys": ["history", "score"],
        "modified.types": ["list[1]", "float"],
        "removed.keys": ["draft"],
    }


def test_a_span_says_no_more_than_the_schema_where_nothing_changed() -> None:
    assert on_span({"a": 1}, nothing) == {"schema": '{"a":"int"}'}


def test_a_span_says_that_the_store_is_empty() -> None:
    assert on_span({}, nothing) == {"schema": "{}"}


@pytest.mark.parametrize("shared", [None, 3, "text", [1], object()], ids=lambda shared: type(shared).__name__)
def test_a_span_says_nothing_about_what_cannot_be_listed(shared: object) -> None:
    assert on_span(shared, nothing) == {}


def test_a_span_names_at_most_64_keys_and_says_there_were_more() -> None:
    names = [f"key{n}" for n in range(MAX_NAMES + 1)]
    assert on_span({}, lambda s: s.update(dict.fromkeys(names, 1))) == {
        "schema": "{}",
        "added.keys": names[:MAX_NAMES],
        "added.types": ["int"] * MAX_NAMES,
        "truncated": True,
    }


def test_a_span_says_that_its_schema_is_not_whole() -> None:
    found = on_span(dict.fromkeys(range(MAX_NAMES + 1)), nothing)
    assert (len(json.loads(found.pop("schema"))), found) == (MAX_NAMES, {"truncated": True})


def test_a_span_says_that_not_all_was_compared() -> None:
    schema = f'{{"large":"list[{MAX_ELEMENTS + 1}]"}}'
    assert on_span({"large": [0] * (MAX_ELEMENTS + 1)}, nothing) == {"schema": schema, "bounded": True}


def test_a_span_shows_odd_names_as_text_that_can_be_exported() -> None:
    assert on_span({}, lambda s: s.update({"\ud800": 1, 7: 1, ("row", 1): 1, Color.RED: 1, "größe": 1})) == {
        "schema": "{}",
        "added.keys": ["\\ud800", "7", "('row', 1)", "<Color>", "größe"],
        "added.types": ["int"] * 5,
    }


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


# Threads


def test_a_store_may_change_under_our_eyes() -> None:
    shared: dict[str, Any] = {f"key{n}": n for n in range(50)}
    shared |= {
        "dict": dict.fromkeys(range(100)),
        "list": [],
        "set": set(),
        "deque": deque(),
        "deep": {"a": {}},
        "large": [deque(range(5000)) for _ in range(5)],
    }
    default: defaultdict[str, Any] = defaultdict(list, shared)
    done = threading.Event()

    def write() -> None:
        n = 0
        while not done.is_set():
            n += 1
            for store in (shared, default):
                store[f"new{n % 97}"] = n
                store.pop(f"new{(n + 48) % 97}", None)
            shared["dict"][n % 1000] = shared["deep"]["a"][n % 100] = n
            shared["dict"].pop((n + 500) % 1000, None)
            shared["set"] ^= {n % 50}
            shared["deque"].append(n)
            for large in shared["large"]:
                large.rotate()
            shared["list"][:] = range(n % 100)
            if len(shared["deque"]) > 500:
                shared["deque"].clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=write) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        snapshots = [Snapshot.take(shared), Snapshot.take(default)]
        for _ in range(examples(100)):
            snapshots[0].update(shared)  # type: ignore[union-attr]
            snapshots[1].update(default)  # type: ignore[union-attr]
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    after = []
    for snapshot, store in zip(snapshots, (shared, default), strict=True):
        assert snapshot is not None
        snapshot.update(store)
        after.append((snapshot.update(store), list(snapshot.items)))
    assert after == [(BOUNDED, list(shared)), (BOUNDED, list(default))]


# A naive oracle

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(["", "a", "ab", "long text"]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.binary(max_size=2),
)
keys = st.sampled_from(["a", "b", "c", 1, None, ("d", 2)])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(deque),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.dictionaries(keys, inner, max_size=3).map(lambda made: defaultdict(list, made)),
        st.sets(st.integers(-3, 300), max_size=3),
        st.binary(max_size=3).map(bytearray),
    ),
    max_leaves=8,
)
stores = st.dictionaries(keys, values, max_size=5)


def naive(value: Any, kept: list[Any]) -> Any:
    """Describe a value whole: containers by identity and content, the rest by type and value."""
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        kept.append(value)
        return kind, id(value), [(naive(k, kept), naive(v, kept)) for k, v in value.items()]
    if kind in (list, tuple, deque):
        kept.append(value)
        return kind, id(value), [naive(v, kept) for v in value]
    if kind in (set, bytearray):
        kept.append(value)
        return kind, id(value), sorted(value)
    return kind, value


def naive_diff(was: dict[Any, Any], now: dict[Any, Any]) -> Diff:
    return Diff(
        tuple(key for key in now if key not in was),
        tuple(key for key in now if key in was and was[key] != now[key]),
        tuple(key for key in was if key not in now),
    )


def places(value: Any, levels: int = 3) -> list[Any]:
    """Return the mutable containers in the first levels of a store, outermost first."""
    found = [value] if isinstance(value, dict | list | deque | set | bytearray) else []
    inner = value.values() if isinstance(value, dict) else value
    if levels and isinstance(value, dict | list | tuple | deque):
        found += [place for child in inner for place in places(child, levels - 1)]
    return found


def mutate_somewhere(shared: dict[Any, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(shared)))
    if isinstance(place, dict):
        key = data.draw(keys)
        if data.draw(st.booleans()):
            place[key] = data.draw(values)
        else:
            place.pop(key, None)
    elif isinstance(place, set):
        place ^= {data.draw(st.integers(-3, 300))}
    elif isinstance(place, bytearray):
        place.append(data.draw(st.integers(0, 255)))
    elif place and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(place) - 1))
        if data.draw(st.booleans()):
            place[index] = data.draw(values)
        else:
            del place[index]
    else:
        place.append(data.draw(values))


@settings(max_examples=examples(150), deadline=None, database=None)
@given(shared=stores, data=st.data())
def test_the_diff_agrees_with_a_naive_one(shared: dict[Any, Any], data: st.DataObject) -> None:
    snapshot = Snapshot.take(shared)
    assert snapshot is not None
    kept: list[Any] = []
    for _ in range(data.draw(st.integers(1, 4))):
        was = {key: naive(value, kept) for key, value in shared.items()}
        for _ in range(data.draw(st.integers(0, 3))):
            mutate_somewhere(shared, data)
        now = {key: naive(value, kept) for key, value in shared.items()}
        assert snapshot.update(shared) == naive_diff(was, now)
        fresh = Snapshot.take(shared)
        assert fresh is not None
        assert snapshot.schema() == fresh.schema()
