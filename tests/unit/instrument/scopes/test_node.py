"""What the spans of flows, nodes and batch items say."""

from __future__ import annotations

import asyncio
import enum
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import (
    AsyncBatchNode,
    AsyncFlow,
    AsyncNode,
    AsyncParallelBatchFlow,
    AsyncParallelBatchNode,
    BatchFlow,
    BatchNode,
    Flow,
    Node,
)

from pocketflow_otel import Config, run_name
from pocketflow_otel.runtime.run_events import ActionUnmatched, AttemptFailed, BatchBegun, ItemUntraced
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.testing import START, TICK, capture_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.runtime.run_events import Event
    from pocketflow_otel.runtime.scope import Scope

Store = dict[str, Any]

VISIT = "pocketflow.node.visit"
NEXT = "pocketflow.node.next"
ACTION = "pocketflow.node.action"
ATTEMPTS = "pocketflow.node.attempts"
FALLBACK = "pocketflow.node.fallback"
INDEX = "pocketflow.batch.index"
SIZE = "pocketflow.batch.size"


class Step(Node):
    """Returns the actions it was given, one a visit."""

    def __init__(self, *actions: object, name: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.actions = list(actions)
        if name is not None:
            self.name = name

    def post(self, shared: Store, prep_res: object, exec_res: object) -> object:
        return self.actions.pop(0) if self.actions else None


class Flaky(Node):
    """Fails as often as it was told to."""

    def __init__(self, failures: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.failures = failures
        self.calls = 0

    def exec(self, prep_res: object) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"no answer to call {self.calls}")
        return "answer"


def events(span: ReadableSpan) -> list[tuple[str, dict[str, object]]]:
    """Return a span's events but for what names lines of code."""
    attributes = [dict(event.attributes or {}) for event in span.events]
    for own in attributes:
        own.pop("exception.stacktrace", None)
        own.pop("place", None)
    return [(event.name, own) for event, own in zip(span.events, attributes, strict=True)]


def test_a_loop_counts_visits_and_names_the_next_step() -> None:
    ask, check = Step(name="ask"), Step("again", "again", "done", name="check")
    ask >> check
    check - "again" >> ask
    check - "done" >> Step(name="say")
    with capture_spans() as captured:
        Flow(start=ask).run({})
    assert captured.tree(VISIT, ACTION, NEXT, "pocketflow.flow.steps").splitlines()[1:] == [
        "  invoke_node ask visit=1 action=default next=check",
        "  invoke_node check visit=1 action=again next=ask",
        "  invoke_node ask visit=2 action=default next=check",
        "  invoke_node check visit=2 action=again next=ask",
        "  invoke_node ask visit=3 action=default next=check",
        "  invoke_node check visit=3 action=done next=say",
        "  invoke_node say visit=1 action=default",
    ]
    assert captured.spans[-1].attributes is not None
    assert captured.spans[-1].attributes["pocketflow.flow.steps"] == 7


def test_all_a_flow_and_its_node_say() -> None:
    def create_greeting_flow() -> Flow:
        return Flow(start=Step("said", name="greet"))

    with capture_spans() as captured:
        create_greeting_flow().run({"who": "Ada"})
    flow, node = captured.one("invoke_workflow greeting_flow"), captured.one("invoke_node greet")
    assert dict(flow.attributes or {}) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "greeting_flow",
        "pocketflow.flow.class": "Flow",
        "pocketflow.flow.start_node": "greet",
        "pocketflow.flow.action": "said",
        "pocketflow.flow.steps": 1,
        "pocketflow.run.id": "20261122T193012Z-00000000",
        "pocketflow.shared.schema": '{"who":"str"}',
    }
    assert dict(node.attributes or {}) == {
        "gen_ai.operation.name": "invoke_node",
        "pocketflow.node.name": "greet",
        "pocketflow.node.class": "Step",
        "pocketflow.node.visit": 1,
        "pocketflow.node.max_retries": 1,
        "pocketflow.node.action": "said",
        "pocketflow.node.attempts": 1,
        "pocketflow.node.prep.duration": 0.001,
        "pocketflow.node.exec.duration": 0.001,
        "pocketflow.node.post.duration": 0.001,
        "pocketflow.shared.schema": '{"who":"str"}',
    }
    assert (flow.kind.name, flow.status.status_code.name, events(flow)) == ("INTERNAL", "UNSET", [])
    assert flow.instrumentation_scope is not None
    assert flow.instrumentation_scope.name == "pocketflow_otel"


