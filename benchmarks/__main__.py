"""Measure what tracing costs, and print it beside the aims: `python -m benchmarks`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.flows import (
    bare,
    by_hand,
    chain,
    chat_on,
    chat_store,
    count_up,
    instrumented,
    plain_store,
    sdk,
    spans,
)
from benchmarks.measure import measure, of_children
from benchmarks.pflow import WITHOUT_OURS, pflow, workflow
from benchmarks.pflow import instrumented as instrumented_pflow

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 100
"""Steps of a flow, where the flow's own span must not count."""
USUAL = 20
"""Steps of a flow, where it may."""


class Row(NamedTuple):
    """One comparison: the CPU time per step of both sides in µs, what comes of it, and the aim."""

    what: str
    ours: float
    other: float
    result: str
    aim: str = ""


def a_traced_step(rounds: int) -> Iterator[Row]:
    """Compare a step with a span of the SDK that says the same: alone, and around a bare step."""
    provider = sdk()
    tracer = provider.get_tracer("by hand")
    timed = measure(
        rounds,
        steps=LONG,
        step=chain(instrumented(provider), LONG, plain_store(10), count_up),
        bare=chain(bare(), LONG, plain_store(10), count_up),
        span=spans(tracer, LONG),
        by_hand=chain(by_hand(tracer), LONG, plain_store(10), count_up),
    )
    step, span = timed.time("step"), timed.time("span")
    yield Row("traced step / SDK span", step, span, f"× {timed.ratio('step', 'span'):.2f}")
    yield Row(
        "(traced − bare step) / SDK span",
        timed.difference("step", "bare"),
        span,
        f"× {timed.median(lambda t: (t['step'] - t['bare']) / t['span']):.2f}",
        "× 1.5",
    )
    yield Row(
        "traced step / step with a span by hand",
        step,
        timed.time("by_hand"),
        f"× {timed.ratio('step', 'by_hand'):.2f}",
    )


def without_an_sdk(rounds: int) -> Iterator[Row]:
    """Compare instrumented flows, while no provider is set, with bare ones."""
    timed = measure(
        10 * rounds,
        steps=USUAL,
        step=chain(instrumented(None), USUAL, plain_store(10), count_up),
        bare=chain(bare(), USUAL, plain_store(10), count_up),
    )
    difference = timed.difference("step", "bare")
    yield Row(
        "step without an SDK − bare step",
        timed.time("step"),
        timed.time("bare"),
        f"+ {difference:.2f} µs",
        "+ 1 µs",
    )


def large_stores(rounds: int) -> Iterator[Row]:
    """Compare steps on large stores with steps on a store of 10 keys."""
    module = instrumented(sdk())
    timed = measure(
        rounds,
        steps=LONG,
        small=chain(module, LONG, plain_store(10), count_up),
        keys_1000=chain(module, LONG, plain_store(1_000), count_up),
        keys_10000=chain(module, LONG, plain_store(10_000), count_up),
        chat=chain(module, LONG, chat_store(50), chat_on),
    )
    for what, large, aim in (
        ("1,000 keys / 10 keys", "keys_1000", "× 1.6"),
        ("10,000 keys / 10 keys", "keys_10000", ""),
        ("a chat of 50 messages / 10 plain keys", "chat", ""),
    ):
        ratio = f"× {timed.ratio(large, 'small'):.2f}"
        yield Row(what, timed.time(large), timed.time("small"), ratio, aim)


def pflow_processes(rounds: int) -> Iterator[Row]:
    """Compare processes of pflow with and without us: one that only starts, one that runs a workflow."""
    timed = measure(
        max(rounds // 5, 1),  # A round takes five seconds.
        steps=1000,  # ms
        clock=of_children,
        ours=instrumented_pflow("--version"),
        without=instrumented_pflow("--version", **WITHOUT_OURS),
        bare=pflow("--version"),
        run=instrumented_pflow("run", workflow()),
        run_bare=pflow("run", workflow()),
    )
    for what, ours, other in (
        ("pflow --version: launcher with / without ours", "ours", "without"),
        ("pflow --version: launcher with ours / bare", "ours", "bare"),
        ("pflow run, 20 steps: launcher with ours / bare", "run", "run_bare"),
    ):
        yield Row(what, timed.time(ours), timed.time(other), f"+ {timed.difference(ours, other):.0f} ms")


def main() -> None:
    """Run the comparisons; print a line for each row."""
    parser = ArgumentParser(prog="python -m benchmarks", description="Measure what tracing costs.")
    parser.add_argument("--rounds", type=int, default=50, help="of each comparison (default: 50)")
    rounds = parser.parse_args().rounds
    line = "{:<48}{:>8}{:>10}{:>12}{:>10}".format
    for unit, comparisons in (
        ("CPU time per step in µs", (a_traced_step, without_an_sdk, large_stores)),
        ("CPU time per process in ms", (pflow_processes,)),
    ):
        print(line(unit, "ours", "other", "result", "at most"))
        for comparison in comparisons:
            for row in comparison(rounds):
                print(line(row.what, f"{row.ours:.1f}", f"{row.other:.1f}", row.result, row.aim), flush=True)


if __name__ == "__main__":
    main()
