"""A pflow that is made otherwise than those we know: one warning, and what can be traced is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.pflow.environments import bin_of
from tests.pflow.users import User, outline, spans_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pflow.commands import Commands


@pytest.fixture
def other_pflow(tmp_path: Path) -> Path:
    """Copy the newest pflow, and have its engine call its nodes by another name."""
    (package,) = bin_of("newest").parent.glob("lib/python*/site-packages/pflow")
    folder = tmp_path / "other"
    shutil.copytree(package, folder / "pflow")
    engine = folder / "pflow/runtime/engine/engine.py"
    engine.write_text(engine.read_text().replace("_execute_node(", "_do_node("))
    return folder


def test_what_is_missing_is_named_once_and_the_rest_is_traced(
    tmp_path: Path, other_pflow: Path, forks: Commands
) -> None:
    user = User(tmp_path / "home", "newest", forks, PYTHONPATH=str(other_pflow))
    bare = user.run("bare", "-p", "nested.pflow.md")
    traced = user.run("instrument", "-p", "nested.pflow.md")

    assert (traced.returncode, traced.stdout) == (bare.returncode, bare.stdout)
    assert (bare.returncode, bare.stderr) == (0, b"")
    assert traced.stderr.count(b"pocketflow-otel knows it") == 1
    assert b"without pflow.runtime.engine.engine.WorkflowEngine._execute_node, a part of" in traced.stderr
    assert outline(spans_of([user.trace()])) == (
        "invoke_workflow nested\n  invoke_workflow middle\n    invoke_workflow innermost"
    )
