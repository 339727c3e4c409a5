"""What workflows do, one scenario for each thing a workflow of pflow can do or suffer.

Exit codes are what pflow gave when it was run bare.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.pflow.environments import NEWEST

if TYPE_CHECKING:
    from collections.abc import Mapping

Release = tuple[float, ...]


def release(version: str) -> Release:
    """Return a version as numbers that compare.

    >>> release("0.8.1") < release("0.10") < release("newest")
    True
    """
    return (float("inf"),) if version == NEWEST else tuple(map(int, version.split(".")))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Commands that run one after another in the same home.

    Attributes:
        name: Also that of the file with the expected spans.
        commands: What follows `pflow`; `{server}` is the address of the server that answers, and
            `{python}` the Python that pflow runs on.
        exits: Exit codes, one for each command: `{first version: codes}`, each until the next one.
        since, until: The releases that have what is shown, both included.
        stdin: What is piped in; nothing, not even an empty pipe, without it.
        typed: What is typed at a terminal, which is then stdin and stderr.
        hangs_up: Whether nobody reads stdout.
        fresh: Whether pflow has never run in this home.
        env: More variables.
    """

    name: str
    commands: tuple[str, ...]
    exits: Mapping[str, tuple[int, ...]]
    since: str = "0"
    until: str = NEWEST
    stdin: str | None = None
    typed: str | None = None
    hangs_up: bool = False
    fresh: bool = False
    env: Mapping[str, str] = field(default_factory=dict)

    def exists_in(self, version: str) -> bool:
        return release(self.since) <= release(version) <= release(self.until)

    def arguments(self, **names: object) -> list[list[str]]:
        """Return what follows `pflow` in each command."""
        return [shlex.split(command.format(**names)) for command in self.commands]

    def exits_of(self, version: str) -> tuple[int, ...]:
        first = max(begin for begin in map(release, self.exits) if begin <= release(version))
        return next(codes for begin, codes in self.exits.items() if release(begin) == first)


def _scenario(
    name: str, *commands: str, exits: tuple[int, ...] | dict[str, tuple[int, ...]] = (), **options: object
) -> Scenario:
    by_version = exits if isinstance(exits, dict) else {"0": exits or (0,) * len(commands)}
    return Scenario(name=name, commands=commands, exits=by_version, **options)  # type: ignore[arg-type]


_DEGRADED: Final = {"0": (0,), "0.11": (2,), "0.13": (0,)}
"""Warnings had an exit code of their own in two releases."""

