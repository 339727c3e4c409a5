"""Whatever serves as a store has the names that a step would find in it, or none are told of it."""

from __future__ import annotations

import contextvars
import shelve
import sys
import types
import weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict
from collections.abc import MutableMapping
from configparser import ConfigParser
from http.cookies import SimpleCookie
from multiprocessing.managers import DictProxy, NamespaceProxy
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import wrapt
from tests.support.steps import nothing
from tests.support.stores import modified, on_span

from pocketflow_otel.store.listing import list_items, store_of
from pocketflow_otel.store.snapshot import Diff, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ELSEWHERE = {"stage": "input"}


class Session(MutableMapping[str, Any]):
    """Keeps its content elsewhere, as state that is kept for each session does."""

    def __getitem__(self, key: str) -> Any:
        return ELSEWHERE[key]

    def __setitem__(self, key: str, value: Any) -> None:
        ELSEWHERE[key] = value

    def __delitem__(self, key: str) -> None:
        del ELSEWHERE[key]

    def __iter__(self) -> Iterator[str]:
        return iter(ELSEWHERE)

    def __len__(self) -> int:
        return len(ELSEWHERE)


class Remote:
    """Asks another process, and keeps what it was told."""

    def __init__(self) -> None:
        self.client = object()
        self.prefix = "run:"
        self._cache: dict[str, str] = {}

    def __getitem__(self, key: str) -> Any:
        return self._cache.get(key) or vars(self.client)[self.prefix + key]


class Named:
    """Is asked for what an object behind it has."""

    __slots__ = ("_target",)

    def __init__(self, target: object) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target, name, value)


class State:
    """Has its attributes in a dict, as the state of a web application does."""

    def __init__(self) -> None:
        super().__setattr__("_state", {"stage": "input"})

    def __getattr__(self, name: str) -> Any:
        return self._state[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._state[name] = value


class Dotted(OrderedDict[str, Any]):
    """Is a dict that is empty for ever: its content is in another."""

    def __init__(self) -> None:
        self._map = {"stage": "input"}

    def __getitem__(self, key: str) -> Any:
        return self._map[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._map[key] = value


class Logged(dict[str, Any]):
    """Is a dict, and keeps an account of what was set."""

    def __init__(self) -> None:
        super().__init__(stage="input")
        self.log: dict[str, int] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        self.log[key] = 1
        super().__setitem__(key, value)


class WithMore(UserDict[str, Any]):
    def __init__(self) -> None:
        self.limit = 3
        super().__init__(stage="input")


class Reel:
    """Has attributes; an index picks from one of them."""

    def __init__(self) -> None:
        self.stage = [1]

    def __getitem__(self, index: int) -> int:
        return self.stage[index]


class Attributed:
    """Has attributes, which may be named in brackets."""

    def __init__(self) -> None:
        self.stage = "input"

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]


class Fields(NamedTuple):
    stage: str = "input"


class Typed(TypedDict):
    stage: str


class Paper:
    """Runs its code when it is asked for its `__dict__`."""

    @property  # type: ignore[misc]
    def __dict__(self) -> Any:  # type: ignore[override]
        raise AssertionError


def unmade() -> Any:
    raise AssertionError


def of_class(kind: type, **attributes: Any) -> Any:
    """Make an object without its `__init__`, which would connect to another process."""
    made = kind.__new__(kind)
    made.__dict__.update(attributes)
    return made


def module() -> types.ModuleType:
    made = types.ModuleType("settings")
    made.stage = "input"  # type: ignore[attr-defined]
    return made


def looped() -> ChainMap[str, Any]:
    chain: ChainMap[str, Any] = ChainMap()
    chain.maps.append(chain)
    return chain


LISTED: dict[str, Callable[[], Any]] = {
    "a dict": lambda: {"stage": "input"},
    "a typed dict": lambda: Typed(stage="input"),
    "a defaultdict": lambda: defaultdict(unmade, stage="input"),
    "an OrderedDict": lambda: OrderedDict(stage="input"),
    "a Counter": lambda: Counter(stage=1),
    "a dict that keeps an account": Logged,
    "a dict whose content is in another": Dotted,
    "a UserDict": lambda: UserDict(stage="input"),
    "a UserDict with an attribute": WithMore,
    "a UserDict of a ChainMap": lambda: of_class(UserDict, data=ChainMap({"stage": "input"})),
    "a mapping proxy": lambda: MappingProxyType({"stage": "input"}),
    "a mapping proxy of a ChainMap": lambda: MappingProxyType(ChainMap({"stage": "input"})),
    "a ChainMap": lambda: ChainMap({}, {"stage": "input"}),
    "a ChainMap in a ChainMap": lambda: ChainMap({}, ChainMap({}, {"stage": "input"})),
    "a ChainMap of a UserDict": lambda: ChainMap({}, UserDict(stage="input")),
    "an object": Attributed,
    "an object with an index": Reel,
    "a namespace": lambda: SimpleNamespace(stage="input"),
    "a state with attributes in a dict": State,
    "a module": module,
    "cookies": lambda: SimpleCookie("stage=input"),
}


@pytest.mark.parametrize("make", LISTED.values(), ids=LISTED)
def test_a_store_is_listed(make: Callable[[], Any]) -> None:
    assert list(list_items(make()) or ()) == ["stage"]


UNLISTED: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a number": lambda: 3,
    "a list": lambda: ["stage"],
    "a UserList": lambda: UserList(["stage"]).data,
    "an array": lambda: np.zeros(3),
    "a class": lambda: State,
    "a named tuple": Fields,
    "a function": lambda: unmade,
    "a mapping of elsewhere": Session,
    "a mapping of another process": Remote,
    "a ChainMap over a mapping of elsewhere": lambda: ChainMap({}, Session()),
    "a UserDict of a mapping of elsewhere": lambda: of_class(UserDict, data=Session()),
    "a UserDict that has no data": lambda: of_class(UserDict),
    "a ChainMap that holds itself": looped,
    "a ChainMap that has no maps": lambda: of_class(ChainMap),
    "attributes of elsewhere": lambda: Named(SimpleNamespace(stage="input")),
    "a dict of a manager": lambda: of_class(DictProxy, _id="1", _token=object()),
    "a namespace of a manager": lambda: of_class(NamespaceProxy, _id="1", _token=object()),
    "weak values": lambda: weakref.WeakValueDictionary({"stage": module}),
    "weak keys": lambda: weakref.WeakKeyDictionary({module: "stage"}),
    "a context": contextvars.copy_context,
    "a wrapper": lambda: wrapt.ObjectProxy({"stage": "input"}),
    "a wrapper of what runs its code": lambda: wrapt.ObjectProxy(Paper()),
    "a wrapper that has not made its object": lambda: wrapt.LazyObjectProxy(unmade),
    "a section of a file": lambda: filled_section()["run"],
    "a mock of a mapping": MagicMock,
}


