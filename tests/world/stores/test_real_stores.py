"""Stores of other people's packages: each has its names, or none are told of it; none of its code runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import dotmap
import flask
import pandas as pd
import pydantic
import pytest
import starlette.datastructures
import werkzeug.datastructures
import werkzeug.local
from tests.support.stores import on_span

from pocketflow_otel.store.listing import list_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Model(pydantic.BaseModel, extra="allow"):
    stage: str = "input"


@attrs.define
class Slotted:
    stage: str = "input"


@attrs.define(slots=False)
class Plain:
    stage: str = "input"


def refuse() -> Any:
    raise AssertionError


def state() -> starlette.datastructures.State:
    made = starlette.datastructures.State()
    made.stage = "input"
    return made


LISTED: dict[str, Callable[[], Any]] = {
    "a model of pydantic": Model,
    "a class of attrs": Slotted,
    "a class of attrs without slots": Plain,
    "a DotMap": lambda: dotmap.DotMap(stage="input"),
    "a state of Starlette": state,
    "a MultiDict": lambda: werkzeug.datastructures.MultiDict({"stage": "input"}),
}


@pytest.mark.parametrize("make", LISTED.values(), ids=LISTED)
def test_a_store_is_listed(make: Callable[[], Any]) -> None:
    assert list(list_items(make()) or ()) == ["stage"]


def test_a_field_that_a_model_did_not_declare_is_a_change() -> None:
    found = on_span(Model(), lambda model: setattr(model, "answer", 42))
    assert found == {"schema": '{"stage":"str"}', "added.keys": ["answer"], "added.types": ["int"]}


UNLISTED: dict[str, Callable[[], Any]] = {
    "a proxy of werkzeug": lambda: werkzeug.local.LocalProxy(refuse),
    "a local of werkzeug": werkzeug.local.Local,
    "the session of Flask outside of a request": lambda: flask.session,
    "a frame": lambda: pd.DataFrame({"stage": ["input"]}),
    "a series": lambda: pd.Series({"stage": "input"}),
}


@pytest.mark.parametrize("make", UNLISTED.values(), ids=UNLISTED)
def test_what_its_own_code_alone_could_tell_is_not_listed(make: Callable[[], Any]) -> None:
    assert list_items(make()) is None


@pytest.fixture
def request_of_flask() -> Iterator[None]:
    app = flask.Flask(__name__)
    app.secret_key = "of this test"
    with app.test_request_context():
        yield


@pytest.mark.usefixtures("request_of_flask")
def test_a_proxy_of_flask_is_not_listed_and_what_it_stands_for_is() -> None:
    proxied: Any = flask.g
    assert on_span(proxied, lambda kept: setattr(kept, "stage", "done")) == {}
    assert list_items(proxied._get_current_object()) == {"stage": "done"}

    proxied = flask.session
    assert on_span(proxied, lambda kept: kept.update(stage="done")) == {}
    assert list_items(proxied._get_current_object()) == {"stage": "done"}
