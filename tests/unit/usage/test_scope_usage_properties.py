"""Random programs whose steps tell of calls in every way, against a ledger that is told of each once.

Every call has twice the tokens of the one before, so that no sum of some equals another's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.support.effort import examples

from pocketflow_otel import Config, record_usage
from pocketflow_otel.testing import capture_spans
from pocketflow_otel.usage.payloads import Usage, read_usage
from pocketflow_otel.usage.store_usage import CountedUsages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from pocketflow_otel.testing import CapturedSpans

MODEL = "gpt-4o-mini"
MOST_CALLS = 36

Sums = tuple[int, int, int]
"""Calls, tokens in, tokens out."""

# How a step tells of its calls: on spans of clients, to `record_usage`, in its store.
STEP_WAYS = ("c", "r", "s", "cr", "cs", "rs", "crs")
BATCH_WAYS = ("c", "r", "s", "cr", "cs")
STORING = ("fresh", "append", "add")
CLIENTS = ("plain", "plain", "late", "framed", "double")


@dataclass(frozen=True)
class StepSpec:
    """A node. `items`: how many a batch node has; `inner`: the flow it runs on a store of its own."""

    calls: int
    ways: str
    storing: str
    fails_first: bool = False
    items: int | None = None
    inner: FlowSpec | None = None
    hands_up: bool = False


@dataclass(frozen=True)
class FlowSpec:
    """A flow of steps and flows. `rounds`: how many a batch flow has."""

    members: tuple[StepSpec | FlowSpec, ...]
    rounds: int | None = None


@dataclass(frozen=True)
class Program:
    root: FlowSpec
    asynchronous: bool
    clients: str
    max_items: int


@st.composite
def programs(draw: st.DrawFn) -> Program:
    def step(depth: int) -> StepSpec:
        items = draw(st.sampled_from([None, None, None, 0, 2]))
        inner = flow(depth + 1) if items is None and depth < 2 and draw(st.integers(0, 4)) == 0 else None
        return StepSpec(
            calls=draw(st.sampled_from([0, 1, 1, 2])) if inner is None else 0,
            ways=draw(st.sampled_from(STEP_WAYS if items is None else BATCH_WAYS)),
            storing=draw(st.sampled_from(STORING)),
            fails_first=items is None and inner is None and draw(st.integers(0, 5)) == 0,
            items=items,
            inner=inner,
            hands_up=draw(st.booleans()),
        )

    def flow(depth: int) -> FlowSpec:
        size = draw(st.integers(1, 4 if depth == 0 else 2))
        members = [
            flow(depth + 1) if depth < 2 and draw(st.integers(0, 4)) == 0 else step(depth)
            for _ in range(size)
        ]
        return FlowSpec(tuple(members), draw(st.sampled_from([None, None, None, 2])))

    return Program(
        flow(0),
        draw(st.booleans()),
        draw(st.sampled_from(CLIENTS)),
        draw(st.sampled_from([200, 200, 1, 0])),
    )


def steps(spec: FlowSpec | StepSpec) -> Iterator[StepSpec]:
    if isinstance(spec, StepSpec):
        yield spec
        if spec.inner is not None:
            yield from steps(spec.inner)
    else:
        for member in spec.members:
            yield from steps(member)


@dataclass
class Ledgers:
    """What was really used: by each step, and altogether."""

    steps: dict[str, list[Sums]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    def call(self) -> tuple[int, int]:
        self.count += 1
        return 2 ** (self.count % MOST_CALLS), 2 ** (self.count % MOST_CALLS) + 1

    @property
    def total(self) -> Sums:
        return add(each for told in self.steps.values() for each in told)


def add(sums: Any) -> Sums:
    calls, tokens, output = (sum(column) for column in zip((0, 0, 0), *sums, strict=True))
    return calls, tokens, output


class Performance:
    """Builds a program, and runs it; its nodes tell of their calls, and write them down."""

    def __init__(self, program: Program, captured: CapturedSpans) -> None:
        self.program = program
        self.captured = captured
        self.ledger = Ledgers()
        self.names = (f"n{number}" for number in range(1000))

    def run(self) -> None:
        flow = self.flow(self.program.root)
        flow.name = "root"
        shared: dict[str, Any] = {"llm_usage": {"prompt_tokens": 5}, "left": "by an earlier run"}
        if self.program.asynchronous:
            asyncio.run(flow.run_async(shared))
        else:
            flow.run(shared)

    def flow(self, spec: FlowSpec) -> Any:
        prefix = "Async" if self.program.asynchronous else ""
        kind = f"{prefix}{'' if spec.rounds is None else 'Parallel' * bool(prefix) + 'Batch'}Flow"
        members = [
            self.flow(member) if isinstance(member, FlowSpec) else self.node(member)
            for member in spec.members
        ]
        for before, after in pairwise(members):
            before >> after
        params = [{"round": number} for number in range(spec.rounds or 0)]

        class Made(getattr(pocketflow, kind)):  # type: ignore[misc]
            def prep(self, shared: Any) -> Any:
                return params

            async def prep_async(self, shared: Any) -> Any:
                return params

            def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None: ...

            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None: ...

        return Made(start=members[0])

    def node(self, spec: StepSpec) -> Any:
        performance, name = self, next(self.names)
        prefix = "Async" if self.program.asynchronous else ""
        batch = "" if spec.items is None else "Batch"
        inner = None if spec.inner is None else self.flow(spec.inner)
        if inner is not None:
            inner.name = "inner"

        class Made(getattr(pocketflow, f"{prefix}{batch}Node")):  # type: ignore[misc]
            def prep(self, shared: Any) -> Any:
                self.told: list[tuple[int, int]] = []
                self.streams: list[Any] = []
                self.tries = 0
                return range(spec.items or 0)

            def exec(self, item: Any) -> Any:
                self.tries += 1
                for _ in range(spec.calls):
                    self.told.append(performance.call(spec.ways, self.streams))
                    if spec.fails_first and self.tries == 1:
                        raise ConnectionError
                if inner is not None:
                    below: dict[str, Any] = {}
                    inner.run(below)
                    return below.get("llm_usage")
                return None

            def post(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
                for stream in self.streams:
                    stream.close()
                if inner is not None and spec.hands_up and exec_res is not None:
                    shared["llm_usage"] = exec_res
                if self.told:
                    performance.tell(name, spec, shared, self.told)

            async def prep_async(self, shared: Any) -> Any:
                return self.prep(shared)

            async def exec_async(self, item: Any) -> Any:
                await asyncio.sleep(0)
                if inner is None:
                    return self.exec(item)
                below: dict[str, Any] = {}
                await inner.run_async(below)
                return below.get("llm_usage")

            async def post_async(self, shared: Any, prep_res: Any, exec_res: Any) -> None:
                self.post(shared, prep_res, exec_res)

        made = Made(max_retries=2)
        made.name = name
        return made

    def call(self, ways: str, streams: list[Any]) -> tuple[int, int]:
        tokens, output = counts = self.ledger.call()
        if "c" in ways:
            self.client(tokens, output, streams)
        if "r" in ways:
            record_usage(usage(tokens, output))
        return counts

    def client(self, tokens: int, output: int, streams: list[Any]) -> None:
        """Make the spans that instrumentations of clients make of a call."""
        style = self.program.clients
        attributes = {
            "gen_ai.response.model": MODEL,
            "gen_ai.usage.input_tokens": tokens,
            "gen_ai.usage.output_tokens": output,
        }
        tracers = [self.captured.provider.get_tracer(name) for name in ("some.client", "another")]
        with ExitStack() as stack:
            if style == "framed":  # It has counted for itself, and a little otherwise.
                its_own = {**attributes, "gen_ai.usage.input_tokens": tokens + 1}
                stack.enter_context(tracers[1].start_as_current_span("agent", attributes=its_own))
            spans = [tracer.start_span("chat") for tracer in tracers[: 1 + (style == "double")]]
            ending = ExitStack()
            for span in spans:
                span.set_attributes(attributes)
                ending.callback(span.end)
            if style == "late":
                streams.append(ending)
            else:
                ending.close()

    def tell(self, name: str, spec: StepSpec, shared: Any, told: list[tuple[int, int]]) -> None:
        """Write usage to the store, if that is the step's way, and write down what was used."""
        tokens, output = (sum(column) for column in zip(*told, strict=True))
        calls = len(told)
        if "s" in spec.ways:
            before = shared.get("llm_usage")
            if spec.storing == "add":
                if not isinstance(before, dict):
                    before = shared["llm_usage"] = usage(0, 0)
                before["prompt_tokens"] = before.get("prompt_tokens", 0) + tokens
                before["completion_tokens"] = before.get("completion_tokens", 0) + output
                before["model"] = MODEL
                if "r" not in spec.ways:
                    calls = 1  # A sum is all that the step tells.
            elif spec.storing == "append" and isinstance(before, list):
                before += [usage(*counts) for counts in told]
            else:
                fresh = [usage(*counts) for counts in told]
                shared["llm_usage"] = fresh[0] if len(fresh) == 1 and spec.storing == "fresh" else fresh
        self.ledger.steps[name].append((calls, tokens, output))


