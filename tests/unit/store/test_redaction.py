"""Texts are shortened, values masked; only what was asked for is shown, and no user code is asked."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict, namedtuple
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from tests.support.effort import examples

from pocketflow_otel import semconv
from pocketflow_otel.config import Config
from pocketflow_otel.guard import set_strict
from pocketflow_otel.store.redaction import (
    MASKED,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_TEXT,
    MAX_VALUE,
    shorten,
    value_text,
)
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "sk-proj-4f9a8b7c6d5e4f3a2b1c"


@settings(max_examples=examples(200))
@given(text=st.text(st.characters(codec=None), max_size=40), limit=st.integers(1, 30))
def test_a_shortened_text_fits_and_can_be_encoded(text: str, limit: int) -> None:
    shown = shorten(text, limit)
    assert (len(shown) <= limit, shown.encode().decode()) == (True, shown)


def test_a_text_that_fits_stays_as_it_is() -> None:
    assert [shorten(text, 5) for text in ("", "short", "größe")] == ["", "short", "größe"]


def test_a_lone_surrogate_is_spelled_out() -> None:
    assert shorten("a\ud800b", 20) == "a\\ud800b"


class Loud(str):
    def __str__(self) -> str:
        raise AssertionError

    __len__ = __getitem__ = __iter__ = __repr__ = __str__  # type: ignore[assignment]


class Document:
    def __repr__(self) -> str:
        raise AssertionError


Point = namedtuple("Point", "x y")  # noqa: PYI024 - as users write it


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (10**400, "<int of 1329 bits>"),
        ("text", "text"),
        ("lone \ud800", "lone \\ud800"),
        ("x" * 5000, "x" * (MAX_TEXT - 1) + "…"),
        ([1, "a", None], [1, "a", None]),
        ((1, (2,)), [1, [2]]),
        ({7}, [7]),
        (frozenset({7}), [7]),
        (list(range(30)), [*range(MAX_ITEMS), "… 10 more"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
        ({n: n for n in range(30)}, {**{str(n): n for n in range(MAX_ITEMS)}, "…": "10 more"}),
        ({1: "int", None: "none", 2.5: "float"}, {"1": "int", "None": "none", "2.5": "float"}),
        ({("a", 1): 1, Document: 2}, {"<tuple of 2>": 1, "<type>": 2}),
        ({"\ud800" * 2: 1}, {"\\ud800\\ud800": 1}),
        ([[[[[1]]]]], [[[["<list of 1>"]]]]),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, {"a": {"b": {"c": {"d": "<dict of 1>"}}}}),
        (b"bytes", "<bytes>"),
        (Document(), "<Document>"),
        (Loud("x"), "<Loud>"),
        (Point(1, 2), "<Point>"),
        (OrderedDict(a=1), "<OrderedDict>"),
        (iter([1]), "<list_iterator>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_in_jsons_types(value: object, shown: object) -> None:
    assert json.loads(value_text("key", value, None)) == shown


def test_a_value_that_is_too_long_is_shown_as_the_beginning_of_its_json() -> None:
    text = value_text("key", ["x" * MAX_TEXT] * 10, None)
    assert json.loads(text) == (json.dumps(["x" * MAX_TEXT] * 10)[: MAX_VALUE - 1] + "…")


def test_a_list_that_holds_itself_comes_to_an_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    shown: Any = "<list of 2>"
    for _ in range(MAX_DEPTH):
        shown = [1, shown]
    assert json.loads(value_text("key", loop, None)) == shown


@pytest.mark.parametrize(
    "key",
    [
        *("api_key", "API-KEY", "apiKey", "OPENAI_API_KEY", "secret", "client_secret", "password", "passwd"),
        *("passphrase", "credentials", "Authorization", "cookie", "set-cookie", "private_key", "access key"),
        *("auth", "auth_header", "bearer", "token", "access_token", "id token", "jwt", "pin", "db_pwd"),
        *("accessToken", "refreshToken", "dbPwd", "userPin"),
    ],
)
def test_a_key_that_looks_like_a_secret_is_masked(key: str) -> None:
    nested = json.loads(value_text("outer", {"list": [{key: "x"}]}, None))
    assert (value_text(key, "x", None), nested) == (f'"{MASKED}"', {"list": [{key: MASKED}]})


@pytest.mark.parametrize(
    "key",
    [
        *("tokens", "max_tokens", "total_tokens", "totalTokens", "tokenizer", "author", "authors", "pinned"),
        *("spinner", "keyboard", "key", "monkey", "question", "Tokenized"),
    ],
)
def test_a_key_that_only_sounds_like_one_is_shown(key: str) -> None:
    assert value_text(key, "x", None) == '"x"'


@pytest.mark.parametrize(
    "secret",
    [
        KEY,
        "sk-ant-api03-" + "x" * 40,
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 18,
        "AKIAIOSFODNN7EXAMPLE",
        "AIza" + "Sy" * 17 + "x",
        "hf_" + "aB" * 17,
        "gsk_" + "aB" * 17,
        "xoxb-1234567890-abc",
        "eyJhbGciOiJI.eyJzdWIiOiIx.sflKxwRJSMeKKF",
        "Bearer abcdefgh12345678==",
    ],
)
def test_a_text_that_looks_like_a_secret_is_masked_where_it_stands(secret: str) -> None:
    assert json.loads(value_text("log", f"before {secret} after", None)) == f"before {MASKED} after"


def test_a_password_in_an_address_is_masked() -> None:
    assert (
        json.loads(value_text("url", "postgres://ada:s3cret@db:5432/x", None))
        == f"postgres://ada:{MASKED}@db:5432/x"
    )


def test_a_secret_at_the_end_of_what_is_shown_is_masked_whole() -> None:
    text = "x" * (MAX_TEXT - 10) + " " + KEY
    assert json.loads(value_text("log", text, None)) == "x" * (MAX_TEXT - 10) + f" {MASKED}"


def test_a_secret_as_name_in_a_dict_is_masked() -> None:
    assert json.loads(value_text("seen", {KEY: 1}, None)) == {MASKED: 1}


@pytest.mark.parametrize(
    ("mask", "shown"),
    [
        (lambda key, value: value, {"user": "ada"}),
        (lambda key, value: None, None),
        (lambda key, value: f"{key} of {len(value)}", "question of 1"),
        (lambda key, value: Document(), "<Document>"),
        (lambda key, value: {**value, "password": "x"}, {"user": "ada", "password": MASKED}),
    ],
    ids=["as it is", "nothing", "a summary", "an object", "a secret"],
)
def test_the_mask_has_the_last_word(mask: Callable[[str, Any], object], shown: object) -> None:
    assert json.loads(value_text("question", {"user": "ada"}, mask)) == shown


def test_the_mask_is_not_shown_a_secret() -> None:
    seen: list[object] = []
    text = value_text("api_key", KEY, lambda key, value: seen.append((key, value)))
    assert (seen, text) == ([("api_key", MASKED)], "null")


# On spans


class Answer(Node):
    def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
        shared["answer"] = f"because {KEY}"
        shared["answer_length"] = 7
        shared["api_key"] = "mine"
        shared["history"].append({"role": "bot", "password": "hunter2"})
        shared["untouched_copy"] = None
        del shared["draft"]


def run(config: Config | None) -> Any:
    shared = {"question": "why?", "history": [], "draft": "x"}
    with capture_spans(config) as captured:
        Flow(start=Answer()).run(shared)
    return captured


def captured_values(**settings: Any) -> Any:
    values = run(Config(**settings)).one("invoke_node Answer").attributes.get(semconv.SHARED_VALUES)
    return values and json.loads(values)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), None),
        (("answer",), ["answer"]),
        (("answer*",), ["answer", "answer_length"]),
        (("question", "draft"), None),
        (("ANSWER", "hist"), None),
        (("[ah]*",), ["answer", "answer_length", "api_key", "history"]),
        (("history", "nothing"), ["history"]),
    ],
    ids=str,
)
def test_the_values_asked_for_are_recorded_when_they_change(
    patterns: tuple[str, ...], names: list[str] | None
) -> None:
    values = captured_values(capture_values=patterns)
    assert (values and sorted(values)) == names


def test_secrets_are_masked_though_everything_was_asked_for() -> None:
    assert captured_values(capture_values=("*",)) == {
        "answer": f"because {MASKED}",
        "answer_length": 7,
        "api_key": MASKED,
        "history": [{"role": "bot", "password": MASKED}],
        "untouched_copy": None,
    }


def test_what_the_mask_returns_is_recorded() -> None:
    def mask(key: str, value: object) -> object:
        return type(value).__name__ if key != "history" else value

    assert captured_values(capture_values=("*",), mask=mask) == {
        "answer": "str",
        "answer_length": "int",
        "api_key": "str",
        "history": [{"role": "bot", "password": MASKED}],
        "untouched_copy": "NoneType",
    }


def test_a_mask_that_raises_leaves_every_value_out() -> None:
    set_strict(False)

    def mask(key: str, value: object) -> object:
        raise ValueError(value)

    span = run(Config(capture_values=("*",), mask=mask)).one("invoke_node Answer")
    assert (span.attributes.get(semconv.SHARED_VALUES), span.attributes[semconv.SHARED_REMOVED_KEYS]) == (
        None,
        ("draft",),
    )


def test_a_mask_that_cannot_be_imported_leaves_every_value_out() -> None:
    set_strict(False)
    environ = {"POCKETFLOW_OTEL_CAPTURE_VALUES": "*", "POCKETFLOW_OTEL_MASK": "no_such_module:mask"}
    span = run(Config.from_env(environ)).one("invoke_node Answer")
    assert (span.attributes.get(semconv.SHARED_VALUES), span.attributes[semconv.SHARED_REMOVED_KEYS]) == (
        None,
        ("draft",),
    )


def test_at_most_64_values_are_recorded() -> None:
    class Fill(Node):
        def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared.update((f"key{n}", n) for n in range(100))

    with capture_spans(Config(capture_values=("*",))) as captured:
        Flow(start=Fill()).run({})
    values = json.loads(captured.one("invoke_node Fill").attributes[semconv.SHARED_VALUES])
    assert values == {f"key{n}": n for n in range(64)}


def test_no_value_leaves_the_process_unasked() -> None:
    secret = "xyzzy-plugh"

    class Keep(AsyncNode):
        async def prep_async(self, shared: Any) -> Any:
            return shared["in"]

        async def exec_async(self, prep_res: Any) -> Any:
            return prep_res

        async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
            shared["text"] = exec_res
            shared["list"].append(secret)
            shared["dict"]["inner"][secret] = secret
            shared["object"].name = secret
            shared["number"] = 987654321
            shared["tuple"] = (secret, b"xyzzy-plugh")

    shared = {"in": secret, "list": [secret], "dict": {"inner": {secret: secret}}, "object": Document()}
    keep = Keep()
    keep.set_params({"param": secret})
    with capture_spans() as captured:
        asyncio.run(AsyncFlow(start=keep).run_async(shared))
    exported = "".join(span.to_json() for span in captured.spans)
    assert [word in exported for word in (secret, "xyzzy", "987654321", "text")] == [
        False,
        False,
        False,
        True,
    ]
