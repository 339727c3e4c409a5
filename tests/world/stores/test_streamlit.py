"""A flow that runs on `st.session_state` in Streamlit's own runner."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.support.processes import run, write

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import pocketflow_otel
import streamlit as st
from pocketflow import Flow, Node

pocketflow_otel.configure(directory={directory!r}, console="off")
st.session_state.setdefault("stage", "input")
st.slider("Volume", 0, 10, 3, key="volume")
st.text_input("This has no key")


class Generate(Node):
    def post(self, shared, prepared, executed):
        shared["image"] = shared["stage"]
        shared["stage"] = "done"
        if "note" in shared:
            del shared["note"]
        else:
            shared["note"] = 1


Flow(start=Generate()).run(st.session_state)
"""

VISIT = """
import sys

from streamlit.testing.v1 import AppTest

app = AppTest.from_file(sys.argv[1], default_timeout=120)
app.run()
app.slider[0].set_value(5).run()
assert not app.exception, app.exception
"""
"""Opens the app, and moves its slider: each time the script runs whole."""


def told(directory: Path) -> list[Any]:
    """Return what each run's trace file says of the store: the types at the start, and the changes."""
    events = [
        event
        for path in sorted(directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for event in json.loads(path.read_text(encoding="utf-8"))["events"]
    ]
    return [event.get("shared_types") or event.get("changes") for event in events if "node" in event["type"]]


def changes(*added: str, modified: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"added": list(added), "modified": list(modified), "removed": list(removed)}


def test_the_state_of_a_session_is_listed_and_widgets_with_a_key_are_in_it(tmp_path: Path) -> None:
    app = write(tmp_path / "app.py", APP.format(directory=str(tmp_path)))
    done = run(sys.executable, "-c", VISIT, app)

    assert done.returncode == 0, done.stderr
    before, first, between, second = told(tmp_path)
    assert (before, first) == (
        {"stage": "str", "volume": "int"},
        changes("image", "note", modified=("stage",)),
    )
    assert between == {"stage": "str", "volume": "int", "image": "str", "note": "int"}
    assert second == changes(modified=("image",), removed=("note",))


def test_without_a_session_the_state_that_stands_in_for_it_is_listed(tmp_path: Path) -> None:
    script = write(tmp_path / "app.py", APP.format(directory=str(tmp_path)))
    done = run(sys.executable, script)

    assert done.returncode == 0, done.stderr
    assert told(tmp_path) == [{"stage": "str"}, changes("image", "note", modified=("stage",))]
