"""A key's text is honest and short whatever the key, no code of it runs, and none costs a step its diff."""

from __future__ import annotations

import json
from enum import Enum, IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from tests.support.command_line import run
from tests.support.saved import save
from tests.support.schema import VALIDATOR
from tests.support.stores import Edit, on_span
from tests.support.views import console_output

from pocketflow_otel.store.introspection import MAX_NAME_LENGTH, name_text, type_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Color(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    ANSWER = "answer"


def refuse(*_: object) -> Any:
    raise AssertionError


class Silent:
    """Cannot be shown, and once it is a key, not be hashed or compared either."""

    quiet = False

    def __hash__(self) -> int:
        return refuse() if Silent.quiet else 7

    def __eq__(self, other: object) -> bool:
        return bool(refuse() if Silent.quiet else self is other)

    __repr__ = __str__ = __format__ = refuse  # type: ignore[assignment]


class Text(str):
    __repr__ = __str__ = __format__ = __len__ = __getitem__ = refuse  # type: ignore[assignment]


class Number(int):
    __repr__ = __str__ = __format__ = refuse  # type: ignore[assignment]


class Meta(type):
    __name__ = property(refuse)  # type: ignore[assignment]
    __repr__ = __str__ = refuse  # type: ignore[assignment]


class Made(metaclass=Meta):
    pass


def nested(depth: int) -> Any:
    key: Any = 1
    for _ in range(depth):
        key = (key,)
    return key


KEYS: dict[str, tuple[Callable[[], Any], str]] = {
    "a number of 5,000 digits": (lambda: 10**5000, "<int of 16610 bits>"),
    "a negative one": (lambda: -(10**5000), "<int of 16610 bits>"),
    "a number of 200 digits": (lambda: 10**199, f"1{'0' * 126}…"),
    "a bool": (lambda: True, "True"),
    "not a number": (lambda: float("nan"), "nan"),
    "infinity": (lambda: float("inf"), "inf"),
    "None": (lambda: None, "None"),
    "the dots": (lambda: ..., "<ellipsis>"),
    "bytes": (lambda: b"\xed\xa0\x80", r"b'\xed\xa0\x80'"),
    "a megabyte": (lambda: bytes(10**6), f"b'{chr(92)}x00"),
    "a lone surrogate": (lambda: "a\ud800b", r"a\ud800b"),
    "a megabyte of surrogates": (lambda: "\ud800" * 10**6, r"\ud800\ud800"),
    "control characters": (lambda: "a\x1b[31m\n", "a\x1b[31m\n"),
    "no text": (lambda: "", ""),
    "a tuple": (lambda: ("row", 1), "('row', 1)"),
    "a tuple of one": (lambda: (1,), "(1,)"),
    "an empty tuple": (tuple, "()"),
    "a tuple of odd things": (
        lambda: (10**5000, Color.RED, b"x", Made, "\ud800", (None,)),
        r"(<int of 16610 bits>, <Color>, b'x', <Meta>, '\ud800', (None,))",
    ),
    "a tuple 5,000 deep": (lambda: nested(5_000), "((((((((<tuple[1]>,),),),),),),),)"),
    "a tuple of a million": (lambda: (0,) * 10**6, "<tuple[1000000]>"),
    "an enum's member": (lambda: Color.RED, "<Color>"),
    "an enum's member that is a number": (lambda: Level.HIGH, "<Level>"),
    "an enum's member that is a text": (lambda: Word.ANSWER, "answer"),
    "a text of a class of its own": (lambda: Text("plain"), "plain"),
    "a number of a class of its own": (lambda: Number(7), "<Number>"),
    "an object": (Silent, "<Silent>"),
    "an object in a tuple": (lambda: ("row", Silent()), "('row', <Silent>)"),
    "a class": (lambda: Made, "<Meta>"),
    "a frozen set": (lambda: frozenset({1}), "<frozenset[1]>"),
    "a function": (lambda: refuse, "<function>"),
}


READING = (
    *("show", "show --events", "show --json", "show --values", "show --gantt", "show --markdown"),
    *("replay", "tail", "export --format otlp", "export --format otlp-lines", "export --format chrome"),
    *("export --format csv", "graph", "diff"),
)
"""Commands that read a run."""


@pytest.fixture(autouse=True)
def _silent_when_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Silent, "quiet", False)


@pytest.mark.parametrize(("make", "text"), KEYS.values(), ids=KEYS)
def test_the_text_of_a_key(make: Callable[[], Any], text: str) -> None:
    key = make()
    Silent.quiet = True
    shown = name_text(key)
    assert (shown.startswith(text), len(shown) <= MAX_NAME_LENGTH) == (True, True)
    assert shown == text or shown.endswith("…")


@pytest.mark.parametrize(("make", "text"), KEYS.values(), ids=KEYS)
def test_a_key_does_not_cost_the_diff(make: Callable[[], Any], text: str) -> None:
    def edit(shared: dict[Any, Any]) -> None:
        shared["beside"] = shared[make()] = 1
        Silent.quiet = True

    beside, shown = on_span({"question": "why?"}, edit)["added.keys"]
    assert (beside, shown.startswith(text.removesuffix("…"))) == ("beside", True)


def test_all_odd_keys_at_once_are_told_everywhere(tmp_path: Path) -> None:
    def edit(shared: dict[Any, Any]) -> None:
        shared.update({make(): make() for make, _ in KEYS.values()})
        Silent.quiet = True

    (path,) = save(tmp_path, Edit(edit))
    document = json.loads(path.read_bytes())
    (changes,) = [event["changes"] for event in document["events"] if "changes" in event]
    jsonschema.validate(document, VALIDATOR.schema)
    assert len(changes["added"]) == len(KEYS)

    Silent.quiet = False
    assert "✓ Edit" in console_output(lambda: Edit(edit).run({}))
    for command in (
        "show",
        "show --events",
        "show --json",
        "show --values",
        "show --gantt",
        "show --markdown",
        "replay",
        "tail",
    ):
        assert run(*command.split(), path).exit_code == 0
    for kind in ("otlp", "otlp-lines", "chrome", "csv"):
        assert run("export", path, "--format", kind).exit_code == 0


def test_the_name_of_a_type_is_short_and_no_code_of_it_runs() -> None:
    named: Any = type("x" * 1000, (), {})
    renamed: Any = type("Plain", (), {})
    renamed.__name__ = Text("renamed")
    assert [type_text(named()), type_text(renamed()), type_text(Made()), type_text(Made)] == [
        "x" * (MAX_NAME_LENGTH - 1) + "…",
        "renamed",
        "Made",
        "Meta",
    ]