class Decision(enum.StrEnum):
    AGAIN = "again"


class Colour(enum.Enum):
    RED = "red"


class Hashed:
    def __hash__(self) -> int:
        raise AssertionError("we asked a user's object for its hash")

    __eq__ = __bool__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("returned", "action", "following"),
    [
        (None, "default", "Default"),
        ("", "default", "Default"),
        ("again", "again", "Again"),
        (Decision.AGAIN, "again", "Again"),
        (0, "int", "Default"),
        (False, "bool", "Default"),
        (3, "int", "Three"),
        (b"x", "bytes", None),
        ("nowhere", "nowhere", None),
        ("end", "end", None),
    ],
)
def test_an_action_leads_where_pocketflow_goes(returned: object, action: str, following: str | None) -> None:
    class Default(Node):
        pass

    class Again(Node):
        pass

    class Three(Node):
        pass

    step = Step(returned, name="step")
    step >> Default()
    step - "again" >> Again()
    step.next(Three(), 3)
    step.next(None, "end")
    with capture_spans() as captured:
        Flow(start=step).run({})
    lines = captured.tree(ACTION, NEXT).splitlines()[1:]
    went = f"  invoke_node step action={action}"
    assert lines == (
        [f"{went} next={following}", f"  invoke_node {following} action=default"] if following else [went]
    )
    unmatched = [name for name, _ in events(captured.one("invoke_node step"))]
    assert unmatched == (["pocketflow.action.unmatched"] if action in ("nowhere", "bytes") else [])


def test_an_action_of_a_users_own_type_is_asked_for_nothing() -> None:
    class Plain(Flow):
        def get_next_node(self, curr: Node, action: object) -> None:
            return None

    step = Step(Hashed())
    step >> Step()
    red = Step(Colour.RED)
    red.next(Step(), Colour.RED)
    with capture_spans() as captured:
        Plain(start=step).run({})
        Plain(start=red).run({})
    assert captured.tree(ACTION, NEXT, "pocketflow.flow.action").splitlines() == [
        "invoke_workflow Plain action=Hashed",
        "  invoke_node Step action=Hashed",
        "invoke_workflow Plain action=Colour",
        "  invoke_node Step action=Colour",
    ]
    assert [events(span) for span in captured.spans] == [[]] * 4


def test_an_action_with_no_edge_is_told_with_those_there_are() -> None:
    step = Step("lost", name="step")
    step - "found" >> Step()
    step >> Step()
    with capture_spans() as captured:
        Flow(start=step).run({})
    assert events(captured.one("invoke_node step")) == [
        ("pocketflow.action.unmatched", {"action": "lost", "known": ("found", "default")})
    ]


def test_a_node_on_its_own_leads_nowhere() -> None:
    step = Step("lost")
    step >> Step()
    with capture_spans() as captured, pytest.warns(UserWarning, match="won't run successors"):
        step.run({})
    span = captured.one("invoke_node Step")
    assert (events(span), captured.tree(VISIT, NEXT)) == ([], "invoke_node Step visit=1")


def test_a_nested_flow_leads_on_as_a_node_does() -> None:
    inner = Flow(start=Step("lost"))
    inner.name = "inner"
    outer = Flow(start=inner)
    outer.name = "outer"
    inner - "found" >> Step()
    with capture_spans() as captured:
        outer.run({})
    assert captured.tree("pocketflow.flow.nested", "pocketflow.flow.action").splitlines() == [
        "invoke_workflow outer action=lost",
        "  invoke_workflow inner nested=True action=lost",
        "    invoke_node Step",
    ]
    assert events(captured.one("invoke_workflow inner")) == [
        ("pocketflow.action.unmatched", {"action": "lost", "known": ("found",)})
    ]


