"""What one execution of a root flow knows about itself: its id, its open scopes, its roll-ups.

A `Run` travels in the OpenTelemetry context, inside the innermost open `Scope`, so that spans of
other instrumentations below a step can be told to belong to it. Siblings of a `gather` never share
a mutable scope: each has its own, and adds itself to its parent when it closes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from opentelemetry.context import create_key, get_current
from opentelemetry.trace import INVALID_SPAN

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from pocketflow_otel.capture.stores import Watch

SCOPE_KEY: Final = create_key("pocketflow-otel-scope")

Kind = Literal["flow", "node", "item"]


def run_id(start_time: int, span_id: int) -> str:
    """Return a run's id: its start in UTC and eight hex digits of its root's span id.

    >>> run_id(1795375812_481000000, 0x7F3A91C2_00000001)
    '20261122T193012Z-7f3a91c2'

    Args:
        start_time: Nanoseconds since the epoch.
        span_id: The 64 bits of the root span's id.
    """
    start = datetime.fromtimestamp(start_time / 1e9, UTC)
    return f"{start:%Y%m%dT%H%M%SZ}-{span_id:016x}"[:25]


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt failed and another, or the fallback, follows. `wait` is in seconds."""

    attempt: int
    max: int
    error_type: str
    message: str
    wait: float


@dataclass(frozen=True, slots=True)
class BatchBegun:
    """A node or flow begins a batch; a generator has no size."""

    size: int | None
    parallel: bool


@dataclass(frozen=True, slots=True)
class ItemUntraced:
    """An item beyond the limit of spans went well."""


@dataclass(frozen=True, slots=True)
class ActionUnmatched:
    """A step returned an action that its flow knows no way for."""

    action: str
    known: tuple[str, ...]


Event = AttemptFailed | BatchBegun | ItemUntraced | ActionUnmatched


class Run:
    """One execution of the outermost flow, or of a node on its own, in this process.

    Attributes:
        id: See `run_id`; empty until the root's span has started.
        lock: Held while scopes add up.
    """

    __slots__ = ("_observers", "id", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.id = ""
        self._observers: tuple[Callable[[Scope, Event], None], ...] = ()

    def observe(self, observer: Callable[[Scope, Event], None]) -> None:
        """Have `observer(scope, event)` called for what happens inside the run's steps."""
        with self.lock:
            self._observers += (observer,)

    def publish(self, scope: Scope, event: Event) -> None:
        """Tell the observers, in the thread where it happened."""
        for observer in self._observers:
            observer(scope, event)


class Scope:
    """One open flow, node or batch item, as those below it see it.

    Attributes:
        kind: What it is.
        owner: The user's flow or node.
        shared: The store it was given.
        parent: The scope it runs in; `None` for the root of a run.
        span: Its span. An item beyond the limit of spans has that of its batch.
        watch: The innermost watch on the store, its own or an ancestor's.
        steps: Nodes executed below it so far.
        flows: Flows executed below it so far.
    """

    __slots__ = ("flows", "kind", "owner", "parent", "run", "shared", "span", "steps", "watch")

    def __init__(self, kind: Kind, owner: Any, shared: object, parent: Scope | None) -> None:
        self.kind = kind
        self.owner = owner
        self.shared = shared
        self.parent = parent
        self.run: Run = Run() if parent is None else parent.run
        self.span: Span = INVALID_SPAN
        self.watch: Watch | None = None if parent is None else parent.watch
        self.steps = 0
        self.flows = 0

    def continues(self, shared: object) -> bool:
        """Tell whether a call of the owner with `shared` goes on with this scope: `super()._run`."""
        return False

    def add_up(self) -> None:
        """Add what this scope counted to its parent; called once, when it closes."""
        parent = self.parent
        if parent is not None:
            with self.run.lock:
                parent.steps += self.steps + (self.kind == "node")
                parent.flows += self.flows + (self.kind == "flow")


class Untraced:
    """Stands in the context for a scope when the run is not recorded: no SDK, or sampled out."""

    __slots__ = ()


UNTRACED: Final = Untraced()


def scope_of(context: Context | None = None) -> Scope | None:
    """Return the innermost open scope of a context, by default the current one."""
    scope = (get_current() if context is None else context).get(SCOPE_KEY)
    return scope if isinstance(scope, Scope) else None
