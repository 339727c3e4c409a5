"""An exception whose class gives Python's own names another meaning passes as any other, and is told."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import get_current
from pocketflow import Flow, Node

from pocketflow_otel.guard import guard, logger, set_strict
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = (
    "__class__", "__traceback__", "__context__", "__cause__", "__suppress_context__", "__notes__", "__dict__",
    "__module__", "args", "add_note", "with_traceback", "message", "exceptions", "code",
)  # fmt: skip
METHODS = ("__getattribute__", "__setattr__", "__str__", "__repr__", "__eq__", "__bool__", "__len__")
BASES = (Exception, OSError, RecursionError, ExceptionGroup, GeneratorExit, SystemExit, KeyboardInterrupt)
TOLD = {str((place,)) for place in ("tell the causes of an error", "shorten a traceback")}
"""What nobody can do with an exception that has no notes to read, say."""
ALARM = signal.SIGUSR1


def refuse(*_: object) -> Any:
    raise ZeroDivisionError("the program's own code ran")


def hostile(name: str, base: type[BaseException]) -> BaseException:
    value = refuse if name in METHODS else property(refuse)
    arguments = ("the group", [ValueError()]) if base is ExceptionGroup else ("the message",)
    return type("Hostile", (base,), {name: value})(*arguments)


class Fails(Node):
    def exec(self, prepared: BaseException) -> None:
        raise prepared

    def prep(self, shared: dict[str, BaseException]) -> BaseException:
        return shared["error"]


class Talk(Flow):
    pass


class FallsBack(Fails):
    def exec_fallback(self, prepared: object, error: Exception) -> str:
        return "fallback"

    def post(self, shared: object, prepared: object, executed: str) -> str:
        return executed


@pytest.fixture(autouse=True)
def _lenient(_strict_guards: None) -> None:
    set_strict(False)


def raised_by(function: Callable[..., object], *args: object) -> BaseException | None:
    """Return what a call raises: in a test of its own that would have pytest ask it what it is."""
    try:
        function(*args)
    except BaseException as error:
        return error
    return None


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", NAMES + METHODS)
def test_it_passes_and_leaves_nothing_behind(
    name: str, base: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    error, before = hostile(name, base), get_current()
    with capture_spans() as captured:
        passed = raised_by(Talk(Fails(max_retries=2)).run, {"error": error}) is error
        assert (passed, get_current() is before) == (True, True)
    assert [span.name for span in captured.spans] == ["invoke_node Fails", "invoke_workflow Talk"]
    assert [span.status.status_code.name for span in captured.spans] == ["ERROR", "ERROR"]
    assert {str(record.args) for record in caplog.records} <= TOLD


@pytest.mark.parametrize("name", NAMES + METHODS)
def test_an_attempt_may_fail_by_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with capture_spans() as captured:
        passed = raised_by(Talk(FallsBack(max_retries=2)).run, {"error": hostile(name, Exception)}) is None
    attributes = captured.one("invoke_node FallsBack").attributes or {}
    assert (passed, attributes["pocketflow.node.action"]) == (True, "fallback")
    assert attributes["pocketflow.node.attempts"] == 2
    assert caplog.records == []


def test_it_gets_no_note_for_a_class_that_it_only_claims() -> None:
    claims = type("Claims", (Exception,), {"__class__": property(lambda self: RecursionError)})()
    with capture_spans():
        passed = raised_by(Talk(Fails()).run, {"error": claims}) is claims
    assert (passed, hasattr(claims, "__notes__")) == (True, False)


@pytest.mark.parametrize("name", NAMES + METHODS)
def test_a_time_limit_may_be_one(name: str, caplog: pytest.LogCaptureFixture) -> None:
    error = hostile(name, Exception)

    def limit(number: int, frame: object) -> None:
        raise error

    def interrupted() -> None:
        with guard("open a span"):
            signal.raise_signal(ALARM)

    before = signal.signal(ALARM, limit)
    passed = raised_by(interrupted) is error
    signal.signal(ALARM, before)
    assert (passed, caplog.records) == (True, [])


@pytest.mark.parametrize("name", NAMES + METHODS)
def test_a_mask_of_the_users_may_raise_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def mask() -> None:
        with guard("mask a value"):
            raise hostile(name, Exception)

    monkeypatch.setattr(logger, "disabled", True)  # Its handlers ask an exception for what it is.
    assert (raised_by(mask) is None) is True