def usage(tokens: int, output: int) -> dict[str, Any]:
    return {"prompt_tokens": tokens, "completion_tokens": output, "model": MODEL}


def sums(span: ReadableSpan) -> Sums:
    said = span.attributes or {}
    calls, tokens, output = (
        said.get(f"pocketflow.usage.{name}", 0) for name in ("calls", "input_tokens", "output_tokens")
    )
    return calls, tokens, output  # type: ignore[return-value]


@given(programs())
def test_every_call_counts_once(program: Program) -> None:
    with capture_spans(Config(max_batch_items=program.max_items)) as captured:
        performance = Performance(program, captured)
        performance.run()
    ledger = performance.ledger
    if ledger.count >= MOST_CALLS:
        event("too many calls to tell sums apart")
        return
    event(f"{min(ledger.count, 9)} calls")

    root = captured.one("invoke_workflow root")
    assert sums(root) == ledger.total
    cost = (root.attributes or {}).get("pocketflow.cost.usd", 0)
    assert cost == pytest.approx((ledger.total[1] * 0.15 + ledger.total[2] * 0.60) / 1e6)

    one_after_the_other = not program.asynchronous
    if one_after_the_other:  # Else steps that overlap count what they find between them.
        for name, told in ledger.steps.items():
            assert [
                found for span in captured.named(f"invoke_node {name}") if any(found := sums(span))
            ] == told

    # Some programs say it twice: a framework's span, a second instrumentation's, a stream
    # that ends after the item that told of it.
    recording_items = any("r" in each.ways and each.items for each in steps(program.root))
    if program.clients == "plain" or (program.clients == "late" and not recording_items):
        names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        seen = [sum((span.attributes or {}).get(name, 0) for span in captured.spans) for name in names]
        assert tuple(seen) == ledger.total[1:]


