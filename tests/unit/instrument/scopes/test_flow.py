"""The spans of flows: nested flows, and flows that run side by side."""

from __future__ import annotations

import asyncio

from pocketflow import AsyncFlow, AsyncNode, Flow, Node
from tests.support.scoped import VISIT, Step, Store, Support, events

from pocketflow_otel import run_name
from pocketflow_otel.testing import capture_spans


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


def test_the_name_of_a_run_is_that_of_its_root_flow_alone() -> None:
    outer = Support(start=Support(start=Step()))
    with capture_spans() as captured, run_name("tuesday"):
        outer.run({})
    assert captured.tree().splitlines() == [
        "invoke_workflow tuesday",
        "  invoke_workflow Support",
        "    invoke_node Step",
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
