"""What pflow is asked to do, bare and traced: each feature of it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.pflow.environments import VERSIONS

WORKFLOWS: Final = Path(__file__).parent / "workflows"

SERVER: Final = "{server}"
"""Stands in arguments for the address of the server."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One or more runs of pflow, one after the other in one home.

    Attributes:
        name: Its name, and that of its workflow unless that is in `argv`.
        argv: What follows `pflow`; by default the workflow's file.
        before: What follows `pflow` in a first run; `{execution}` in `argv` is pflow's id of that.
        runs: How often.
        stdin: What is piped in; nothing is, by default.
        variables: More variables.
        since, until: The first and the last of `VERSIONS` it is for.
        code, codes: The exit code, by version where it is another one.
        before_code: That of the first run.
        llm: Whether it calls a model, with a node that an older pflow must have found before.
        timed: Whether pflow prints times or ids to stdout; else that is the same to the byte.
        ends: Whether the oldest and the newest version are enough: it is not about the engine.
    """

    name: str
    argv: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    runs: int = 1
    stdin: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    since: str = VERSIONS[0]
    until: str = VERSIONS[-1]
    code: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    before_code: int = 0
    llm: bool = False
    timed: bool = False
    ends: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """What follows `pflow`, each time."""
        arguments = self.argv or (f"{self.name}.pflow.md",)
        return [*filter(None, [self.before]), *[arguments] * self.runs]

    def codes_of(self, version: str) -> list[int]:
        """Return the exit codes of a version."""
        code = self.codes.get(version, self.code)
        return [*([self.before_code] if self.before else []), *[code] * self.runs]

    def is_for(self, version: str) -> bool:
        """Tell whether a version has what it is about."""
        place = VERSIONS.index
        among = not self.ends or version in (VERSIONS[0], VERSIONS[-1])
        return among and place(self.since) <= place(version) <= place(self.until)


DEGRADED: Final = {"0.11.0": 2}
"""0.11 and 0.12 say so by their exit code."""
JSON: Final = ("--output-format", "json")
PERMISSIVE: Final = {"PFLOW_TEMPLATE_RESOLUTION_MODE": "permissive"}
"""A template that names nothing is left as it is, with a warning."""

SCENARIOS: Final = (
    Scenario(name="linear", argv=("linear.pflow.md", "name=ada")),
    Scenario(name="branch"),
    Scenario(name="back-edge"),
    Scenario(name="batch-sequential"),
    Scenario(name="batch-parallel"),
    Scenario(name="batch-fail-fast", code=1),
    Scenario(name="batch-continue", codes=DEGRADED | {"0.10.0": 1}),
    Scenario(name="item-retry", argv=("item-retry.pflow.md", f"server={SERVER}")),
    Scenario(name="retry", argv=("retry.pflow.md", f"server={SERVER}"), since="newest"),
    Scenario(name="loop", since="newest"),
    Scenario(name="nested"),
    Scenario(name="nested-failing", code=1),
    Scenario(name="nested-batch", since="0.10.0"),
    Scenario(name="recovery", since="0.10.0", codes=DEGRADED),
    Scenario(name="gate", since="newest", code=4, timed=True),
    Scenario(name="gate-approved", argv=("--auto-approve=deliver", "gate.pflow.md"), since="newest"),
    Scenario(name="gate-untraced", argv=("--no-trace", "gate.pflow.md"), since="newest", code=1),
    Scenario(name="cached", runs=2),
    Scenario(name="code-failing", code=1),
    Scenario(name="failing", code=1),
    Scenario(name="files", ends=True),
    Scenario(name="printing", ends=True),
    Scenario(name="http", argv=("http.pflow.md", f"server={SERVER}")),
    Scenario(name="http-failing", argv=("http-failing.pflow.md", f"server={SERVER}"), code=1, ends=True),
    Scenario(name="llm", runs=2, llm=True),
    Scenario(name="llm-flaky", llm=True),
    Scenario(name="llm-failing", llm=True, code=1),
    Scenario(name="first-run", argv=("llm.pflow.md",), codes={"0.10.0": 1, "0.11.0": 1}),
    Scenario(name="stdin", stdin="three words here", ends=True),
    Scenario(name="big-output", ends=True),
    Scenario(name="template-error", code=1),
    Scenario(name="missing-input", code=1),
    Scenario(name="unrouted", codes={"0.11.0": 1, "newest": 1}),
    Scenario(name="degraded", argv=("template-error.pflow.md",), variables=PERMISSIVE, codes=DEGRADED),
    Scenario(name="continue-below", codes=DEGRADED | {"0.10.0": 1}),
    Scenario(name="runaway", variables={"PFLOW_MAX_NODE_VISITS": "3"}, since="0.10.0", code=1),
    Scenario(name="syntax-error", code=1, ends=True),
    Scenario(name="fixable", code=1),
    Scenario(name="print", argv=("-p", "linear.pflow.md"), ends=True),
    Scenario(name="print-failing", argv=("-p", "failing.pflow.md"), code=1, ends=True),
    Scenario(name="json", argv=(*JSON, "linear.pflow.md"), ends=True, timed=True),
    Scenario(name="json-failing", argv=(*JSON, "failing.pflow.md"), code=1, ends=True, timed=True),
    Scenario(name="json-llm", argv=("-p", *JSON, "llm-flaky.pflow.md"), llm=True, timed=True),
    Scenario(name="verbose", argv=("-v", "linear.pflow.md")),
    Scenario(name="report", argv=("--report-dir", "out", "linear.pflow.md"), since="0.11.0"),
    Scenario(name="report-after", before=("linear.pflow.md",), argv=("report",), since="newest", timed=True),
    Scenario(name="only", argv=("--only", "shout", "linear.pflow.md"), since="0.11.0", codes={"newest": 1}),
    Scenario(name="no-trace", argv=("--no-trace", "linear.pflow.md"), ends=True),
    Scenario(
        name="only-after",
        before=("linear.pflow.md",),
        argv=("--only", "shout", "linear.pflow.md"),
        since="newest",
    ),
    Scenario(
        name="resume",
        before=("fixable.pflow.md",),
        before_code=1,
        argv=("resume", "{execution}", "--force"),
        since="newest",
    ),
    Scenario(
        name="gate-resumed",
        before=("gate.pflow.md",),
        before_code=4,
        argv=("resume", "{execution}", "--approve", "yes"),
        since="newest",
        timed=True,
    ),
    Scenario(
        name="gate-denied",
        before=("gate.pflow.md",),
        before_code=4,
        argv=("resume", "{execution}", "--approve", "no"),
        since="newest",
        timed=True,
        code=3,
    ),
    Scenario(
        name="library-until-0.11",
        before=("workflow", "save", "linear.pflow.md", "--name", "greeting"),
        argv=("greeting", "name=ada"),
        until="0.11.0",
    ),
    Scenario(
        name="library",
        before=("save", "linear.pflow.md", "--name", "greeting"),
        argv=("greeting", "name=ada"),
        since="newest",
    ),
    Scenario(
        name="registry-run",
        before=("registry", "run", "shell", "command=exit 3"),
        before_code=1,
        argv=("registry", "run", "shell", "command=echo done"),
        until="0.11.0",
        timed=True,
    ),
    Scenario(
        name="probe",
        before=("probe", "shell", "command=exit 3"),
        argv=("probe", "shell", "command=echo done"),
        since="newest",
        timed=True,
    ),
    Scenario(name="dry-run", argv=("--dry-run", "linear.pflow.md"), since="newest"),
    Scenario(name="validate-only", argv=("--validate-only", "linear.pflow.md"), ends=True),
    Scenario(name="absent", argv=("absent.pflow.md",), code=1, ends=True),
    Scenario(name="version", argv=("--version",), ends=True),
    Scenario(name="help", argv=("--help",), ends=True),
    Scenario(name="unknown-option", argv=("--unknown", "a.pflow.md"), code=2, codes={"newest": 1}, ends=True),
)

PROCESSES: Final = {
    "0.8.1": (
        "linear",
        "batch-parallel",
        "llm-flaky",
        "code-failing",
        "nested",
        "first-run",
        "unknown-option",
    ),
    "0.10.0": ("batch-continue", "first-run", "failing", "llm-flaky", "nested-batch", "recovery"),
    "0.11.0": (
        "batch-parallel",
        "degraded",
        "first-run",
        "linear",
        "llm-failing",
        "registry-run",
        "template-error",
    ),
    "newest": (
        "absent",
        "batch-parallel",
        "code-failing",
        "failing",
        "gate",
        "gate-denied",
        "linear",
        "llm-flaky",
        "loop",
        "stdin",
        "unknown-option",
    ),
}
"""What is run as processes too, by version; all else is run as forks alone."""

UNFORKED: Final = frozenset({"runaway"})
"""What is run as processes alone: pflow reads its variable where a module is executed."""
