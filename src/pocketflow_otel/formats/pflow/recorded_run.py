"""A run as a trace of pflow records it, without its values: names, types, counts, times, calls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pocketflow_otel.usage.payloads import Usage


@dataclass(frozen=True, slots=True)
class RecordedFailure:
    """How something failed.

    Attributes:
        category: pflow's word for it.
        kind: The class of what was raised, if that is known; else the category.
        text: pflow's text, which holds data.
        returned: Whether the node returned it, and let nothing out that was raised.
    """

    category: str
    kind: str
    text: str = ""
    returned: bool = False

    def as_category(self, category: str) -> RecordedFailure:
        """Return it under another category."""
        kind = category if self.kind == self.category else self.kind
        return replace(self, category=category, kind=kind)


@dataclass(frozen=True, slots=True)
class RecordedWarning:
    """A warning.

    Attributes:
        category: What kind it is.
        severity: How grave.
        text: pflow's text, which holds data.
        node_id: The node it is about.
        late: Whether it came up after the node's step had ended.
    """

    category: str
    severity: str = "warning"
    text: str = ""
    node_id: str = ""
    late: bool = False


@dataclass(slots=True, kw_only=True)
class RecordedWork:
    """What a step and an item of a batch have in common.

    Attributes:
        duration: Nanoseconds.
        failure: How it failed, if it did.
        usages: The model calls it made itself.
        workflow: The workflow it ran.
    """

    duration: int = 0
    failure: RecordedFailure | None = None
    usages: Sequence[Usage] = ()
    workflow: RecordedWorkflow | None = None


@dataclass(slots=True, kw_only=True)
class RecordedItem(RecordedWork):
    """One item of a batch; of its times, its duration alone is known."""

    index: int


@dataclass(slots=True)
class RecordedBatch:
    """A batch, and its items as far as the trace has them.

    Attributes:
        size: How many items it had.
        parallel: Whether they could run at the same time.
        places: How many could.
        items: Those that the trace has, in the order in which they ended.
    """

    size: int
    parallel: bool = False
    places: int = 1
    items: Sequence[RecordedItem] = ()


@dataclass(slots=True, kw_only=True)
class RecordedStep(RecordedWork):
    """One execution of a node.

    Attributes:
        node_id, node_type: The node's, as pflow has them: `greet`, `ShellNode`.
        begun, ended: Nanoseconds since the epoch; `None` where the trace does not say.
        running: Whether the trace ends before it does.
        added, modified: The names it wrote under its own id, with the types of their values.
        cached: Whether its result came from a cache.
        cache_source: From which, if that is said.
        iteration: Which round of the node's `loop:` it was.
        gate: What became of the question whether it may run.
    """

    node_id: str
    node_type: str = ""
    begun: int | None = None
    ended: int | None = None
    running: bool = False
    added: Mapping[str, str] = field(default_factory=dict)
    modified: Mapping[str, str] = field(default_factory=dict)
    cached: bool = False
    cache_source: str = ""
    iteration: int | None = None
    gate: str = ""
    batch: RecordedBatch | None = None


@dataclass(slots=True)
class RecordedWorkflow:
    """A workflow that a step or an item ran.

    Attributes:
        file: The base name of its file, or the name it is saved under; empty if that is not known.
        steps: Its steps, in the order in which they began.
    """

    file: str = ""
    steps: list[RecordedStep] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class RecordedRun:
    """One run of a workflow.

    Attributes:
        identity: What tells it from all others: pflow's id of it, or else the name of its trace.
        execution_id: pflow's id of it; empty if the trace does not say.
        name, file: Of the workflow; `file` is a base name, empty for one that has no file.
        start, end: Nanoseconds since the epoch; `end` is `None` if the trace ends before the run.
        status: pflow's word for how it ended; empty without one.
        resumed_from: pflow's id of the run it goes on with.
        only_node: The one node that it was to execute.
        restored: Nodes whose outputs came from an earlier run.
        inputs: The types of its inputs by their names.
        steps: Its steps, in the order in which they began.
        warnings: Its warnings.
        strays: Calls that the trace has, without saying which step made them.
    """

    identity: str
    execution_id: str = ""
    name: str = ""
    file: str = ""
    start: int
    end: int | None = None
    status: str = ""
    resumed_from: str = ""
    only_node: str = ""
    restored: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    steps: list[RecordedStep] = field(default_factory=list)
    warnings: Sequence[RecordedWarning] = ()
    strays: Sequence[Usage] = ()

    @property
    def failed(self) -> bool:
        """Whether it failed in the end: a failure that it went on from is none."""
        if self.status:
            return self.status == "failed"
        return self.end is not None and bool(self.steps) and self.steps[-1].failure is not None
