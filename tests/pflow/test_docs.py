"""The page about pflow is true: what it shows is what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.pflow.environments import NEWEST, bin_of
from tests.support.pages import PAGES, Reader

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_page_shows_is_what_happens(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.prefer(bin_of(NEWEST))
    reader.read(PAGES["pflow"])
