"""The schema of a store: the names in it, and the types of what they name."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict, deque
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pocketflow_otel.store.introspection import MAX_NAME_LENGTH
from pocketflow_otel.store.snapshot import MAX_NAMES, Snapshot


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


@pytest.mark.parametrize(("was", "now"), [(1, 2), (1, "two"), (b"a", b"ab"), ((1,), (1, 2)), (1, [1])])
def test_the_schema_follows_a_value_that_is_bound_anew(was: object, now: object) -> None:
    store = {"first": None, "value": was}
    snapshot = Snapshot.take(store)
    assert snapshot is not None
    snapshot.schema()
    store["value"] = now
    snapshot.update(store)

    fresh = Snapshot.take(store)
    assert fresh is not None
    assert snapshot.schema() == fresh.schema()