SCENARIOS: Final = (
    # How pflow is called
    _scenario("linear", "linear.pflow.md name=you"),
    _scenario("first-run", "linear.pflow.md", fresh=True),
    _scenario("quiet", "-p linear.pflow.md"),
    _scenario("json", "--output-format json linear.pflow.md"),
    _scenario("json-failing", "--output-format json failing.pflow.md", exits=(1,)),
    _scenario("verbose", "-v linear.pflow.md"),
    _scenario("no-trace", "--no-trace linear.pflow.md"),
    _scenario("report", "--report-dir report linear.pflow.md", since="0.11"),
    _scenario("stdin", "stdin.pflow.md", stdin="three words came\n"),
    _scenario("big-output", "-p big-output.pflow.md"),
    _scenario("nobody-reads", "-p big-output.pflow.md", hangs_up=True),
    # The ways of a flow
    _scenario("branch", "branch.pflow.md", since="0.10"),
    _scenario("back-edge", "back-edge.pflow.md", since="0.10"),
    _scenario("runaway", "runaway.pflow.md", exits=(1,), since="0.10", env={"PFLOW_MAX_NODE_VISITS": "3"}),
    _scenario("unrouted", "unrouted.pflow.md", exits={"0.10": (0,), "0.11": (1,)}, since="0.10"),
    _scenario("recovery", "recovery.pflow.md", exits=_DEGRADED, since="0.10"),
    _scenario("loop", "loop.pflow.md", since="0.14"),
    _scenario("nested", "nested.pflow.md"),
    _scenario("nested-failing", "nested-failing.pflow.md", exits=(1,)),
    _scenario("nested-batch", "nested-batch.pflow.md", since="0.10"),
    # Batches
    _scenario("batch-sequential", "batch-sequential.pflow.md"),
    _scenario("batch-parallel", "batch-parallel.pflow.md"),
    _scenario("batch-fail-fast", "batch-fail-fast.pflow.md", exits=(1,)),
    # 0.10 takes the error of an item for that of the step.
    _scenario("batch-continue", "batch-continue.pflow.md", exits=_DEGRADED | {"0.10": (1,)}),
    _scenario("item-retry", "item-retry.pflow.md server={server}"),
    # Failures and warnings
    _scenario("failing", "failing.pflow.md", exits=(1,)),
    _scenario("code-failing", "code-failing.pflow.md", exits=(1,)),
    _scenario("http-failing", "http-failing.pflow.md server={server}", exits=(1,)),
    _scenario("template-error", "template-error.pflow.md", exits=(1,)),
    _scenario(
        "degraded",
        "template-error.pflow.md",
        exits=_DEGRADED,
        env={"PFLOW_TEMPLATE_RESOLUTION_MODE": "permissive"},
    ),
    _scenario("missing-input", "missing-input.pflow.md", exits=(1,)),
    _scenario("retry", "retry.pflow.md server={server}", since="0.14"),
    _scenario("interrupted", "interrupted.pflow.md", exits=(130,)),
    _scenario("terminated", "interrupted.pflow.md signal=TERM", exits=(-15,)),
    # Steps
    _scenario("printing", "printing.pflow.md"),
    _scenario("environment", "environment.pflow.md python={python}"),
    _scenario("files", "files.pflow.md"),
    _scenario("http", "http.pflow.md server={server}"),
    _scenario("cached", *["cached.pflow.md"] * 2),
    _scenario("llm", "llm.pflow.md", until="0.10.0"),
    _scenario("llm-cached", *["llm.pflow.md"] * 2, since="0.11"),
    _scenario("llm-flaky", "llm-flaky.pflow.md"),
    _scenario("llm-failing", "llm-failing.pflow.md", exits=(1,), since="0.12"),
    # Gates, and runs that go on where another one stopped
    _scenario(
        "gate-approved", "gate.pflow.md", "resume gate.pflow.md --approve yes", exits=(4, 0), since="0.15"
    ),
    _scenario(
        "gate-denied", "gate.pflow.md", "resume gate.pflow.md --approve no", exits=(4, 3), since="0.15"
    ),
    _scenario("gate-approved-at-terminal", "gate.pflow.md", typed="y\n", since="0.14"),
    _scenario("gate-denied-at-terminal", "gate.pflow.md", exits=(3,), typed="n\n", since="0.14"),
    _scenario("gate-approved-before", "gate.pflow.md --auto-approve=deliver", since="0.14"),
    _scenario("gate-unanswered", "--no-trace gate.pflow.md", exits=(1,), since="0.14"),
    _scenario("only", "linear.pflow.md", "--only shout linear.pflow.md", since="0.11"),
    _scenario("resumed", "fixable.pflow.md", "resume fixable.pflow.md --force", exits=(1, 0), since="0.15"),
    # Without a run
    _scenario("information", "--version", "--help"),
    _scenario("dry-run", "--dry-run linear.pflow.md", since="0.12"),
    _scenario("validate-only", "--validate-only linear.pflow.md"),
    _scenario("syntax-error", "syntax-error.pflow.md", exits=(1,)),
    _scenario("unknown-workflow", "unknown.pflow.md", exits=(1,)),
    _scenario("unknown-option", "--unknown linear.pflow.md", exits={"0": (2,), "0.12": (1,)}),
)
