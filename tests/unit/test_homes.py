"""One fact, one home: what one module knows is written down in no other."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.source_tree import ROOT, files, literals, parsed, place

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Fact:
    """A fact, where it is written down, and how it would look in another place.

    Attributes:
        text: What a literal that states it looks like.
        homes: Files of the package.
        elsewhere: Code that states it a second time.
    """

    name: str
    text: str
    homes: tuple[str, ...]
    elsewhere: str

    def stated(self, tree: ast.AST) -> Iterator[str]:
        """Yield the lines of code that state it."""
        for value, line in literals(tree):
            if isinstance(value, str | int) and re.search(self.text, str(value)):
                yield f"line {line}: {value!r}"


FACTS = [
    Fact(
        "names and suffixes of files",
        r"^\*?\.(?:jsonl?|tmp)$|^\.adopting",
        ("traces/run_files.py", "pflow_names.py"),  # The latter has those of pflow's own files.
        "path.with_suffix('.jsonl')",
    ),
    Fact("a run's id", r"%Y%m%dT%H%M%SZ", ("runtime/run_id.py",), "f'{start:%Y%m%dT%H%M%SZ}'"),
    Fact(
        "endpoint and protocol of OTLP",
        r"^OTEL_EXPORTER_OTLP|^431[78]$|^/v1/",
        ("export/otlp/endpoints.py",),
        "os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']",
    ),
    Fact("the mark of a status", r"^[✓✗⚠↻] ?$", ("views/status.py", "views/styled_text.py"), "Part('✗ ')"),
    Fact("the mark of a change", r"^[~−]$", ("views/wording.py", "views/styled_text.py"), "f'−{key}'"),
    Fact("the limits of retention", r"^500000000$", ("config.py",), "keep_bytes = 500_000_000"),
    Fact(
        "the providers of models",
        r"^(?:anthropic|aws\.bedrock|gcp\.gemini)$",
        ("usage/providers.py",),
        "prefixes = ('anthropic',)",
    ),
]
by_name: Any = pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)


@by_name
def test_a_fact_is_stated_in_its_home_alone(fact: Fact) -> None:
    stated = {place(path): list(fact.stated(parsed(path))) for path in files()}

    assert {file: lines for file, lines in stated.items() if lines and file not in fact.homes} == {}


@by_name
def test_a_home_states_its_fact(fact: Fact) -> None:
    assert [home for home in fact.homes if not list(fact.stated(parsed(ROOT / home)))] == []


@by_name
def test_a_fact_that_is_stated_elsewhere_is_found(fact: Fact) -> None:
    assert len(list(fact.stated(ast.parse(fact.elsewhere)))) == 1


# What is kept or done in one place


def test_the_state_of_a_provider_is_kept_in_one_place() -> None:
    keeping = {
        place(path)
        for path in files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Subscript) and "Dictionary[TracerProvider" in ast.unparse(node)
    }

    assert keeping == {"sdk/provider.py"}


def calling(method: str) -> set[str]:
    """Return the files that call a function or a method of this name."""
    return {
        place(path)
        for path in files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == method
    }


def test_a_journal_is_folded_in_one_place() -> None:
    assert calling("RunAccumulator") == {"traces/fold.py"}


def test_a_file_that_nobody_else_may_read_is_opened_in_one_place() -> None:
    modes = {place(path) for path in files() for value, _ in literals(parsed(path)) if value == 0o600}

    assert modes == {"traces/run_files.py"}
