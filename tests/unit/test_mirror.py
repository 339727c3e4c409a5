"""The tests of a module are found by its name: `tests/unit` is laid out as the source is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.source_tree import ROOT

HERE = Path(__file__).parent
IN_FOLDERS = sorted(path for path in HERE.rglob("test_*.py") if path.parent != HERE)


def modules_of(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("path", IN_FOLDERS, ids=lambda path: path.relative_to(HERE).as_posix())
def test_a_test_file_is_named_after_a_module_of_its_folder(path: Path) -> None:
    """`test_live.py` and `test_live_widths.py` test `live.py`."""
    subject = path.stem.removeprefix("test_")
    modules = modules_of(ROOT / path.parent.relative_to(HERE))

    assert [module for module in modules if f"{subject}_".startswith(f"{module}_")] != []
