"""Lines of styled parts: rendered, measured, cut and folded."""

from __future__ import annotations

import sys

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from pocketflow_otel.views.styled_text import (
    BAD,
    DIM,
    GOOD,
    NAME,
    PLAIN,
    WARN,
    Part,
    cut,
    escape,
    fitted,
    line_width,
    render,
    width,
)


@given(st.text())
def test_escaped_text_is_printable_and_printable_text_stays(any_text: str) -> None:
    escaped = escape(any_text)

    assert escaped.isprintable()
    if any_text.isprintable():
        assert escaped == any_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("日本語 – é", "日本語 – é"),
        ("a\tb\0", r"a\tb\x00"),
        ("\x9b2J", r"\x9b2J"),  # the one-character form of ESC [
        ("\u2066evil\u2069", r"\u2066evil\u2069"),
        ("\udce4", r"\udce4"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_control_formatting_and_broken_characters_are_made_visible(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def test_cut_text_says_so() -> None:
    assert (cut("12345", 5), cut("123456", 5)) == ("12345", "1234…")


LINE = tuple(Part(style, style) for style in (PLAIN, DIM, GOOD, BAD, WARN, NAME))


def test_a_line_is_plain_text_unless_colour_is_wanted() -> None:
    assert render(LINE) == "plaindimgoodbadwarnname"
    assert render(LINE, colour=True) == (
        "plain\x1b[2mdim\x1b[0m\x1b[32mgood\x1b[0m\x1b[31;1mbad\x1b[0m\x1b[33mwarn\x1b[0m\x1b[1mname\x1b[0m"
    )


def test_in_ascii_every_symbol_has_a_word_and_other_text_its_code() -> None:
    line = [Part("→ ✓ ✗ ⚠ ↻ − × · … "), Part("é\udce4", NAME)]

    assert render(line, ascii_only=True) == r"-> ok x ! retry - x | ... \xe9\udce4"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Answer", 6),
        ("→ ✓ ✗ ⚠ ↻ − × · … ├─ █", 22),
        ("質問", 4),
        ("e\u0301", 1),  # an accent of its own
        ("สวัสดี", 4),  # vowels above their consonants
        ("\u1112\u1161\u11ab", 2),  # one syllable of Hangul in three parts
        ("👍🏽", 2),  # an emoji and its skin tone
        ("❤\ufe0f", 2),  # a text symbol shown as an emoji
        ("🇩🇪", 2),
        ("\x1bé", 1),
    ],
)
def test_the_width_of_a_text_is_the_columns_that_a_terminal_takes(text: str, columns: int) -> None:
    assert (width(text), line_width([Part("a"), Part(text)])) == (columns, columns + 1)


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("Answer", 6, "Answer"),
        ("Answer", 4, "Ans…"),
        ("質問です", 6, "質問…"),
        ("👍🏽👍🏽👍🏽", 4, "👍🏽…"),
        ("สวัสดีครับ", 5, "สวัสดี…"),
    ],
)
def test_a_line_is_cut_to_the_columns_of_a_terminal(text: str, columns: int, shown: str) -> None:
    assert render(fitted([Part(text), Part("")], columns)) == shown


@given(st.lists(st.text().map(escape)), st.integers(1, 30))
def test_a_line_that_was_cut_fits(texts: list[str], columns: int) -> None:
    assert line_width(fitted([Part(text) for text in texts], columns)) <= columns


def test_what_is_measured_without_tables_takes_the_columns_that_tables_say() -> None:
    printable = [chr(code) for code in range(0x20, 0x3000) if chr(code).isprintable()]

    assert [char for char in printable if width(char) != max(wcwidth.wcwidth(char), 0)] == []


def test_latin_greek_and_cyrillic_letters_wait_for_no_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wcwidth", None)  # An import of it raises.

    assert width("  ✓ Schlüssel “naïve” → Ключ, αβγ, 5 €, ½ …") == 43
    with pytest.raises(ImportError):
        width("質問")
