"""The error of a real client is named by the user's own line, not by one of the client's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.processes import BIN, environment, run, write

if TYPE_CHECKING:
    from pathlib import Path

RESEARCH = """\
import openai
from pocketflow import Flow, Node

class Search(Node):
    def exec(self, prepared):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "why?"}])

# Nobody listens there.
client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1", max_retries=0)
Flow(start=Search()).run({})
"""


def test_the_live_view_and_the_commands_name_the_users_line(tmp_path: Path) -> None:
    write(tmp_path / "research.py", RESEARCH)
    env = environment(POCKETFLOW_OTEL_DIR=str(tmp_path / "traces"))
    live = run(BIN / "pocketflow-otel", "run", "-v", "research.py", cwd=tmp_path, env=env)
    views = {
        option: run(BIN / "pocketflow-otel", "show", "last", *option.split(), env=env).stdout
        for option in ("", "--events", "--json")
    }

    (line,) = (line for line in live.stderr.splitlines() if "✗ Search" in line)
    assert (live.returncode, "(research.py:6)" in line) == (1, True), live.stderr
    assert {option: "research.py:6" in text for option, text in views.items()} == dict.fromkeys(views, True)
    assert re.findall(r"_base_client\.py:\d+", line + views[""] + views["--events"]) == []