def test_an_async_node_in_a_sync_flow_fails_as_ever() -> None:
    class Later(AsyncNode):
        pass

    with capture_spans() as captured, pytest.raises(RuntimeError, match="Use run_async"):
        Flow(start=Later()).run({})
    span = captured.one("invoke_node Later")
    assert (span.status.description, [name for name, _ in events(span)]) == (
        "RuntimeError: Use run_async.",
        ["exception"],
    )


def create_qa_flow() -> Flow:
    return Flow(start=Step())


def _build_report() -> Flow:
    make = lambda: [Flow(start=Step()) for _ in range(1)]  # noqa: E731 - what is passed over
    return make().pop()


class Factory:
    def make_search(self) -> Flow:
        return Flow(start=Step())

    def __call__(self) -> Flow:
        return Flow(start=Step())

    def build(self) -> Flow:
        return Flow(start=Step())


class Support(Flow):
    pass


def main() -> Flow:
    return Flow(start=Step())


def named_flow() -> Flow:
    flow = Flow(start=Step())
    flow.name = "by hand"
    return flow


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (create_qa_flow, " qa_flow"),
        (_build_report, " report (Step)"),
        (Factory().make_search, " search"),
        (Factory().build, " test_node (Step)"),
        (lambda: Support(start=Step()), " Support"),
        (named_flow, " by hand"),
        (main, " test_node"),
        (functools.partial(eval, "Flow()", {"Flow": Flow, "__name__": "notebook"}), ""),
    ],
    ids=lambda value: value.strip() or "none" if isinstance(value, str) else "",
)
def test_a_flow_is_named_by_its_author(build: Callable[[], Flow], name: str) -> None:
    with capture_spans() as captured:
        build().run({})
    assert captured.tree().splitlines()[0] == f"invoke_workflow{name}"


def test_a_flow_built_before_tracing_has_a_name_which_is_not_its_class() -> None:
    flow = create_qa_flow()
    with capture_spans() as captured:
        flow.run({})
    assert captured.tree("gen_ai.workflow.name", "pocketflow.flow.class").splitlines() == [
        "invoke_workflow qa_flow name=qa_flow class=Flow",
        "  invoke_node Step",
    ]


def test_the_name_of_a_run_is_that_of_its_root_flow_alone() -> None:
    outer = Support(start=Support(start=Step()))
    with capture_spans() as captured, run_name("tuesday"):
        outer.run({})
    assert captured.tree().splitlines() == [
        "invoke_workflow tuesday",
        "  invoke_workflow Support",
        "    invoke_node Step",
    ]


def test_the_name_of_a_node_is_read_and_never_run() -> None:
    class Meta(type):
        @property
        def name(cls) -> str:
            raise AssertionError

    class OfMeta(Node, metaclass=Meta):
        pass

    class Property(Node):
        @property
        def name(self) -> str:
            raise AssertionError

    class Descriptor(Node):
        class name:
            def __get__(self, instance: object, owner: type) -> str:
                raise AssertionError

        name = name()  # type: ignore[assignment, misc]

    class OfClass(Node):
        name = "of the class"

    class Heir(OfClass):
        pass

    class Truthless:
        def __bool__(self) -> bool:
            raise AssertionError

    other, empty, long = Node(), Step(name=""), Step(name="x" * 200)
    other.name = Truthless()
    with capture_spans() as captured:
        for node in (OfMeta(), Property(), Descriptor(), OfClass(), Heir(), other, empty, long):
            node.run({})
    assert captured.tree().splitlines() == [
        "invoke_node OfMeta",
        "invoke_node Property",
        "invoke_node Descriptor",
        "invoke_node of the class",
        "invoke_node of the class",
        "invoke_node Node",
        "invoke_node Step",
        f"invoke_node {'x' * 127}…",
    ]


