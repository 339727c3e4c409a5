"""Titles are kept beside flows, as long as those live, and for their copies."""

from __future__ import annotations

import copy
import gc

from pocketflow import Flow, Node

from pocketflow_otel.instrument.built_titles import _titles, keep_title, title_of


def title(flow: Flow) -> str:
    return title_of(vars(flow))[0]


def test_a_copy_has_the_title_of_the_flow_it_was_made_of() -> None:
    flow = Flow(start=Node())
    keep_title(flow, ("qa", True))
    assert (title(flow), title(copy.copy(flow)), title(copy.deepcopy(flow))) == ("qa", "qa", "")


def test_a_flow_that_has_no_title_gets_none_of_one_that_is_gone() -> None:
    gone = Flow(start=Node())
    keep_title(gone, ("gone", True))
    kept = vars(gone)["successors"]
    del gone
    gc.collect()
    late = Flow(start=Node())
    late.successors = kept  # As where the new dict has the old one's identity.
    assert title(late) == ""


def test_flows_that_are_gone_are_forgotten_and_others_are_not() -> None:
    lasting = [Flow(start=Node()) for _ in range(10)]
    for number, flow in enumerate(lasting):
        keep_title(flow, (str(number), True))
    for _ in range(1_000):
        keep_title(Flow(start=Node()), ("short", True))
    assert [title(flow) for flow in lasting] == [str(number) for number in range(10)]
    assert sum(flow() is None for flow, _ in _titles.values()) <= 2
