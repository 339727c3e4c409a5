"""The documentation is true: it names what there is, and all of it."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections import Counter, UserDict, defaultdict
from dataclasses import fields
from decimal import Decimal
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.outputs import show
from tests.support.pages import PAGES, README, blocks, names_in, prose, rows

from pocketflow_otel import Config, progress, record_usage, semconv, using
from pocketflow_otel.cli.main import main
from pocketflow_otel.config import COMPAT, VARIABLES
from pocketflow_otel.store import introspection
from pocketflow_otel.store import snapshot as bounds
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.traces.trace import STATUSES
from pocketflow_otel.usage.pricing import UserPrice, read_prices

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMES = {value for name, value in vars(semconv).items() if name.isupper() and name != "SCOPE_NAME"}

_LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.mark.parametrize("name", PAGES)
def test_every_python_block_is_python(name: str) -> None:
    for block in blocks(PAGES[name]):
        if block.language == "python":
            ast.parse(dedent(block.text))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    dead = []
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        found = page.parent / target if target else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append((target, anchor))
    assert dead == []


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_leads_to_every_page() -> None:
    linked = {target for target, _ in _LINK.findall(README.read_text(encoding="utf-8"))}
    assert {str(page.relative_to(README.parent)) for page in PAGES.values() if page != README} <= linked


@pytest.mark.parametrize("name", PAGES)
def test_prose_keeps_to_100_columns(name: str) -> None:
    lines = prose(PAGES[name]).splitlines()
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_no_attribute_and_no_variable_that_is_not_there(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    attributes = set(re.findall(r"\b(?:pocketflow|gen_ai)(?:\.(?!py\b)[a-z_]+)+(?!\S*\()", text))
    variables = set(re.findall(r"\bPOCKETFLOW_OTEL_[A-Z_]+\b", text))
    assert (attributes - NAMES, variables - {*VARIABLES}) == (set(), set())


# Once each


def more_than_once(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_each_variable_is_explained_once() -> None:
    text = PAGES["environment"].read_text(encoding="utf-8")
    explained = [
        name
        for paragraph in re.findall(r"^\*\*`.*?`\*\*(?=:)", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", paragraph.replace("`_", "`POCKETFLOW_OTEL_KEEP_"))
    ]

    assert (
        more_than_once(name for row in rows("environment") for name in re.findall(r"`(\w+)`", row[0])) == []
    )
    assert sorted(explained) == sorted(VARIABLES)


def test_each_attribute_stands_in_one_row() -> None:
    text = PAGES["attributes"].read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text.replace("```", ""), re.MULTILINE)
    elsewhere = {heading for heading in headings if heading.startswith("Event ")} | {"Metrics"}
    of_spans = [heading for heading in headings if heading not in elsewhere]

    assert more_than_once(headings) == []
    assert more_than_once(name for heading in of_spans for name in names_in("attributes", heading)) == []
    for heading in elsewhere:
        assert more_than_once(names_in("attributes", heading)) == []


def test_each_status_of_a_run_is_explained_once() -> None:
    assert sorted(names_in("trace-file", "Status")) == sorted(STATUSES)


# README


def test_the_readme_names_every_command() -> None:
    typed = [code for row in rows("README", "Commands") for code in re.findall(r"`(.*?)`", row[0])]
    named = [code.removeprefix("pocketflow-otel ").split()[0] for code in typed]

    assert sorted(named) == sorted(main.commands)


def test_the_first_42_lines_of_the_readme_say_how_to_begin() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    first = "\n".join(lines[:42])
    wanted = ["make demo", "make test", "pip install pocketflow-otel", "pocketflow-otel run -v app.py"]
    wanted += ["import pocketflow_otel\npocketflow_otel.configure()\nflow.run(shared)\n"]
    assert ([text for text in wanted if text not in first], first.count("```"), len(lines) < 160) == (
        [],
        8,
        True,
    )


# Reference pages


def test_help_texts_are_those_of_the_commands() -> None:
    told, printed = {}, {}
    for block in blocks(PAGES["command-line"]):
        kind, _, command = block.marker.partition(": ")
        if kind == "help":
            told[command] = block.text
    for command in ("pocketflow-otel", *(f"pocketflow-otel {name}" for name in main.commands)):
        arguments = [*command.split()[1:], "--help"]
        result = CliRunner().invoke(main, arguments, prog_name="pocketflow-otel", terminal_width=80)
        printed[command] = result.output
    assert told == printed


def test_the_environment_page_has_every_variable_and_its_default() -> None:
    told = {row[0].strip("`"): row[2] for row in rows("environment") if row[0].strip("`") in VARIABLES}
    config = Config()
    defaults = {
        name: shown_default(getattr(config, field.name))
        for name, field in zip(VARIABLES, fields(Config), strict=True)
    }
    assert told == defaults


def shown_default(value: object) -> str:
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_attributes_page_has_every_name_and_no_other() -> None:
    page = PAGES["attributes"].read_text(encoding="utf-8")
    assert (NAMES - {*re.findall(r"`([^`\n]+)`", page)}, set(names_in("attributes")) - NAMES) == (
        set(),
        set(),
    )


def test_the_price_file_on_its_page_can_be_read(tmp_path: Path) -> None:
    block = next(block for block in blocks(PAGES["cost"]) if block.marker == "file: prices.toml")
    path = tmp_path / "prices.toml"
    path.write_text(block.text, encoding="utf-8")
    assert read_prices(path) == {
        **dict.fromkeys(
            ("acme-llm-7b", "acme", "acme-latest"),
            UserPrice(input=Decimal("0.2"), output=Decimal("0.6"), cached=Decimal("0.05")),
        ),
        "ft:gpt-4o-mini-2024-07-18:acme::abc": UserPrice(
            input=Decimal("0.3"), output=Decimal("1.2"), cached=Decimal("0.3")
        ),
    }


def test_the_architecture_page_has_the_bounds_of_the_diff() -> None:
    told = {row[0].strip("`"): int(row[1].replace(",", "")) for row in rows("architecture", "The diff")}
    there = {**vars(introspection), **vars(bounds)}
    assert told == {name: there.get(name) for name in told} != {}


# A run that has everything, for the tables of attributes and events


def tell_everything() -> None:
    """Run flows until every attribute has been set and every event recorded."""

    class Fill(pocketflow.Node):
        def post(self, shared: dict[str, Any], prepared: object, executed: object) -> str:
            shared.update({f"key{number}": [] for number in range(65)})
            shared["history"] = ["first"]
            return "go"

    class Change(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            raise ValueError("busy")

        def exec_fallback(self, prepared: object, error: Exception) -> str:
            return "at last"

        def post(self, shared: dict[str, Any], prepared: object, executed: object) -> str:
            shared["history"].append("second")
            del shared["key1"]
            return "nowhere"

    class Items(pocketflow.BatchNode):
        def prep(self, shared: dict[str, Any]) -> list[int]:
            shared["large"] = list(range(5000))
            return [1, 2, 3]

    class Rounds(pocketflow.AsyncParallelBatchFlow):
        async def prep_async(self, shared: dict[str, Any]) -> list[dict[str, int]]:
            return [{"city": 1}, {"city": 2}, {"city": 3}]

    class Wait(pocketflow.AsyncNode):
        async def exec_async(self, prepared: object) -> None:
            await asyncio.sleep(0)

    async def both(rounds: Rounds, shared: dict[str, Any]) -> None:
        await asyncio.gather(rounds.run_async(shared), rounds.run_async(shared))

    class Fail(pocketflow.BatchNode):
        def prep(self, shared: dict[str, Any]) -> list[int]:
            return [1]

        def exec(self, item: int) -> None:
            raise KeyError("chunks")

    class Publish(pocketflow.Node):
        def post(self, shared: dict[str, Any], prepared: object, executed: object) -> None:
            del shared["draft"]

    class Ask(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            progress(0.5, 1.0)
            usage = {"input_tokens": 9, "output_tokens": 8, "cached_tokens": 3, "cost": 0.01}
            usage |= {"cache_write_tokens": 1, "reasoning_tokens": 2}
            record_usage(usage, model="gpt-4o", provider="openai")

    class Own(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            record_usage({"input_tokens": 9, "output_tokens": 8}, model="ft:gpt-4o:acme")

    class Calm(Fail):
        def exec_fallback(self, item: int, error: Exception) -> None:
            return None

    class Survive(pocketflow.Node):
        def exec(self, prepared: object) -> None:
            with pytest.raises(KeyError):
                pocketflow.Flow(start=Fail()).run({})

    class Close(pocketflow.Node):
        def post(self, shared: Any, prepared: object, executed: object) -> None:
            shared.data = None

    class Apart(pocketflow.AsyncParallelBatchFlow):
        async def _run_async(self, shared: dict[str, Any]) -> None:
            rounds = (self._orch_async(shared, {}) for _ in range(2))
            await asyncio.gather(*rounds, return_exceptions=True)

    fill, change = Fill(), Change(max_retries=2)
    fill - "go" >> change
    change - "elsewhere" >> Items()
    shared: dict[str, Any] = {"history": [], "key1": 1}
    with pytest.warns(UserWarning, match="Flow ends"):
        pocketflow.Flow(start=pocketflow.Flow(start=fill)).run(shared)
    with using(session_id="chat-7", user_id="ada", tags=["beta"], metadata={"build": 12}):
        Items().run(shared)
        asyncio.run(both(Rounds(start=Wait()), shared))
        Calm().run(shared)
        Survive().run(shared)
        Close().run(UserDict())
        asyncio.run(Apart(start=Fail()).run_async(shared))
    for asking in (Ask(), Own()):
        pocketflow.Flow(start=asking).run(shared)
    for failing in (pocketflow.Flow(start=Fail()), Publish()):
        with pytest.raises(KeyError):
            failing.run({})


def type_of(value: object) -> str:
    if isinstance(value, tuple):
        return f"{type_of(value[0])}[]"
    return {str: "string", bool: "boolean", int: "int", float: "double"}[type(value)]


KINDS = {semconv.INVOKE_WORKFLOW: "flow", semconv.INVOKE_NODE: "node", semconv.BATCH_ITEM: "item"}
SECTIONS = {"Flow spans": "flow", "Node spans": "node", "Batch items": "item"}
"""The tables of what spans of one kind have alone."""
SEVERAL = "Spans of more than one kind"
EVERYWHERE = ("Every span", "Usage and cost", "Shared", "Names for other back ends")
EVENTS = (semconv.EXCEPTION_EVENT, semconv.ATTEMPT_FAILED, semconv.ACTION_UNMATCHED, semconv.PROGRESS)


def test_spans_carry_what_the_attributes_page_says_and_nothing_else() -> None:
    config = Config(capture_values=("*",), max_batch_items=2, compat=COMPAT)
    with capture_spans(config) as captured:
        tell_everything()
    everywhere = {name for heading in EVERYWHERE for name in names_in("attributes", heading)}
    seen = set()
    for span in captured.spans:
        for name, value in (span.attributes or {}).items():
            seen.add(("" if name in everywhere else KINDS[span.name.split()[0]], name, type_of(value)))
        for event in span.events:
            for name, value in (event.attributes or {}).items():
                seen.add((event.name, name, type_of(value)))
    assert documented() - seen == seen - documented()


def documented() -> set[tuple[str, str, str]]:
    """Return what the page says: the kind of span, none for all, or the event; the attribute; its type."""
    tables = {**SECTIONS, **dict.fromkeys(EVERYWHERE, ""), **{f"Event `{name}`": name for name in EVENTS}}
    found = {
        (where, row[0].strip("`"), row[1])
        for heading, where in tables.items()
        for row in rows("attributes", heading)
    }
    several = rows("attributes", SEVERAL)
    return found | {(kind, row[0].strip("`"), row[2]) for row in several for kind in row[1].split(", ")}


def test_the_trace_file_page_has_every_field(tmp_path: Path) -> None:
    with capture_spans(Config(capture_values=("*",)), fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=tmp_path)
        tell_everything()
    seen: dict[str, set[str]] = defaultdict(set)
    for path in tmp_path.glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        seen["The document"] |= {*document}
        seen["Summary"] |= {*document["summary"]}
        for event in document["events"]:
            seen[f"Event `{event['type']}`"] |= {*event}
    common = set(names_in("trace-file", "Every event"))
    told = {heading: set(names_in("trace-file", heading)) for heading in seen}
    told["Summary"] -= {"spans_still_open", "damaged_lines"}  # Only if there are some.
    for heading in seen:
        if heading.startswith("Event"):
            seen[heading] -= common
    assert told == dict(seen)
