"""The renderer, where whole runs (test_console_view.py) do not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pocketflow_otel import semconv
from pocketflow_otel.traces.records import ERROR, EventRecord, ScopeRecord, SpanRecord
from pocketflow_otel.views.live import LiveRenderer
from pocketflow_otel.views.styled_text import line_width, render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pocketflow_otel.views.styled_text import Line

OURS = ScopeRecord(semconv.SCOPE_NAME)
SECOND = 1_000_000_000
RAISED = EventRecord(semconv.EXCEPTION_EVENT, 0)


def flow(name: str, end: float = 0, **fields: Any) -> SpanRecord:
    attributes = {
        semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_WORKFLOW,
        semconv.GEN_AI_WORKFLOW_NAME: name,
    }
    return SpanRecord(
        "t", name, "", name, SECOND, SECOND + round(end * SECOND), scope=OURS, attributes=attributes, **fields
    )


def node(name: str, parent: str, end: float = 0, **fields: Any) -> SpanRecord:
    attributes = {semconv.GEN_AI_OPERATION_NAME: semconv.INVOKE_NODE, semconv.NODE_NAME: name}
    return SpanRecord(
        "t",
        name,
        parent,
        name,
        SECOND,
        SECOND + round(end * SECOND),
        scope=OURS,
        attributes=attributes,
        **fields,
    )


def text(*lines: Iterable[Line]) -> list[str]:
    return [render(line) for told in lines for line in told]


def test_the_run_id_stands_in_its_column_beside_wide_names() -> None:
    (narrow,) = LiveRenderer("RUN", SECOND).started(flow("qa"))
    (wide,) = LiveRenderer("RUN", SECOND).started(flow("質問"))

    assert line_width(narrow) == line_width(wide)


def test_the_run_id_comes_behind_a_long_name_and_only_at_the_root() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    long = "n" * 80

    assert text(renderer.started(flow(long)), renderer.started(node("A", long))) == [
        f"  0.00s → Flow: {long}  run RUN",
        "  0.00s   → A",
    ]


def test_a_flow_that_fails_by_itself_is_the_place_of_the_failure() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    failed = flow("f", 1, status=ERROR, status_message="E: no", events=(RAISED,))
    text(renderer.started(flow("f")))

    assert text(renderer.ended(failed), renderer.summary(failed)) == [
        "  1.00s ✗ Flow: f 1.00s  E: no",
        "FAILED at Flow: f · 1.00s · 0 steps",
    ]


def test_a_failure_that_was_caught_is_not_where_the_run_failed() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    caught = node("caught", "f", 1, status=ERROR, events=(RAISED,))
    fatal = node("fatal", "f", 1, status=ERROR, events=(RAISED,))
    failed = flow("f", 1, status=ERROR)
    for span in (flow("f"), caught, fatal):
        text(renderer.started(span))
    text(renderer.ended(caught), renderer.ended(fatal), renderer.ended(failed))

    assert text(renderer.summary(failed)) == ["FAILED at fatal · 1.00s · 2 steps (0 ok, 2 failed)"]


def test_spans_still_open_are_mentioned_where_a_file_lacks_them() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    root = flow("f", 1)

    assert text(renderer.summary(root, late=2)) == [
        "ok  1.00s · 0 steps",
        "2 spans still open, not in the file",
    ]
    assert text(renderer.summary(root)) == ["ok  1.00s · 0 steps"]


@pytest.mark.parametrize(
    ("whole", "ends", "expected"),
    [
        (1, (0.25, 0.004), ["slowest n0 0.25s (25%)"]),
        (0.01, (0.004, 0.003), []),  # 0.00s says nothing, whatever its share is
        (1000, (4, 3), []),  # Nor does a share of 0%: most of the time went elsewhere
        (1, (0.25,), []),  # Nor does it where there is no other
    ],
)
def test_the_slowest_step_is_named_where_that_says_something(
    whole: float, ends: tuple[float, ...], expected: list[str]
) -> None:
    renderer = LiveRenderer("RUN", SECOND)
    text(renderer.started(flow("f")))
    for number, end in enumerate(ends):
        text(renderer.started(node(f"n{number}", "f")), renderer.ended(node(f"n{number}", "f", end)))

    assert text(renderer.summary(flow("f", whole)))[1:] == expected


def test_what_happens_to_a_span_that_is_not_known_has_no_line() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    renderer.progressed("?", 1, 2)
    failed = renderer.attempt_failed("?", 1, attempt=1, max_attempts=2, error="E", wait=0)

    assert (
        text(
            renderer.item_done("?", 1),
            failed,
            renderer.batch_begun("?", 3),
            renderer.action_unmatched("?", 1, "a", ()),
            renderer.ended(node("?", "")),
        )
        == []
    )


def test_a_silence_before_the_first_step_has_no_line() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    before = text(renderer.still_running(3 * SECOND))
    text(renderer.started(flow("f")), renderer.started(node("A", "f")))

    assert (before, text(renderer.still_running(3 * SECOND))) == ([], ["… still running: A 2s"])


def test_a_clock_that_was_set_back_shows_no_negative_time() -> None:
    renderer = LiveRenderer("RUN", SECOND)
    early = node("A", "", end=-0.5)
    text(renderer.started(node("A", "")))

    assert text(renderer.ended(early)) == ["  0.00s ✓ A 0.00s"]
