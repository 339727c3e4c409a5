"""What models cost in a workflow: as they sold it, and as pflow itself reports it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.pflow.environments import NEWEST, VERSIONS, bin_of
from tests.pflow.homes import furnish, with_models
from tests.pflow.provider import Provider, Sold
from tests.support.processes import write

from pocketflow_otel import semconv
from pocketflow_otel.traces import reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.pflow.commands import Commands

    from pocketflow_otel.traces.records import Attributes
    from pocketflow_otel.traces.trace import SpanNode, Trace


MINI, LARGE, CLAUDE = "gpt-4o-mini", "gpt-4o", "anthropic/claude-haiku-4-5"

PRICES: Final = """
[gpt-4o]
input = 5
output = 15

["gpt-4o-mini"]
input = 0.15
output = 0.6
"""
"""What pflow up to 0.12 takes models to cost. 0.8 and 0.9 keep that to themselves until their report,
so there our own prices count, and they are others: gpt-4o has been half of that since 2024."""


def llm(name: str, prompt: str, *more: str, model: str = MINI, batch: str = "") -> str:
    lines = [f"### {name}", "", "Asks.", "", "- type: llm", f"- model: {model}", *more, ""]
    if batch:
        lines += ["```yaml batch", batch, "```", ""]
    return "\n".join([*lines, "```prompt", prompt, "```", ""])


def below(name: str, version: str, word: str, batch: str = "") -> str:
    """Return a step that runs another workflow: each time pflow called that otherwise."""
    if version == "0.8.1":
        given = ["workflow_ref: ./answer.pflow.md", f"param_mapping:\n    word: {word}"]
        given.append("output_mapping:\n    answer: answer")
    elif version == NEWEST:
        given = ["workflow: ./answer.pflow.md", f"inputs:\n    word: {word}"]
    else:
        given = ["workflow: ./answer.pflow.md", f"word: {word}"]
    lines = [f"### {name}", "", "Asks below.", "", "- type: workflow", *(f"- {each}" for each in given), ""]
    if batch:
        lines += ["```yaml batch", batch, "```", ""]
    return "\n".join(lines)


def workflow(*steps: str) -> str:
    return "\n".join(["# Asking", "", "Asks models.", "", "## Steps", "", *steps])


ANSWER: Final = "\n".join(
    (
        "# Answer\n\nAnswers.\n\n## Inputs\n\n### word\n\nWhat about.\n\n- type: string\n\n## Steps\n",
        llm("reply", "reply: What of ${word}?"),
        "## Outputs\n\n### answer\n\nThe answer.\n\n- source: ${reply.response}\n",
    )
)


def asking(version: str) -> str:
    """Return a workflow that asks in all ways.

    The client tries a busy model three times itself; pflow tries again after that. Claude is for the
    newest: pflow up to 0.12 has a client of it that is at odds with the library it is made for.
    0.8 cannot run a workflow for each item.
    """
    items = "items: [one, two and a bit, three and more]"
    return workflow(
        llm("ask", "ask: Say one word."),
        llm("thrifty", "thrifty: In a few words.", model=CLAUDE if version == NEWEST else MINI),
        llm("flaky", "flaky: Be busy 4 times.", model=LARGE),
        llm("each", "each: Say ${item}.", batch=items),
        llm("at-once", "at-once: Say ${item}.", batch=f"{items}\nparallel: true"),
        below("below", version, "this"),
        below("below-each", version, "${item}", f"{items}\nparallel: true") if version != "0.8.1" else "",
    )


def failing(version: str) -> str:
    """Return a workflow with a model that nobody knows, and an answer that is none."""
    steps = [llm("known", "known: Say it."), llm("unknown", "unknown: Say it.", model=their(version))]
    if version == "0.8.1":  # It takes any answer.
        return workflow(*steps)
    return workflow(
        *steps,
        llm("broken", "broken: Say it in words.", SCHEMA, "- on-error: rescue"),
        llm("unreached", "unreached: Say it.", "- next: end"),
        llm("rescue", "rescue: Say it.", "- next: end"),
    )


SCHEMA: Final = """\
- output_schema:
    type: object
    properties:
      answer:
        type: integer
      done:
        type: boolean"""


ASKED: Final = ["ask", "thrifty", "flaky", "each", "at-once"]
"""The steps of `asking` that ask a model themselves."""


def their(version: str) -> str:
    return "openai/their-model" if version == NEWEST else "their-model"


@dataclass
class Ran:
    """A run of pflow.

    Attributes:
        sold: What models were paid for.
        report: What pflow's document says of that.
        trace: Ours.
    """

    sold: list[Sold]
    report: dict[str, Any]
    trace: Trace

    @property
    def ours(self) -> Attributes:
        return self.trace.roots[0].span.attributes


class Workshop:
    """A home with workflows, and models to ask."""

    def __init__(self, home: Path, version: str, provider: Provider, commands: Commands) -> None:
        self.version = version
        self._commands = commands
        self._variables = with_models(furnish(home, version), provider.url)
        self._variables["POCKETFLOW_OTEL_PRICES"] = str(home / "prices.toml")
        self._home = home
        self._provider = provider
        name = their(version)
        write(home / "prices.toml", PRICES)
        write(
            home / ".config/io.datasette.llm/extra-openai-models.yaml",
            f"- model_id: {name}\n  model_name: {name}\n  api_base: {provider.url}/v1\n",
        )

    def run(self, text: str, *, code: int = 0, answer: str = ANSWER, **variables: str) -> Ran:
        """Run a workflow, traced, and have pflow report as JSON."""
        write(self._home / "work/asking.pflow.md", text)
        write(self._home / "work/answer.pflow.md", answer)
        self._provider.reset()
        traces = self._home / ".pflow/traces"
        before = set(traces.glob("*.json"))
        launcher = bin_of(self.version) / "opentelemetry-instrument"
        done = self._commands.run(
            [launcher, "pflow", "-p", "--output-format", "json", "asking.pflow.md"],
            cwd=self._home / "work",
            env=self._variables | variables,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        (file,) = set(traces.glob("*.json")) - before
        report = json.loads(done.stdout)["metrics"]["total"]
        return Ran(sorted(self._provider.sold), report, reader.read(file))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="module", params=VERSIONS)
def workshop(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    provider: Provider,
    forks: Commands,
) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("pflow") / "home", request.param, provider, forks)


def test_what_models_sold_is_told_once_and_what_a_cache_gave_back_is_not(workshop: Workshop) -> None:
    version, text = workshop.version, asking(workshop.version)
    ran = workshop.run(text)

    seen = as_seen(ran.sold, version)
    assert sorted(told(ran.trace)) == seen
    assert list(wrong_sums(ran.trace)) == []
    assert ours(ran) == sums(seen) | {"calls": len(seen), "cost": ours(ran)["cost"]}
    if version in ("0.8.1", "0.10.0"):
        # A workflow below another has a list of calls of its own there, which is in no report; and
        # each call's cost is rounded.
        above = [(step, said) for step, said in leaves(ran.trace.roots[0]) if step != "reply"]
        cost = round(sum(round(said[semconv.USAGE_COST], 6) for _, said in above), 6)
        assert reported(ran) == sums(each for each in seen if each.step != "reply") | {"cost": cost}
        return
    assert reported(ran).items() <= ours(ran).items()

    again = workshop.run(text)
    assert (again.sold, reported(again)["cost"]) == ([], 0.0)
    assert cached(again.trace) == {"asking": ASKED, "answer": ["reply"] * 4}
    assert [key for key in again.ours if "usage" in key or "cost" in key] == []


def test_an_output_that_is_called_as_usages_are_is_no_call(workshop: Workshop) -> None:
    """pflow itself counts those of workflows below others once more."""
    output = "### llm_usage\n\nWhat the call came to.\n\n- source: ${%s.llm_usage}\n"
    steps = llm("ask", "ask: Say another word."), below("below", workshop.version, "that")
    text = workflow(*steps, f"## Outputs\n\n{output % 'ask'}")
    ran = workshop.run(text, answer=ANSWER + output % "reply")

    assert len(ran.sold) == 2
    assert sorted(told(ran.trace)) == as_seen(ran.sold, workshop.version)
    assert list(wrong_sums(ran.trace)) == []
    assert ours(ran)["calls"] == 2


def test_an_unknown_price_stays_unknown_and_a_failed_step_keeps_its_usage(workshop: Workshop) -> None:
    version = workshop.version
    ran = workshop.run(failing(version), code=1 if version == "0.10.0" else 0)

    # 0.10 forgets what an answer cost that it cannot read, and fails.
    seen = [each for each in as_seen(ran.sold, version) if (each.step, version) != ("broken", "0.10.0")]
    assert sorted(told(ran.trace)) == seen
    assert list(wrong_sums(ran.trace)) == []
    assert reported(ran).items() <= ours(ran).items()
    assert (ran.report["pricing_available"], ran.ours[semconv.COST_UNPRICED_CALLS]) == (False, 1)
    failed = {"0.8.1": [], "0.10.0": ["asking", "broken"]}.get(version, ["broken"])
    assert [step.span.title for step in ran.trace.walk() if step.span.failed] == failed


@pytest.mark.parametrize("workshop", [NEWEST], indirect=True)
def test_a_call_that_warms_a_cache_is_its_steps_and_each_round_of_a_loop_is_a_call(
    workshop: Workshop,
) -> None:
    prefix = "warm: " + "All of these words are the same for each item. " * 150
    items = "items: [a, bb, ccc]\nparallel: true"
    rounds = "- loop:\n    until: ${again.response.done}\n    max_iterations: 5"
    ran = workshop.run(
        workflow(
            llm("warm", f"{prefix}${{item}}.", "- prewarm: true", batch=items),
            llm("again", "again: In JSON, time ${__iteration__}.", SCHEMA, rounds),
        )
    )
    assert Counter(each.step for each in ran.sold) == {"warm": 4, "again": 3}
    seen = [replace(each, reasoning_tokens=0) for each in ran.sold]
    assert sorted(replace(each, reasoning_tokens=0) for each in told(ran.trace)) == seen
    assert list(wrong_sums(ran.trace)) == []
    # pflow counts what the call that warms cost, but not the call.
    assert reported(ran) | {"calls": 7} == ours(ran)
    assert ran.report["total_calls"] == 6


@pytest.mark.parametrize("workshop", ["0.11.0", NEWEST], indirect=True)
def test_with_the_spans_of_a_client_beside_ours_each_call_counts_once(
    workshop: Workshop, tmp_path: Path
) -> None:
    text = asking(workshop.version).replace("Say", "Tell me of")  # Nothing of that is cached.
    ran = workshop.run(text, PYTHONPATH=str(client_instrumentation(tmp_path)))

    clients = [step for step in ran.trace.walk() if not step.span.role and not step.span.failed]
    assert len(clients) == sum(each.model != CLAUDE.rpartition("/")[2] for each in ran.sold)
    assert reported(ran).items() <= ours(ran).items()
    assert ours(ran)["calls"] == len(ran.sold)


def client_instrumentation(folder: Path) -> Path:
    """Return a folder to import an instrumentation of OpenAI's client from, and nothing else."""
    installed = next(Path(path) for path in sys.path if Path(path, "openinference").is_dir())
    for path in (installed / "openinference", *installed.glob("openinference_*.dist-info")):
        (folder / path.name).symlink_to(path)
    return folder


