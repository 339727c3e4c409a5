"""What contributors are told is true: the workflows, the hooks and the pages name what there is."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.pages import PAGES as ALL_PAGES
from tests.support.pages import ROOT, blocks, prose
from tests.support.source_tree import ROOT as SOURCE
from tests.support.source_tree import files, graph, part_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

_TARGET = re.compile(r"^([a-z-]+):.*## ", re.MULTILINE)
_MAKE = re.compile(r"\bmake ([^;&|`]+)")


@cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def targets() -> set[str]:
    """Return the targets that `make help` lists."""
    return {*_TARGET.findall(makefile())}


def unknown_in(command: str) -> list[str]:
    """Return what `make` is asked for in a command, and does not know: targets, variables, their values."""
    variables = {*re.findall(r"^([A-Z]+) \?=", makefile(), re.MULTILINE)}
    choices = {*re.findall(r"^OTEL_CHOICES := (.*)$", makefile(), re.MULTILINE)[0].split(), ""}
    unknown = []
    for arguments in _MAKE.findall(re.sub(r'"[^"]*"', "", command)):
        for word in arguments.split():
            name, is_variable, value = word.partition("=")
            known = name in variables if is_variable else name in targets()
            if not known or (name == "OTEL" and value not in choices):
                unknown.append(word)
    return unknown


def jobs(workflow: Path) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each job of a workflow with the combinations of its matrix."""
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        matrix = job["strategy"]["matrix"]
        lists = {key: values for key, values in matrix.items() if key != "include"}
        combinations: list[dict[str, Any]] = [{}]
        for key, values in lists.items():
            combinations = [{**one, key: value} for one in combinations for value in values]
        yield job, combinations + matrix.get("include", [])


def commands(workflow: Path) -> Iterator[str]:
    """Yield each command of a workflow, once for each combination of its matrix."""
    for job, combinations in jobs(workflow):
        for combination in combinations:
            for step in job["steps"]:
                yield re.sub(
                    r"\$\{\{ matrix\.(\w+) \}\}",
                    lambda found: str(combination[found[1]]),
                    step.get("run", ""),
                )


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_there_are(workflow: Path) -> None:
    called = [command for command in commands(workflow) if "make " in command]

    assert called
    assert [command for command in called if unknown_in(command)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    steps = [step for job, _ in jobs(workflow) for step in job["steps"] if "uses" in step]

    assert document["permissions"] == {"contents": "read"}
    assert "concurrency" in document
    assert [step["uses"] for step in steps if not re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])] == []
    assert [
        step["uses"]
        for step in steps
        if "checkout" in step["uses"] and step["with"]["persist-credentials"] is not False
    ] == []


def test_each_python_of_the_package_is_checked() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    stated = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)
    checked = [
        combination["python"]
        for _, combinations in jobs(ROOT / ".github" / "workflows" / "check.yml")
        for combination in combinations
        if combination.get("otel") == ""
    ]

    assert checked == stated


def test_the_hooks_start_what_make_lint_starts() -> None:
    document = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in document["repos"] for hook in repository["hooks"]]
    started = {
        " ".join(hook["entry"].split()[:2]) for hook in hooks if hook["entry"].startswith(".venv/bin/")
    }
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile(), re.MULTILINE)

    assert recipe is not None
    lines = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    assert started == {line.removesuffix(" --check") for line in lines}


def test_make_snapshots_starts_each_test_that_has_one() -> None:
    started = re.search(r"^SNAPSHOTS := (.*(?:\n\t.*)*)$", makefile(), re.MULTILINE)
    having = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^from tests\.support\.snapshots ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert started is not None
    roots = [ROOT / name for name in started[1].replace("\\", "").split()]
    assert [root for root in roots if not root.exists()] == []
    assert [path for path in having if not any(path.is_relative_to(root) for root in roots)] == []
    assert having


# Pages for contributors