def test_a_start_node_is_not_asked_whether_it_is_true() -> None:
    class Sized(Node):
        asked = 0

        def __len__(self) -> int:
            Sized.asked += 1
            return 1

    def run() -> int:
        Sized.asked = 0
        Support(start=Sized()).run({})
        return Sized.asked

    bare = run()
    with capture_spans() as captured:
        assert run() == bare
    assert (
        captured.tree("pocketflow.flow.start_node").splitlines()[0]
        == "invoke_workflow Support start_node=Sized"
    )


def failed(attempt: int, most: int, *, wait: float) -> tuple[str, dict[str, object]]:
    return (
        "pocketflow.attempt.failed",
        {
            "attempt": attempt,
            "max": most,
            "phase": "exec",
            "wait_seconds": wait,
            "exception.type": "ConnectionError",
            "exception.message": f"no answer to call {attempt}",
        },
    )


def test_attempts_that_failed_are_told_and_the_node_is_no_error() -> None:
    with capture_spans() as captured:
        Flaky(2, max_retries=3, wait=0.001).run({})
    span = captured.one("invoke_node Flaky")
    assert (events(span), span.status.status_code.name, captured.tree(ATTEMPTS, FALLBACK)) == (
        [failed(1, 3, wait=0.001), failed(2, 3, wait=0.001)],
        "UNSET",
        "invoke_node Flaky attempts=3",
    )


