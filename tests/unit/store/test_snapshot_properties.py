"""Snapshots of stores that nobody chose: random ones, and one that other threads change."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, defaultdict, deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.effort import examples
from tests.support.stores import BOUNDED

from pocketflow_otel.store.snapshot import Diff, Snapshot


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


keys = st.sampled_from(["a", "b", "c", 1, None, ("d", 2)])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(["", "a", "ab", "long text"]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.binary(max_size=2),
)
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


@settings(max_examples=examples(150))
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
