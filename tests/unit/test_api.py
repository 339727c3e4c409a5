"""`using()` and `run_name()`: what a user says around a flow reaches its spans, and only those."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import _RUNTIME_CONTEXT, get_current
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node

from pocketflow_otel import run_name, using
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class Step(Node):
    pass


class Ask(Flow):
    def __init__(self) -> None:
        super().__init__(Step())


def said(span: ReadableSpan) -> dict[str, Any]:
    """Return what `using()` put on a span."""
    names = ("session.id", "user.id", "tag.tags", "metadata")
    assert span.attributes is not None
    return {name: span.attributes[name] for name in names if name in span.attributes}


def test_every_span_below_says_what_the_user_said() -> None:
    class Items(BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 2]

    with (
        capture_spans() as captured,
        using(
            session_id="chat-7", user_id="ada", tags=["beta", "eu"], metadata={"plan": "größer", "seats": 3}
        ),
    ):
        Flow(start=Items()).run({})
    everything = {
        "session.id": "chat-7",
        "user.id": "ada",
        "tag.tags": ("beta", "eu"),
        "metadata": '{"plan": "größer", "seats": 3}',
    }
    assert [(span.name.split()[0], said(span)) for span in captured.spans] == [
        ("batch_item", everything),
        ("batch_item", everything),
        ("invoke_node", everything),
        ("invoke_workflow", everything),
    ]


def test_nothing_is_said_outside_the_block() -> None:
    with capture_spans() as captured:
        Ask().run({})
        with using(user_id="ada"):
            pass
        Ask().run({})
    assert [said(span) for span in captured.spans] == [{}] * 4


def test_an_inner_block_adds_to_an_outer_one_and_wins() -> None:
    with capture_spans() as captured, using(session_id="chat-7", tags=["outer"]):
        with using(user_id="ada", tags=["inner"]):
            Step().run({})
        Step().run({})
    assert [said(span) for span in captured.spans] == [
        {"session.id": "chat-7", "user.id": "ada", "tag.tags": ("inner",)},
        {"session.id": "chat-7", "tag.tags": ("outer",)},
    ]


def test_a_block_within_a_step_reaches_what_runs_below() -> None:
    class Outer(Node):
        def exec(self, prep_res: Any) -> None:
            with using(user_id="ada"):
                Ask().run({})

    with capture_spans() as captured:
        Outer().run({})
    assert [(span.name, said(span)) for span in captured.spans] == [
        ("invoke_node Step", {"user.id": "ada"}),
        ("invoke_workflow Ask", {"user.id": "ada"}),
        ("invoke_node Outer", {}),
    ]


def test_tasks_of_one_gather_say_their_own() -> None:
    class Meet(AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            await together.wait()

    async def ask(user: str) -> None:
        with using(user_id=user):
            await AsyncFlow(start=Meet()).run_async({})

    async def main() -> None:
        global together
        together = asyncio.Barrier(2)
        await asyncio.gather(ask("ada"), ask("bob"))

    with capture_spans() as captured:
        asyncio.run(main())
    found = sorted((span.name.split()[0], said(span)["user.id"]) for span in captured.spans)
    assert found == [(name, user) for name in ("invoke_node", "invoke_workflow") for user in ("ada", "bob")]


def test_another_thread_says_nothing_of_it() -> None:
    with capture_spans() as captured, using(user_id="ada"), ThreadPoolExecutor(1) as pool:
        pool.submit(Step().run, {}).result()
    assert [said(span) for span in captured.spans] == [{}]


def test_an_empty_string_is_said_and_none_is_not() -> None:
    with capture_spans() as captured, using(session_id="", user_id=None, tags=[], metadata={}):
        Step().run({})
    assert said(captured.spans[0]) == {"session.id": "", "tag.tags": (), "metadata": "{}"}


@pytest.mark.parametrize(
    "wrong",
    [{"tags": "beta"}, {"metadata": {"when": object()}}, {"metadata": {("a", 1): 1}}],
    ids=["tags", "value", "key"],
)
def test_what_cannot_be_said_is_refused_at_once(wrong: dict[str, Any]) -> None:
    before = get_current()
    with pytest.raises(TypeError), using(**wrong):
        pass
    assert get_current() == before


def test_the_context_is_as_before_when_the_block_fails() -> None:
    before = get_current()
    with pytest.raises(ValueError, match="mine"), using(user_id="ada"), run_name("mine"):
        raise ValueError("mine")
    assert get_current() == before


def test_blocks_leave_the_current_span_alone() -> None:
    span = trace.get_current_span()
    with using(user_id="ada"), run_name("x"):
        assert trace.get_current_span() is span


def test_metadata_is_read_when_the_block_begins() -> None:
    metadata = {"n": 1}
    with capture_spans() as captured, using(metadata=metadata):
        metadata["n"] = 2
        Step().run({})
    assert json.loads(said(captured.spans[0])["metadata"]) == {"n": 1}


def test_a_run_is_named_and_nested_flows_keep_their_names() -> None:
    class Outer(Flow):
        pass

    with capture_spans() as captured, run_name("nightly"):
        Outer(start=Ask()).run({})
        Step().run({})
    assert captured.tree("gen_ai.workflow.name") == (
        "invoke_workflow nightly name=nightly\n"
        "  invoke_workflow Ask name=Ask\n"
        "    invoke_node Step\n"
        "invoke_node Step"
    )


def test_the_inner_name_of_a_run_wins() -> None:
    with capture_spans() as captured, run_name("outer"):
        with run_name("inner"):
            Ask().run({})
        Ask().run({})
    assert captured.tree() == (
        "invoke_workflow inner\n  invoke_node Step\ninvoke_workflow outer\n  invoke_node Step"
    )


@pytest.mark.parametrize("block", [lambda: using(session_id="chat-7"), lambda: run_name("a run")])
def test_what_comes_amid_the_end_of_a_block_is_not_swallowed_by_opentelemetry(
    block: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `detach` logs whatever is raised in it, and the context stays."""

    def raises(token: object) -> None:
        raise TimeoutError

    before = get_current()
    monkeypatch.setattr(_RUNTIME_CONTEXT, "detach", raises)
    with block():
        assert get_current() is not before
    assert get_current() is before