def as_seen(sold: list[Sold], version: str) -> list[Sold]:
    """Leave out what pflow does not see of usages: before 0.13, that OpenAI cached and thought."""
    if version == NEWEST:
        return sold
    return [replace(each, cache_read_tokens=0, reasoning_tokens=0) for each in sold]


def sums(sold: Iterable[Sold]) -> dict[str, Any]:
    sold = list(sold)
    return {
        "input": sum(each.input_tokens for each in sold),
        "output": sum(each.output_tokens for each in sold),
        "cached": sum(each.cache_read_tokens for each in sold),
    }


def reported(ran: Ran) -> dict[str, Any]:
    """Return what pflow reports; what calls cost that have a price, where others have none."""
    said = ran.report
    calls = {"calls": said["total_calls"]} if "total_calls" in said else {}
    return calls | {
        "input": said["tokens_input"],
        "output": said["tokens_output"],
        "cached": said.get("cache_read_tokens", 0),
        "cost": said.get("partial_cost_usd", said["cost_usd"]),
    }


def ours(ran: Ran) -> dict[str, Any]:
    """Return what we report of it."""
    said = ran.ours
    return {
        "calls": said[semconv.SUM_CALLS],
        "input": said[semconv.SUM_INPUT_TOKENS],
        "output": said[semconv.SUM_OUTPUT_TOKENS],
        "cached": said.get(semconv.SUM_CACHE_READ_TOKENS, 0),
        "cost": round(said[semconv.COST], 6),
    }


