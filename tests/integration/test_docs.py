"""The documentation is true: what its pages show is what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.pages import PAGES, README, Reader, blocks, check_output

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {"pflow"}))
def test_what_a_page_shows_is_what_happens(name: str, reader: Reader) -> None:
    reader.read(PAGES[name])


ANSWER = "Go to Lisbon: yellow trams climb seven hills above the Tagus.\n"


def test_the_picture_in_the_readme_is_the_demo(reader: Reader) -> None:
    picture = next(block.text for block in blocks(README) if block.language == "text")
    told = reader.run(["pocketflow-otel", "demo"])
    check_output(picture + ANSWER, told)


def test_the_three_lines_of_the_readme_print_what_stands_below_them(reader: Reader) -> None:
    program, printed = blocks(README)[2:4]
    imports, configure, run = program.text.splitlines()
    flow = """
from pocketflow import Flow, Node

class Answer(Node):
    def post(self, shared, prepared, executed):
        shared["answer"] = 42

def create_qa_flow():
    return Flow(start=Answer())

shared = {}
flow = create_qa_flow()
"""
    check_output(printed.text, reader.run_program(f"{flow}\n{imports}\n{configure}\n{run}"))


OTHERS = """
import os

from pocketflow import Flow, Node

Flow(start=Node()).run({})
print(os.environ.get("OTEL_TRACES_EXPORTER"))  # OpenTelemetry's distro sets it.
"""


def test_the_lines_for_a_second_distro_take_the_one_they_say(reader: Reader, tmp_path: Path) -> None:
    lines = next(block.text for block in blocks(README) if "OTEL_PYTHON_DISTRO" in block.text).splitlines()
    (tmp_path / "flows" / "app.py").write_text(OTHERS, encoding="utf-8")
    # Nobody takes the spans of the other distro: it is not to wait for long.
    quiet = ["export OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none OTEL_EXPORTER_OTLP_TIMEOUT=1"]
    start = ["opentelemetry-instrument python app.py 2>/dev/null"]
    printed = [
        reader.run(["bash", "-c", "\n".join(quiet + chosen + start)], may_fail=True)
        for chosen in (lines[:1], lines[1:])
    ]

    assert (printed, len(list(tmp_path.glob(".pflow/traces/*.json")))) == (["None\n", "otlp\n"], 2)
