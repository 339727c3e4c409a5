"""Plain values for spans, events and runs: what views and readers work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.user_code import own_place_in

Attributes = Mapping[str, Any]

_CHANGES: Final = {
    "added": semconv.SHARED_ADDED_KEYS,
    "modified": semconv.SHARED_MODIFIED_KEYS,
    "removed": semconv.SHARED_REMOVED_KEYS,
}

UNSET, OK, ERROR = 0, 1, 2
"""Codes of a span's status, as in OTLP."""


PFLOW_STATUSES = ("degraded", "denied", "paused")
"""How a workflow of pflow may end otherwise than well or by a failure."""

ENDED = ("ok", *PFLOW_STATUSES, "failed")
"""How a run may end that its process lived to see the end of."""


def flow_name(name: str, starts_at: str) -> str:
    """Return what people call a flow: one without a name by the node it starts with.

    >>> flow_name("qa", "Ask"), flow_name("", "Ask"), flow_name("", "")
    ('qa', 'Flow (starts at Ask)', 'Flow')
    """
    return name or (f"Flow (starts at {starts_at})" if starts_at else "Flow")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong in a run that went on.

    Attributes:
        failed: Steps that failed.
        errors: Exceptions that were raised in steps, items and flows.
        fallbacks: Steps whose result `exec_fallback` gave.
        item_fallbacks: The same of the items of batches.
    """

    failed: int = 0
    errors: int = 0
    fallbacks: int = 0
    item_fallbacks: int = 0

    def __bool__(self) -> bool:
        return bool(self.failed or self.errors or self.fallbacks or self.item_fallbacks)


class TraceError(ValueError):
    """A trace file, a journal or a run's name is not what it should be; `str()` is one sentence."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A span's event; `time` in nanoseconds since the epoch."""

    name: str
    time: int
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link to another span; ids in hex."""

    trace_id: str
    span_id: str
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """What made a span: the instrumentation's name and version."""

    name: str = ""
    version: str = ""
    schema_url: str = ""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span, open (`end` is 0) or finished.

    Ids are hex, as OTLP/JSON has them; `parent_id` is empty at the root of a trace. Times are
    nanoseconds since the epoch. `kind`, `flags` and `status` are OTLP's numbers.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int = 0
    kind: int = 1
    flags: int = 0
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[EventRecord] = ()
    links: Sequence[LinkRecord] = ()
    status: int = UNSET
    status_message: str = ""
    scope: ScopeRecord = ScopeRecord()
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0

    @property
    def duration(self) -> float:
        """Seconds; 0.0 while the span is open, and where the clock was set back meanwhile."""
        return max(self.end - self.start, 0) / 1e9 if self.end else 0.0

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        return self.status == ERROR

    @property
    def role(self) -> str:
        """`flow`, `node` or `item` for spans of ours; empty for others."""
        operation = self.attributes.get(semconv.GEN_AI_OPERATION_NAME)
        if self.scope.name != semconv.SCOPE_NAME:
            return ""
        if operation == semconv.INVOKE_WORKFLOW:
            return "flow"
        return "node" if operation == semconv.INVOKE_NODE else "item"

    @property
    def title(self) -> str:
        """The name it was given: the flow's or node's; empty for a flow without one."""
        key = semconv.NODE_NAME if self.role == "node" else semconv.GEN_AI_WORKFLOW_NAME
        return str(self.attributes.get(key, ""))

    @property
    def label(self) -> str:
        """What people call it, named or not; empty for what is neither flow nor node."""
        if self.role == "flow":
            return flow_name(self.title, str(self.attributes.get(semconv.FLOW_START_NODE, "")))
        return self.title

    @property
    def changes(self) -> dict[str, list[str]] | None:
        """The keys of the store that were `added`, `modified` and `removed`; `None` if that is not known.

        It is where the store was listed at the start and compared at the end, or changes are told.
        """
        attributes = self.attributes
        if semconv.SHARED_UNCOMPARED in attributes or semconv.INTERRUPTED in attributes:
            return None
        if attributes.keys().isdisjoint((semconv.SHARED_SCHEMA, *_CHANGES.values())):
            return None
        return {kind: list(attributes.get(name, ())) for kind, name in _CHANGES.items()}

    @property
    def outcome(self) -> str:
        """How an ended flow ended: one of `ENDED`."""
        status = self.attributes.get(semconv.FLOW_STATUS)
        if self.failed:
            return "failed"
        return status if status in PFLOW_STATUSES else "ok"

    @property
    def error_place(self) -> str:
        """Where in the user's code the exception that ended it was raised: `nodes.py:42`; empty if unknown.

        Spans of other instrumentations have a stack trace at most, often of their library alone.
        """
        place = self.attributes.get(semconv.ERROR_PLACE)
        if place is not None:
            return str(place)
        stacktraces = (
            str(event.attributes.get(semconv.EXCEPTION_STACKTRACE, ""))
            for event in self.events
            if event.name == semconv.EXCEPTION_EVENT
        )
        return next(filter(None, map(own_place_in, stacktraces)), "") if self.failed else ""

    def has_event(self, name: str) -> bool:
        """Return whether an event of this name was recorded."""
        return any(event.name == name for event in self.events)
