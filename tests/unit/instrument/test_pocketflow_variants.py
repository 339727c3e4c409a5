"""Every PocketFlow there is gives the same spans for the same program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.variants import VARIANTS, load, variant

from pocketflow_otel.runtime.run_events import AttemptFailed
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from pocketflow_otel.runtime.run_events import Event

Store = dict[str, Any]
SHOWN = (
    "pocketflow.node.visit",
    "pocketflow.node.action",
    "pocketflow.node.next",
    "pocketflow.node.attempts",
    "pocketflow.node.fallback",
    "pocketflow.batch.index",
    "pocketflow.batch.size",
    "pocketflow.flow.start_node",
    "pocketflow.flow.steps",
)


def sync_program(module: ModuleType) -> Any:
    """Return a flow that asks until it knows, answers in a batch and reports in rounds."""

    class Ask(module.Node):  # type: ignore[misc, name-defined]
        def exec(self, prep_res: object) -> str:
            if self.cur_retry == 0:
                raise ConnectionError("no answer")
            return "answer"

        def post(self, shared: Store, prep_res: object, exec_res: str) -> str:
            shared["asked"] = shared.get("asked", 0) + 1
            return "again" if shared["asked"] < 2 else "default"

    class Answer(module.BatchNode):  # type: ignore[misc, name-defined]
        def prep(self, shared: Store) -> list[int]:
            return [1, 0]

        def exec(self, prep_res: int) -> int:
            return 1 // prep_res

        def exec_fallback(self, prep_res: int, exc: Exception) -> int:
            return 0

    class Report(module.BatchFlow):  # type: ignore[misc, name-defined]
        def prep(self, shared: Store) -> list[Store]:
            return [{"page": 1}, {"page": 2}]

    class Write(module.BaseNode):  # type: ignore[misc, name-defined]
        def exec(self, prep_res: object) -> None:
            pass

    class Talk(module.Flow):  # type: ignore[misc, name-defined]
        pass

    ask, answer = Ask(max_retries=2), Answer()
    ask - "again" >> ask
    ask >> answer >> Report(start=Write())
    return Talk(start=ask)


def async_program(module: ModuleType) -> Any:
    """Return the same, async."""

    class Ask(module.AsyncNode):  # type: ignore[misc, name-defined]
        failed = False

        async def exec_async(self, prep_res: object) -> str:
            if not self.failed:
                self.failed = True
                raise ConnectionError("no answer")
            return "answer"

        async def post_async(self, shared: Store, prep_res: object, exec_res: str) -> str:
            shared["asked"] = shared.get("asked", 0) + 1
            return "again" if shared["asked"] < 2 else "default"

    class Answer(module.AsyncParallelBatchNode):  # type: ignore[misc, name-defined]
        async def prep_async(self, shared: Store) -> list[int]:
            return [1, 0]

        async def exec_async(self, prep_res: int) -> int:
            await asyncio.sleep(0)
            return 1 // prep_res

        async def exec_fallback_async(self, prep_res: int, exc: Exception) -> int:
            return 0

    class Report(module.AsyncParallelBatchFlow):  # type: ignore[misc, name-defined]
        async def prep_async(self, shared: Store) -> list[Store]:
            return [{"page": 1}, {"page": 2}]

    class Write(module.BaseNode):  # type: ignore[misc, name-defined]
        pass

    class Talk(module.AsyncFlow):  # type: ignore[misc, name-defined]
        pass

    ask, answer = Ask(max_retries=2), Answer()
    ask - "again" >> ask
    ask >> answer >> Report(start=Write())
    return Talk(start=ask)


EXPECTED = """\
invoke_workflow Talk start_node=Ask steps=5
  invoke_node Ask visit=1 action=again next=Ask attempts=2
  invoke_node Ask visit=2 action=default next=Answer attempts=2
  invoke_node Answer visit=1 action=default next=Report size=2
    batch_item attempts=1 index=0 size=2
    batch_item attempts=1 fallback=True index=1 size=2
  invoke_workflow Report size=2 start_node=Write steps=2
    batch_item index=0 size=2
      invoke_node Write visit=1 action=default attempts=1
    batch_item index=1 size=2
      invoke_node Write visit=1 action=default attempts=1"""


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("style", ["sync", "async"])
def test_a_program_gives_the_same_spans(name: str, style: str) -> None:
    module = variant(name)
    with capture_spans(module=module) as captured:
        if style == "sync":
            sync_program(module).run({})
        else:
            asyncio.run(async_program(module).run_async({}))
    assert captured.tree(*SHOWN) == EXPECTED


Attempts = tuple[tuple[int, bool], ...]


def events(module: ModuleType, *items: Attempts) -> list[list[str]]:
    """Return the events of each item of a parallel batch, once it is clear that tracing changes nothing.

    Args:
        module: The PocketFlow to use.
        items: For each attempt at an item, how often it pauses and whether it fails then.
    """

    class Items(module.AsyncParallelBatchNode):  # type: ignore[misc, name-defined]
        async def prep_async(self, shared: Store) -> list[Any]:
            return [iter(attempts) for attempts in items]

        async def exec_async(self, prep_res: Any) -> str:
            pauses, fails = next(prep_res)
            for _ in range(pauses):
                await asyncio.sleep(0)
            if fails:
                raise ConnectionError("no answer")
            return "answer"

        async def post_async(self, shared: Store, prep_res: object, exec_res: list[str]) -> str:
            return str(exec_res)

    def outcome() -> str:
        try:
            return str(asyncio.run(Items(max_retries=2).run_async({})))
        except ConnectionError as error:
            return str(error)

    bare = outcome()
    with capture_spans(module=module) as captured:
        assert outcome() == bare
    spans = sorted(captured.named("batch_item"), key=lambda span: span.start_time or 0)
    return [[event.name.removeprefix("pocketflow.") for event in span.events] for span in spans]


def test_a_last_attempt_that_the_head_forgets_is_told() -> None:
    items: list[Attempts] = [((0, True), (1, True)), ((2, False),)]
    assert events(variant("head"), *items) == [["attempt.failed"] * 2, []]
    assert events(variant("0.0.3"), *items) == [["attempt.failed", "exception"], []]


def test_a_first_attempt_that_the_head_takes_for_the_last_is_told_once() -> None:
    items: list[Attempts] = [((1, True), (1, False)), ((2, True), (2, False))]
    assert events(variant("head"), *items) == [["attempt.failed"], ["exception"]]
    assert events(variant("0.0.3"), *items) == [["attempt.failed"]] * 2


def test_an_attempt_is_published_once_though_the_head_falls_back_early() -> None:
    class Items(variant("head").AsyncParallelBatchNode):  # type: ignore[misc]
        async def prep_async(self, shared: Store) -> list[int]:
            scope = scope_of()
            assert scope is not None
            scope.run.observe(lambda scope, event: published.append(event))
            return [1, 2]

        async def exec_async(self, prep_res: int) -> None:
            for _ in range(prep_res):
                await asyncio.sleep(0)
            raise ConnectionError(f"item {prep_res}")

        async def exec_fallback_async(self, prep_res: int, exc: Exception) -> None:
            pass

    published: list[Event] = []
    with capture_spans(module=variant("head")) as captured:
        asyncio.run(Items(max_retries=2).run_async({}))
    failed = [(event.message, event.attempt) for event in published if isinstance(event, AttemptFailed)]
    assert failed == [("item 1", 1), ("item 1", 2), ("item 2", 1)]
    assert captured.tree("pocketflow.node.attempts").splitlines() == [
        "invoke_node Items",
        "  batch_item attempts=2",
        "  batch_item attempts=1",
    ]


def test_a_release_that_is_not_there_is_asked_for_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLOW_VARIANTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"PocketFlow 0\.0\.2 is not at .* `make test` installs it"):
        load("0.0.2", "_pocketflow_missing")


def test_releases_are_what_their_numbers_say() -> None:
    # `copy` leaves its notes on classes it has copied.
    own = {name: set(vars(variant(name).Flow)) - {"__slotnames__"} for name in ("0.0.1", "0.0.2", "0.0.3")}
    assert own["0.0.1"] ^ own["0.0.3"] == {"exec", "post", "start"}
    assert own["0.0.2"] == own["0.0.3"]