def test_a_failed_attempt_is_told_at_the_time_it_failed() -> None:
    with capture_spans() as captured:
        Flaky(2, max_retries=3).run({})
    span = captured.one("invoke_node Flaky")
    assert [(event.timestamp - START) // TICK for event in span.events] == [3, 4]
    assert (span.end_time or 0) > span.events[-1].timestamp


def test_the_last_attempt_that_failed_is_the_error_itself() -> None:
    with capture_spans() as captured, pytest.raises(ConnectionError):
        Flaky(9, max_retries=2).run({})
    span = captured.one("invoke_node Flaky")
    assert events(span) == [
        failed(1, 2, wait=0.0),
        ("exception", {"exception.type": "ConnectionError", "exception.message": "no answer to call 2"}),
    ]


def test_a_fallback_takes_the_place_of_the_last_attempt() -> None:
    class Saved(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    class SavedLater(AsyncNode):
        async def exec_async(self, prep_res: object) -> str:
            raise ConnectionError("no answer to call 1")

        async def exec_fallback_async(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    with capture_spans() as captured:
        Saved(9, max_retries=2).run({})
        asyncio.run(SavedLater().run_async({}))
    assert captured.tree(ATTEMPTS, FALLBACK).splitlines() == [
        "invoke_node Saved attempts=2 fallback=True",
        "invoke_node SavedLater attempts=1 fallback=True",
    ]
    assert [events(span) for span in captured.spans] == [
        [failed(1, 2, wait=0.0), failed(2, 2, wait=0.0)],
        [failed(1, 1, wait=0.0)],
    ]
    assert {span.status.status_code.name for span in captured.spans} == {"UNSET"}


def test_what_failed_before_a_fallback_is_told_though_post_fails_too() -> None:
    class Saved(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

        def post(self, shared: Store, prep_res: object, exec_res: str) -> None:
            raise ValueError(exec_res)

    with capture_spans() as captured, pytest.raises(ValueError, match="no idea"):
        Saved(9).run({})
    assert events(captured.one("invoke_node Saved")) == [
        failed(1, 1, wait=0.0),
        ("exception", {"exception.type": "ValueError", "exception.message": "no idea"}),
    ]


def test_many_attempts_are_all_counted_and_the_first_and_the_last_told() -> None:
    with capture_spans() as captured:
        Flaky(99, max_retries=100).run({})
    span = captured.one("invoke_node Flaky")
    told = [attributes["attempt"] for _, attributes in events(span)]
    assert (captured.tree(ATTEMPTS), told) == ("invoke_node Flaky attempts=100", [*range(1, 32), 99])


def test_an_exec_that_calls_itself_or_its_parent_is_one_attempt() -> None:
    class Parent(Node):
        def exec(self, prep_res: object) -> int:
            return 1

    class Child(Parent):
        def exec(self, prep_res: object) -> int:
            return super().exec(prep_res) if prep_res == "inner" else self.exec("inner")

        def post(self, shared: Store, prep_res: object, exec_res: int) -> None:
            self.exec("inner")

    with capture_spans() as captured:
        Child().run({})
    assert captured.tree(ATTEMPTS) == "invoke_node Child attempts=1"


class Items(BatchNode):
    """Fails at the items its store names."""

    def prep(self, shared: Store) -> Any:
        self.bad = shared.get("bad", ())
        return shared["items"]

    def exec(self, prep_res: int) -> int:
        if prep_res in self.bad:
            raise ValueError(f"bad item {prep_res}")
        return prep_res


class ParallelItems(AsyncParallelBatchNode):
    async def prep_async(self, shared: Store) -> Any:
        self.bad = shared.get("bad", ())
        return shared["items"]

    async def exec_async(self, prep_res: int) -> int:
        await asyncio.sleep(0)
        if prep_res in self.bad:
            self.bad = [item for item in self.bad if item != prep_res]
            raise ConnectionError("no answer to call 1")
        return prep_res


def test_each_item_is_a_span_and_the_node_says_how_many() -> None:
    with capture_spans() as captured:
        Items().run({"items": [10, 20]})
    assert captured.tree(INDEX, SIZE, "pocketflow.batch.mode", ATTEMPTS).splitlines() == [
        "invoke_node Items size=2 mode=sequential",
        "  batch_item index=0 size=2 attempts=1",
        "  batch_item index=1 size=2 attempts=1",
    ]


@pytest.mark.parametrize(
    ("items", "size"),
    [
        ([], " size=0"),
        (None, " size=0"),
        ((), " size=0"),
        ({}, " size=0"),
        (range(0), " size=0"),
        (iter([]), ""),
        (type("Own", (list,), {"__len__": lambda self: 1 / 0, "__bool__": lambda self: False})(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_built_in_batch_is_asked_for_its_size(items: object, size: str) -> None:
    with capture_spans() as captured:
        Items().run({"items": items})
    assert captured.tree(SIZE) == f"invoke_node Items{size}"


def test_each_parallel_item_has_attempts_of_its_own() -> None:
    with capture_spans() as captured:
        asyncio.run(ParallelItems(max_retries=2).run_async({"items": [1, 2, 3], "bad": [1, 3]}))
    assert captured.tree("pocketflow.batch.mode", INDEX, ATTEMPTS).splitlines() == [
        "invoke_node ParallelItems mode=parallel",
        "  batch_item index=0 attempts=2",
        "  batch_item index=1 attempts=1",
        "  batch_item index=2 attempts=2",
    ]
    assert [len(span.events) for span in captured.named("batch_item")] == [0, 1, 1]


def test_items_beyond_the_limit_are_counted_and_failed_ones_still_have_spans() -> None:
    with capture_spans(Config(max_batch_items=2)) as captured:
        Items().run({"items": [1, 2, 3, 4]})
        with pytest.raises(ValueError, match="bad item 4"):
            Items(max_retries=2).run({"items": [1, 2, 3, 4], "bad": [4]})
    assert captured.tree(SIZE, INDEX, "pocketflow.batch.untraced_items", ATTEMPTS).splitlines() == [
        "invoke_node Items size=4 untraced_items=2",
        "  batch_item size=4 index=0 attempts=1",
        "  batch_item size=4 index=1 attempts=1",
        "invoke_node Items size=4 untraced_items=1",
        "  batch_item size=4 index=0 attempts=1",
        "  batch_item size=4 index=1 attempts=1",
        "  batch_item size=4 index=3 attempts=2",
    ]
    late = captured.named("batch_item")[-1]
    assert [name for name, _ in events(late)] == ["pocketflow.attempt.failed", "exception"]
    assert (late.start_time or 0) < late.events[0].timestamp < (late.end_time or 0)


def test_no_items_are_traced_where_none_are_wanted_and_what_is_below_belongs_to_the_node() -> None:
    class Calls(Items):
        def exec(self, prep_res: int) -> int:
            Step().run({})
            return prep_res

    with capture_spans(Config(max_batch_items=0)) as captured:
        Calls().run({"items": [1, 2]})
    assert captured.tree("pocketflow.batch.untraced_items").splitlines() == [
        "invoke_node Calls untraced_items=2",
        "  invoke_node Step",
        "  invoke_node Step",
    ]


class Files(BatchFlow):
    def prep(self, shared: Store) -> Any:
        return shared["rounds"]


class ParallelFiles(AsyncParallelBatchFlow):
    async def prep_async(self, shared: Store) -> Any:
        return shared["rounds"]


def test_each_round_is_a_span_with_the_names_of_its_params() -> None:
    flow = Files(start=Step())
    flow.set_params({"lang": "en"})
    with capture_spans() as captured:
        flow.run({"rounds": [{"file": "a"}, {}]})
    assert captured.tree(
        SIZE, INDEX, "pocketflow.params.keys", VISIT, "pocketflow.flow.steps"
    ).splitlines() == [
        "invoke_workflow Files size=2 steps=2",
        "  batch_item size=2 index=0 keys=('lang', 'file')",
        "    invoke_node Step visit=1",
        "  batch_item size=2 index=1 keys=('lang',)",
        "    invoke_node Step visit=1",
    ]


def test_parallel_rounds_are_told_apart() -> None:
    class Pause(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.sleep(0)

    with capture_spans() as captured:
        asyncio.run(ParallelFiles(start=Pause()).run_async({"rounds": [{"n": 1}, {"n": 2}]}))
    assert captured.tree("pocketflow.batch.mode", SIZE, INDEX, VISIT).splitlines() == [
        "invoke_workflow ParallelFiles mode=parallel size=2",
        "  batch_item size=2 index=0",
        "    invoke_node Pause visit=1",
        "  batch_item size=2 index=1",
        "    invoke_node Pause visit=1",
    ]


def test_rounds_beyond_the_limit_still_tell_of_their_nodes() -> None:
    with capture_spans(Config(max_batch_items=1)) as captured:
        Files(start=Step()).run({"rounds": [{}, {}]})
    assert captured.tree(INDEX, "pocketflow.batch.untraced_items", "pocketflow.flow.steps").splitlines() == [
        "invoke_workflow Files untraced_items=1 steps=2",
        "  batch_item index=0",
        "    invoke_node Step",
        "  invoke_node Step",
    ]


def test_a_batch_of_batches_nests() -> None:
    class Inner(AsyncBatchNode):
        async def prep_async(self, shared: Store) -> list[int]:
            return [1]

    with capture_spans() as captured:
        asyncio.run(ParallelFiles(start=ParallelFiles(start=Inner())).run_async({"rounds": [{}]}))
    assert captured.tree("pocketflow.flow.steps").splitlines() == [
        "invoke_workflow ParallelFiles steps=1",
        "  batch_item",
        "    invoke_workflow ParallelFiles steps=1",
        "      batch_item",
        "        invoke_node Inner",
        "          batch_item",
    ]


def test_a_node_may_run_itself_again_from_exec_or_post() -> None:
    class Recursive(Node):
        def prep(self, shared: Store) -> Store:
            return shared

        def exec(self, prep_res: Store) -> None:
            if prep_res["exec"]:
                prep_res["exec"] -= 1
                self.run(prep_res)

        def post(self, shared: Store, prep_res: Store, exec_res: object) -> None:
            if shared["post"]:
                shared["post"] -= 1
                self.run(shared)

    with capture_spans() as captured:
        Recursive().run({"exec": 2, "post": 0})
        Recursive().run({"exec": 0, "post": 2})
    nested = [
        "invoke_node Recursive attempts=1",
        "  invoke_node Recursive attempts=1",
        "    invoke_node Recursive attempts=1",
    ]
    assert captured.tree(ATTEMPTS).splitlines() == nested * 2


def test_an_override_of_run_may_be_passed_by_in_exec() -> None:
    class Sidesteps(Node):
        def _run(self, shared: Store) -> object:
            self.shared = shared
            return super()._run(shared)

        def exec(self, prep_res: object) -> None:
            if self.shared.pop("again", False):
                super()._run(self.shared)

    with capture_spans() as captured:
        Sidesteps().run({"again": True})
    assert captured.tree(ATTEMPTS).splitlines() == [
        "invoke_node Sidesteps attempts=1",
        "  invoke_node Sidesteps attempts=1",
    ]


def test_a_flow_may_run_itself_again_from_its_post() -> None:
    class Again(Flow):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            if shared.pop("again", False):
                self.run(shared)

    with capture_spans() as captured:
        Again(start=Step()).run({"again": True})
    assert captured.tree("pocketflow.flow.steps").splitlines() == [
        "invoke_workflow Again steps=2",
        "  invoke_node Step",
        "  invoke_workflow Again steps=1",
        "    invoke_node Step",
    ]


def test_a_flow_run_inside_a_node_on_a_store_of_its_own_belongs_to_the_node() -> None:
    class Writes(Node):
        def post(self, shared: Store, prep_res: object, exec_res: object) -> None:
            shared["written"] = 1

    class Runs(Node):
        def exec(self, prep_res: object) -> None:
            Support(start=Writes()).run({"own": 1})

    with capture_spans() as captured:
        Support(start=Runs()).run({"outer": 1})
    assert captured.tree(
        "pocketflow.flow.nested", "pocketflow.shared.schema", "pocketflow.shared.added.keys", VISIT
    ).splitlines() == [
        'invoke_workflow Support schema={"outer":"int"}',
        '  invoke_node Runs schema={"outer":"int"} visit=1',
        '    invoke_workflow Support nested=True schema={"own":"int"} keys=(\'written\',)',
        '      invoke_node Writes schema={"own":"int"} keys=(\'written\',) visit=1',
    ]


def test_one_node_run_by_several_threads_at_once_is_told_apart() -> None:
    class Meets(Node):
        def exec(self, prep_res: object) -> None:
            barrier.wait()

    barrier, node = threading.Barrier(3, timeout=10), Meets()
    with capture_spans(fixed=False) as captured, ThreadPoolExecutor(3) as pool:
        list(pool.map(node.run, [{}, {}, {}]))
    assert captured.tree(ATTEMPTS).splitlines() == ["invoke_node Meets attempts=1"] * 3
    run_ids = {(span.attributes or {})["pocketflow.run.id"] for span in captured.spans}
    assert (len(run_ids), len({span.context.trace_id for span in captured.spans})) == (3, 3)


def test_a_thread_that_lost_the_context_makes_runs_of_its_own() -> None:
    class Spreads(Node):
        def prep(self, shared: Store) -> Store:
            return shared

        def exec(self, prep_res: Store) -> None:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(Support(start=Step()).run, prep_res).result()

    with capture_spans() as captured:
        Support(start=Spreads()).run({})
    assert captured.tree("pocketflow.flow.nested").splitlines() == [
        "invoke_workflow Support",
        "  invoke_node Spreads",
        "invoke_workflow Support",
        "  invoke_node Step",
    ]


def test_a_thread_that_kept_the_context_stays_in_the_run() -> None:
    class Spreads(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.to_thread(Support(start=Step()).run, {})

    with capture_spans() as captured:
        asyncio.run(AsyncFlow(start=Spreads()).run_async({}))
    assert captured.tree().splitlines()[1:] == [
        "  invoke_node Spreads",
        "    invoke_workflow Support",
        "      invoke_node Step",
    ]


def test_runs_side_by_side_do_not_mix() -> None:
    class Pause(AsyncNode):
        async def exec_async(self, prep_res: object) -> None:
            await asyncio.sleep(0)

    class Talk(AsyncFlow):
        pass

    async def main() -> None:
        flow = Talk(start=Pause())
        await asyncio.gather(flow.run_async({}), flow.run_async({}))

    with capture_spans() as captured:
        asyncio.run(main())
    assert (
        captured.tree(VISIT, "pocketflow.flow.steps").splitlines()
        == [
            "invoke_workflow Talk steps=1",
            "  invoke_node Pause visit=1",
        ]
        * 2
    )
    run_ids = [
        (span.attributes or {})["pocketflow.run.id"] for span in captured.named("invoke_workflow Talk")
    ]
    assert run_ids == ["20261122T193012Z-00000000"] * 2  # The clock and the ids are fixed here.


def test_nested_flows_carry_the_id_of_their_run() -> None:
    with capture_spans(fixed=False) as captured:
        Support(start=Support(start=Step())).run({})
    inner, outer = captured.named("invoke_workflow Support")
    assert (inner.attributes or {})["pocketflow.run.id"] == (outer.attributes or {})["pocketflow.run.id"]
    assert str((outer.attributes or {})["pocketflow.run.id"])[17:] == f"{outer.context.span_id:016x}"[:8]


def test_a_flow_without_a_start_says_so_by_having_none() -> None:
    with capture_spans() as captured:
        Support().run({})
    assert captured.tree("pocketflow.flow.start_node", "pocketflow.flow.steps") == (
        "invoke_workflow Support steps=0"
    )


@pytest.mark.parametrize("successors", [None, [], "text"], ids=lambda value: type(value).__name__)
def test_a_node_with_strange_successors_is_traced(successors: object) -> None:
    class Strange(Node):
        def __init__(self) -> None:
            super().__init__()
            self.successors = successors

    class Ends(Flow):
        def get_next_node(self, curr: Node, action: object) -> None:
            return None

    with capture_spans() as captured:
        Ends(start=Strange()).run({})
    assert captured.tree(VISIT).splitlines() == ["invoke_workflow Ends", "  invoke_node Strange visit=1"]


def test_what_happens_inside_a_step_is_published() -> None:
    class Watched(Node):
        def prep(self, shared: Store) -> None:
            scope = scope_of()
            assert scope is not None
            scope.run.observe(lambda scope, event: seen.append((scope.kind, event)))

    class Saved(Flaky):
        def exec_fallback(self, prep_res: object, exc: Exception) -> str:
            return "no idea"

    seen: list[tuple[str, Event]] = []
    watched, saved, items = Watched(), Saved(9, max_retries=2, wait=0.001), Items()
    watched >> saved >> items
    items - "never" >> Step()
    with capture_spans(Config(max_batch_items=1)):
        Support(start=watched).run({"items": [1, 2]})

    def failure(attempt: int, wait: float) -> AttemptFailed:
        message, place = f"no answer to call {attempt}", seen[attempt - 1][1].place  # type: ignore[union-attr]
        return AttemptFailed(attempt, 2, "ConnectionError", message, wait, place)

    assert seen == [
        ("node", failure(1, 0.001)),
        ("node", failure(2, 0.0)),
        ("node", BatchBegun(2, parallel=False)),
        ("item", ItemUntraced()),
        ("node", ActionUnmatched("default", ("never",))),
    ]


def test_a_step_knows_what_it_runs_in() -> None:
    def chain(scope: Scope | None) -> list[str]:
        return [] if scope is None else [*chain(scope.parent), f"{scope.kind} {type(scope.owner).__name__}"]

    class Looks(BatchNode):
        def prep(self, shared: Store) -> list[int]:
            return [1]

        def exec(self, prep_res: int) -> None:
            seen.extend(chain(scope_of()))

    seen: list[str] = []
    with capture_spans():
        Files(start=Looks()).run({"rounds": [{}]})
        assert scope_of() is None
    assert seen == ["flow Files", "item Files", "node Looks", "item Looks"]