def leaves(step: SpanNode, node: str = "") -> Iterator[tuple[str, Attributes]]:
    """Yield the spans that tell of calls by themselves: the name of their node, and what they say."""
    span = step.span
    node = span.title if span.role == "node" else node
    if semconv.USAGE_INPUT_TOKENS in span.attributes:
        yield node, span.attributes
    for child in step.children:
        yield from leaves(child, node)


def told(trace: Trace) -> list[Sold]:
    """Return the calls that our spans tell of."""
    return [
        Sold(
            step=node,
            model=said[semconv.REQUEST_MODEL].rpartition("/")[2],
            input_tokens=said[semconv.USAGE_INPUT_TOKENS],
            output_tokens=said[semconv.USAGE_OUTPUT_TOKENS],
            cache_read_tokens=said.get(semconv.USAGE_CACHE_READ_TOKENS, 0),
            cache_write_tokens=said.get(semconv.USAGE_CACHE_WRITE_TOKENS, 0),
            reasoning_tokens=said.get(semconv.USAGE_REASONING_TOKENS, 0),
        )
        for node, said in leaves(trace.roots[0])
    ]


def wrong_sums(trace: Trace) -> Iterator[str]:
    """Yield the spans whose sums are not those of the calls below them."""
    for step in trace.walk():
        said, calls = step.span.attributes, [said for _, said in leaves(step)]
        if not calls:
            continue
        expected = (
            len(calls),
            sum(each[semconv.USAGE_INPUT_TOKENS] for each in calls),
            sum(each[semconv.USAGE_OUTPUT_TOKENS] for each in calls),
            round(sum(each.get(semconv.USAGE_COST, 0) for each in calls), 9),
        )
        names = (semconv.SUM_CALLS, semconv.SUM_INPUT_TOKENS, semconv.SUM_OUTPUT_TOKENS)
        found = (*(said.get(name) for name in names), round(said.get(semconv.COST, 0), 9))
        if found != expected:
            yield f"{step.span.name}: {found} != {expected}"


def cached(trace: Trace) -> dict[str, list[str]]:
    """Return the names of the steps that a cache gave back, by their workflows."""
    found: dict[str, list[str]] = {}
    for step in trace.walk():
        if step.span.role == "flow":
            names = [
                child.span.title for child in step.children if semconv.NODE_CACHED in child.span.attributes
            ]
            found.setdefault(step.span.title, []).extend(names)
    return found
