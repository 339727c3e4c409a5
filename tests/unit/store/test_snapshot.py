"""The snapshot and the diff of a shared store: one case per promise."""

from __future__ import annotations

import queue
import threading
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.steps import nothing
from tests.support.stores import UNCHANGED, Document, diff, modified, removed

from pocketflow_otel.store.snapshot import Diff, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


def added(*keys: object) -> Diff:
    return Diff(added=keys)


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


def self_referencing() -> dict[str, Any]:
    loop: list[Any] = [[1]]
    loop.append(loop)
    return {"loop": loop}


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
    assert diff(Namespaced({"a": 1}, "ask"), lambda s: setattr(s, "_parent", None)) is None
