"""The timeline says of a store what is known, and nothing else."""

from __future__ import annotations

import json
from collections import UserDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.support.saved import save
from tests.support.schema import VALIDATOR
from tests.support.steps import nothing
from tests.support.stores import Edit

from pocketflow_otel.analysis.rows import rows
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Elsewhere(Mapping[str, Any]):
    """Keeps its content where only its own code could tell."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def open_elsewhere(shared: object) -> None:
    """Run a step on a store that cannot be listed, within one whose store can."""
    Edit(nothing).run(Elsewhere())


def test_a_step_whose_store_cannot_be_listed_has_no_names_and_no_changes(tmp_path: Path) -> None:
    (path,) = save(tmp_path, Edit(open_elsewhere))
    document = json.loads(path.read_bytes())
    VALIDATOR.validate(document)
    assert [
        [event.get("shared_keys"), event.get("shared_types"), event.get("changes")]
        for event in document["events"]
    ] == [
        [[], {}, None],
        [None, None, None],
        [None, None, None],
        [None, None, {"added": [], "modified": [], "removed": []}],
    ]


def test_neither_has_a_row_of_it(tmp_path: Path) -> None:
    (path,) = save(tmp_path, Edit(open_elsewhere))
    assert [[row["added"], row["modified"], row["removed"]] for row in rows(reader.read(path))] == [
        [[], [], []],
        [None, None, None],
    ]


def test_a_step_whose_store_can_no_longer_be_listed_has_names_and_no_changes(tmp_path: Path) -> None:
    def close(shared: Any) -> None:
        Edit(lambda store: setattr(store, "data", None)).run(UserDict(a=1))

    (path,) = save(tmp_path, Edit(close))
    events = json.loads(path.read_bytes())["events"]
    assert [[event.get("shared_keys"), event.get("changes")] for event in events[1:3]] == [
        [["a"], None],
        [None, None],
    ]
