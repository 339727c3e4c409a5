"""With small limits of spans, our outputs say what they say without, and back ends have the best of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from tests.support.steps import FailsFirst, Numbers, Step, named
from tests.support.views import console_output, viewed

from pocketflow_otel import FileSpanExporter, progress, semconv
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.instrument.small_limits import ENOUGH, SmallLimits, small_limits_of
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = [
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "8"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "2"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "12"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4"),
]
with_each_limit = pytest.mark.parametrize(("variable", "value"), VARIABLES)


def eventful() -> None:
    """Run a flow whose spans have every kind of event, many attributes, and an error."""

    def read(shared: dict[str, Any]) -> str:
        for done in range(5):
            progress(done, 4)
        shared.update(question="?", answer=[1])
        return "nowhere"

    first = FailsFirst("AskTheModel", 1, max_retries=2)
    second = Step("Read", 0.1, read)
    first >> second
    second - "somewhere" >> Step("Elsewhere")
    named(pocketflow.Flow(start=first), "question answering").run({"history": []})
    Numbers("CountThem", [1, 2]).run({})
    failing = Step("FailsAtTheEnd", 0.1, lambda shared: shared["missing"])
    with pytest.raises(KeyError):
        named(pocketflow.Flow(start=named(pocketflow.Flow(start=failing), "inner")), "failing").run({})


def saved(directory: Path) -> list[Any]:
    """Return what trace files say of the spans of `eventful`."""
    view = FileView("all", directory)
    with viewed(view):
        eventful()
    view.shutdown()
    return [json.loads(path.read_bytes()) for path in sorted(directory.glob("*.json"))]


@with_each_limit
def test_the_live_view_says_the_same(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = console_output(eventful)
    monkeypatch.setenv(variable, value)

    assert console_output(eventful) == expected


@with_each_limit
def test_trace_files_say_the_same(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = saved(tmp_path / "without")
    monkeypatch.setenv(variable, value)

    assert [in_order(document) for document in saved(tmp_path / "with")] == list(map(in_order, expected))


def in_order(document: Any) -> Any:
    """Return a document with the attributes of each span and event sorted by name."""
    if isinstance(document, dict):
        return {
            name: sorted(content, key=lambda pair: str(pair["key"]))
            if name == "attributes"
            else in_order(content)
            for name, content in document.items()
        }
    return [in_order(item) for item in document] if isinstance(document, list) else document


@with_each_limit
def test_nothing_is_logged_of_what_a_span_does_not_take(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, value)
    with capture_spans():
        eventful()

    assert caplog.messages == []


def test_back_ends_have_the_names_and_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4")
    with capture_spans() as captured:
        eventful()
    failed = captured.one("invoke_node FailsAtTheEnd").attributes

    assert failed is not None
    assert failed[semconv.NODE_NAME] == "FailsAtTheEnd"
    assert failed[semconv.ERROR_TYPE] == "KeyError"
    assert len(failed) == 4


def test_what_is_put_together_from_ended_spans_finds_its_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4")
    exporter = FileSpanExporter(tmp_path)
    with capture_spans() as captured:
        eventful()
    exporter.export(captured.spans)

    assert len(list(tmp_path.glob("*.json"))) == 3


def test_a_scope_keeps_nothing_when_its_span_has_ended() -> None:
    scopes: list[Any] = []
    with capture_spans():
        Step("A", 0, lambda shared: scopes.append(scope_of())).run({})

    assert (scopes[0].attributes, list(scopes[0].events)) == ({}, [])


def test_values_that_change_are_the_last_ones_and_a_users_stay() -> None:
    limits = SmallLimits(attributes=3)

    assert limits.at_end({"a": 1, "b": 2}, {"a": 7, "user": 1}) == {"b": 2}


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({}, None),
        ({"max_span_attributes": ENOUGH}, None),
        ({"max_attributes": SpanLimits.UNSET}, None),
        ({"max_span_attributes": 8}, SmallLimits(attributes=8)),
        ({"max_attributes": 0}, SmallLimits(attributes=0, event_attributes=0)),
        ({"max_attribute_length": 9}, SmallLimits(length=9, event_length=9)),
        ({"max_span_attribute_length": 9}, SmallLimits(length=9)),
    ],
    ids=str,
)
def test_limits_are_those_of_the_provider_where_they_are_small(
    limits: dict[str, int], found: SmallLimits | None
) -> None:
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)

    assert small_limits_of(provider) == found


def test_a_provider_that_shows_no_limits_has_none() -> None:
    assert small_limits_of(object()) is None