def filled_section() -> ConfigParser:
    parser = ConfigParser()
    parser["run"] = {"stage": "input"}
    return parser


@pytest.mark.parametrize("make", UNLISTED.values(), ids=UNLISTED)
def test_what_its_own_code_alone_could_tell_is_not_listed(make: Callable[[], Any]) -> None:
    shared = make()
    assert (list_items(shared), on_span(shared, nothing)) == (None, {})


def test_a_shelf_is_not_listed(tmp_path: Path) -> None:
    with shelve.open(tmp_path / "shelf") as shelf:
        shelf["stage"] = "input"
        assert list_items(shelf) is None


def test_a_mock_has_what_was_set_on_it() -> None:
    shared = Mock()
    snapshot = Snapshot.take(shared)
    shared.stage = "input"
    assert snapshot is not None
    assert snapshot.update(shared) == Diff(added=("stage",))


def test_a_chain_has_what_its_maps_have_the_first_wins() -> None:
    chain = ChainMap({"a": 1}, {"a": 2, "b": 2}, {"c": 3})
    assert list(list_items(chain) or ()) == list(chain)
    assert list_items(chain) == {"c": 3, "a": 1, "b": 2} == dict(chain)


def test_the_changes_of_a_chain_are_told() -> None:
    below: dict[str, Any] = {"a": 1, "log": []}

    def edit(chain: ChainMap[str, Any]) -> None:
        chain["a"] = 2
        chain["b"] = 3
        chain["log"].append(1)

    assert on_span(ChainMap({}, below), edit) == {
        "schema": '{"a":"int","log":"list[0]"}',
        "added.keys": ["b"],
        "added.types": ["int"],
        "modified.keys": ["a", "log"],
        "modified.types": ["int", "list[1]"],
    }


def test_what_a_key_of_a_chain_hid_comes_out_when_it_goes() -> None:
    chain = ChainMap({"a": 1}, {"a": 2})
    snapshot = Snapshot.take(chain)
    assert snapshot is not None
    del chain["a"]
    assert snapshot.update(chain) == modified("a")


def test_two_chains_that_write_to_one_map_are_one_store() -> None:
    shared: dict[str, int] = {}
    assert store_of(ChainMap(shared, {"a": 1})) is store_of(MappingProxyType(ChainMap(shared))) is shared


def test_a_chain_without_a_first_map_is_its_own_store() -> None:
    chain = of_class(ChainMap)
    assert store_of(chain) is chain


def test_the_objects_in_a_weak_dictionary_die_when_they_would_without_us() -> None:
    class Thing:
        pass

    thing: Thing | None = Thing()
    shared = weakref.WeakValueDictionary({"a": thing})
    before = sys.getrefcount(thing)
    snapshot = Snapshot.take(shared)
    assert (snapshot, sys.getrefcount(thing)) == (None, before)


def test_a_step_on_a_store_of_elsewhere_writes_to_it_as_ever() -> None:
    shared = Session()
    assert on_span(shared, lambda s: s.update(stage="done")) == {}
    assert ELSEWHERE == {"stage": "done"}
