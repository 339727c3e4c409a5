"""The threads of a parallel batch have their spans' context, and no other thread has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.pflow.users import User

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pflow.commands import Commands


# Up to 0.11 code steps that run at once swap each other's sys.stdout, and pflow then prints nothing.
def test_twenty_items_hold_what_is_done_in_them_and_other_threads_see_nothing(
    tmp_path: Path, forks: Commands
) -> None:
    user = User(tmp_path / "home", "newest", forks)
    done = user.run("instrument", "-p", "threads.pflow.md")
    steps = {step.span.span_id: step for step in user.trace().walk()}
    items = {
        step.span.attributes[semconv.BATCH_INDEX]: step for step in steps.values() if step.span.role == "item"
    }

    assert done.returncode == 0, done.stderr
    assert {steps[item.span.parent_id].span.title for item in items.values()} == {"work"}
    assert {index: [child.span.name for child in item.children] for index, item in items.items()} == {
        number: [f"theirs {number}"] for number in range(20)
    }
    assert done.stdout.count(b"concurrent.futures.thread") >= 20  # Their pools are Python's own.
    assert b"pocketflow-otel-scope" not in done.stdout
    assert b"current-span" not in done.stdout