PAGES = {name: ALL_PAGES[name] for name in ("CONTRIBUTING", "architecture", "glossary")}
FOREIGN = {"BaseException", "Decimal", "Exception", "Flow", "Node", "super", "uninstrument"}
"""Classes and functions of other people that the pages name."""


def code_in(page: Path) -> list[str]:
    """Return what stands in code font on a page, and the lines of its shell blocks."""
    shell = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    return re.findall(r"`([^`\n]+)`", prose(page)) + shell


@cache
def names_in_source() -> set[str]:
    """Return every class and function of the package."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in files())
    return {*re.findall(r"^\s*(?:class|def|async def) (\w+)", text, re.MULTILINE)}


def missing_on(page: Path) -> list[str]:
    """Return the files, modules, classes and make targets that a page names and that are not there."""
    missing = []
    folders: set[Path] = {ROOT, SOURCE}
    for code in code_in(page):
        path = code.removesuffix("/")
        if "make " in code:
            missing += unknown_in(code.partition("#")[0])
        elif re.fullmatch(r"[\w./-]+", code) and ("/" in code or re.search(r"\.(?:py|md|toml)$", code)):
            found = [folder / path for folder in folders if (folder / path).exists()]
            missing += [] if found else [code]
            folders |= {each if each.is_dir() else each.parent for each in found}
        elif re.fullmatch(r"(?:[A-Z]+[a-z0-9]+){2,}(?:\(\))?|[A-Z][a-z]+", code):
            known = code in names_in_source() | FOREIGN or (ROOT / code).is_file()
            missing += [] if known else [code]
        elif re.fullmatch(r"[a-z_]+\(\)", code):
            missing += [] if code.removesuffix("()") in names_in_source() | FOREIGN else [code]
    return missing


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_for_contributors_names_is_there(name: str) -> None:
    assert missing_on(PAGES[name]) == []


def test_pages_for_contributors_are_read_whole(tmp_path: Path) -> None:
    """The rule itself, on a page that names what is not there."""
    wrong = [
        "make fly",
        "views/lost.py",
        "tests/lost",
        "LostClass",
        "lose()",
        "make check OTEL=lost",
        "lost.py",
    ]
    page = tmp_path / "page.md"
    page.write_text("".join(f"`{code}`\n" for code in wrong) + "```sh\nmake swim\n```\n", encoding="utf-8")

    assert missing_on(page) == ["fly", *wrong[1:5], "OTEL=lost", "lost.py", "swim"]


def test_the_glossary_has_each_word_once_and_says_where_it_lives() -> None:
    rows = re.findall(r"^\| (?!word|---)(.+?) \| .+ \| (.+) \|$", PAGES["glossary"].read_text(), re.MULTILINE)
    words = [word for words, _ in rows for word in words.split(", ")]

    assert sorted({*words}) == sorted(words)
    assert [words for words, where in rows if not re.findall(r"`[\w/]+\.py`", where)] == []


def test_the_parts_of_the_architecture_are_those_of_the_source() -> None:
    text = PAGES["architecture"].read_text(encoding="utf-8")
    table = text.partition("## The parts")[2].partition("\n\n```")[0]
    named = {name.split("/")[0] for name in re.findall(r"^\| `([\w/]+)` ", table, re.MULTILINE)}
    named |= {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }

    assert named == set(map(part_of, files())) - {"__init__"}


def test_the_lines_of_the_architecture_are_in_the_order_of_imports() -> None:
    text = PAGES["architecture"].read_text(encoding="utf-8")
    drawing = re.search(r"```text\n(cli .*?)```", text, re.DOTALL)
    assert drawing is not None
    lines = [re.split(r" {3,}", line)[0].split() for line in drawing[1].splitlines()]
    line_of = {part: number for number, parts in enumerate(lines) for part in parts}

    assert set(map(part_of, files())) - {"__init__"} == {*line_of}
    assert [
        f"{part}: {other}"
        for part, others in parts_of(graph()).items()
        for other in others
        if line_of[other] <= line_of[part]
    ] == []