COUNTS = st.integers(0, 10**6)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "usage", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens",
                    "total_tokens", "prompt_tokens_details", "cached_tokens", "cache_read_input_tokens",
                    "details", "cost", "model", "cache_creation", "ephemeral_1h_input_tokens",
                    "usageMetadata", "promptTokenCount", "promptTokensDetails", "modality", "tokenCount",
                    "retries", "meta", "billed_units",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=examples(150))
@given(JUNK)
def test_whatever_lies_in_a_store_gives_sound_counts_or_none(junk: Any) -> None:
    for found in read_usage(junk):
        assert found.input_tokens >= max(found.cache_read_tokens, found.cache_write_tokens) >= 0
        assert found.output_tokens >= found.reasoning_tokens >= 0
        assert found.cost is None or 0 <= found.cost < float("inf")


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=8), st.data())
def test_an_accumulator_looked_at_now_and_then_comes_to_its_last_value(
    increases: list[tuple[int, int]], data: st.DataObject
) -> None:
    ledger, store, usage_ = CountedUsages(), object(), {"prompt_tokens": 0, "completion_tokens": 0}
    ledger.open(store, None, None)
    found: list[Usage] = []
    for tokens, output in increases:
        usage_["prompt_tokens"] += tokens
        usage_["completion_tokens"] += output
        if data.draw(st.booleans()):
            found += ledger.take(store, usage_, None)
    found += ledger.take(store, usage_, None)
    assert sum(each.input_tokens for each in found) == usage_["prompt_tokens"]
    assert sum(each.output_tokens for each in found) == usage_["completion_tokens"]
