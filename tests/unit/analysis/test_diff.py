"""Two runs differ in what is known of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.saved import save
from tests.support.steps import nothing
from tests.support.stores import Edit

from pocketflow_otel.analysis.diff import pairs
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from pathlib import Path


def test_changes_that_are_not_known_do_not_differ_from_those_of_another_run(tmp_path: Path) -> None:
    """A step within another, on a store that can be listed and on one that cannot."""
    within = [Edit(lambda shared, store=store: Edit(nothing).run(store)) for store in ({}, None)]
    listed, unlisted = map(reader.read, save(tmp_path, *within))
    assert [pair.changed for pair in pairs(listed, unlisted)] == [[], []]
