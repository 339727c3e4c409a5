"""One word, one thing, one file: names that exist once below `src`, and words that no name has."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from tests.support.source_tree import PACKAGE, files, module_name, names, parsed, place, words

from pocketflow_otel.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STORIES = {
    "books", "crowd", "era", "family", "ledger", "narrat", "retell", "said", "seconded", "told", "twin",
    "twins", "witness",
}  # fmt: skip
"""Words of stories, which a reader has to guess the meaning of; `narrat` as the beginning of a word."""


def is_story(word: str) -> bool:
    return word in STORIES or word.startswith("narrat")


def more_than_once(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the names that stand in several places, with those."""
    found = defaultdict(list)
    for name, where in places:
        found[name].append(where)
    return {name: where for name, where in found.items() if len(where) > 1}


def modules() -> Iterator[tuple[str, str]]:
    """Yield the names of modules that are no command of the command line, with their files."""
    commands = {command.callback.__module__ for command in main.commands.values() if command.callback}
    for path in files():
        module = f"{PACKAGE}.{module_name(path)}"
        if path.stem != "__init__" and module not in commands:
            yield path.stem, place(path)


def classes(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                yield node.name, f"{place(path)}:{node.lineno}"


def stories(tree: ast.AST) -> list[str]:
    """Return the names in code that have a word of a story."""
    return [f"line {line}: {name}" for name, line in names(tree) if any(map(is_story, words(name)))]


def test_the_name_of_a_module_is_that_of_no_other() -> None:
    assert more_than_once(modules()) == {}


def test_the_name_of_a_class_is_that_of_no_other() -> None:
    assert more_than_once(classes(files())) == {}


@pytest.mark.parametrize("path", files(), ids=place)
def test_names_are_no_words_of_a_story(path: Path) -> None:
    assert [part for part in place(path).split("/") if any(map(is_story, words(part)))] == []
    assert stories(parsed(path)) == []


def test_a_name_that_stands_twice_is_found() -> None:
    assert more_than_once(
        [("live", "views/live.py"), ("tree", "views/tree.py"), ("live", "sdk/live.py")]
    ) == {"live": ["views/live.py", "sdk/live.py"]}


@pytest.mark.parametrize(
    "code",
    [
        "said = 1", "def narrate(): ...", "class RunNarrator: ...", "run.toldOf", "f(what_was_told=1)",
        "lambda witness: 0", "from runs import crowd", "import runs.ledger", "import runs as family",
        "try: ...\nexcept ValueError as said: ...", "match 1:\n    case twin: ...", "async def retell(): ...",
        "self._seconded += 1",
    ],
)  # fmt: skip
def test_a_word_of_a_story_is_found_wherever_a_name_stands(code: str) -> None:
    assert len(stories(ast.parse(code))) == 1


def test_words_that_hold_such_a_word_are_none() -> None:
    assert stories(ast.parse("iteration = operations.generate(bookshelf, untold=1)")) == []
