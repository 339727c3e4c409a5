"""The spans of steps: visits, actions, and steps in one another and in threads."""

from __future__ import annotations

import asyncio
import enum
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pocketflow import AsyncFlow, AsyncNode, BatchNode, Flow, Node
from tests.support.scoped import ATTEMPTS, VISIT, Files, Flaky, Items, Step, Store, Support, events

from pocketflow_otel import Config
from pocketflow_otel.runtime.run_events import ActionUnmatched, AttemptFailed, BatchBegun, ItemUntraced
from pocketflow_otel.runtime.scope import scope_of
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pocketflow_otel.runtime.run_events import Event
    from pocketflow_otel.runtime.scope import Scope


NEXT = "pocketflow.node.next"


ACTION = "pocketflow.node.action"


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


def test_a_node_is_asked_for_no_attribute_that_pocketflow_does_not_ask_for() -> None:
    class Tells(Node):
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

        def exec(self, prep_res: object) -> None:
            if object.__getattribute__(self, "cur_retry") == 0:
                raise ConnectionError

    asked: list[str] = []
    Flow(start=Tells(max_retries=2)).run({})
    bare, asked = asked, []
    with capture_spans() as captured:
        Flow(start=Tells(max_retries=2)).run({})
    assert (asked, len(captured.spans)) == (bare, 2)


def test_a_node_on_its_own_leads_nowhere() -> None:
    step = Step("lost")
    step >> Step()
    with capture_spans() as captured, pytest.warns(UserWarning, match="won't run successors"):
        step.run({})
    span = captured.one("invoke_node Step")
    assert (events(span), captured.tree(VISIT, NEXT)) == ([], "invoke_node Step visit=1")


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
