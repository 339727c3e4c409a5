"""Batches: their size and mode, the items of batch nodes, what items and rounds have in common."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import is_exception
from pocketflow_otel.instrument.scopes.attempts import AttemptedScope, Attempts
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.runtime.run_events import BatchBegun, ItemUntraced
from pocketflow_otel.store.introspection import name_text
from pocketflow_otel.store.snapshot import MAX_NAMES

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import AttributeValue

_SIZED: Final = frozenset({list, tuple, dict, set, frozenset, str, range})


class BatchState:
    """The batch of one node or flow: its size, once known, and what it ran.

    Attributes:
        parallel: Whether its class runs items at once, or items have been seen to overlap.
        begun: Whether its items are known.
    """

    __slots__ = ("_open", "begun", "fallbacks", "indices", "parallel", "size", "untraced")

    def __init__(self, *, parallel: bool) -> None:
        self.parallel = parallel
        self._open: set[int] = set()
        self.indices = count()
        self.begun = False
        self.size: int | None = None
        self.untraced = 0
        self.fallbacks = 0

    @property
    def mode(self) -> str:
        """Return the value of `pocketflow.batch.mode`."""
        return semconv.PARALLEL if self.parallel else semconv.SEQUENTIAL

    def begin(self, scope: TracedScope, items: Any) -> None:
        """Publish the number of items; a generator, or a user's own type, is not asked for it."""
        if self.begun:
            return
        self.begun = True
        if items is None:
            self.size = 0
        elif type(items) in _SIZED:
            self.size = len(items)
        scope.run.publish(scope, BatchBegun(self.size, self.parallel))

    def item_begins(self, index: int) -> None:
        """Take note of an item that begins, perhaps before others have ended."""
        self._open.add(index)  # First: of two threads, at least the second one sees both.
        if len(self._open) > 1:
            self.parallel = True

    def item_ends(self, index: int) -> None:
        """Take note of an item that has ended."""
        self._open.discard(index)

    def describe(self, attributes: dict[str, AttributeValue]) -> None:
        """Add the attributes that are known at the end."""
        attributes[semconv.BATCH_MODE] = self.mode
        if self.size is not None:
            attributes[semconv.BATCH_SIZE] = self.size
        if self.untraced:
            attributes[semconv.BATCH_UNTRACED] = self.untraced
        if self.fallbacks:
            attributes[semconv.BATCH_FALLBACKS] = self.fallbacks


class BatchItem(TracedScope):
    """One item or round. Beyond the limit of spans it has one only if it fails."""

    __slots__ = ("_batch", "_described", "_started_at", "index")

    def __init__(self, batch: BatchState, within: TracedScope) -> None:
        super().__init__("item", within.owner, within.shared, within, within.flow_tracer)
        self._batch = batch
        self._described: dict[str, AttributeValue] = {}
        self._started_at = 0
        self.index = next(batch.indices)

    def open(self, params: object = None, context: Context | None = None) -> None:
        """Begin the item.

        Args:
            params: Those of a round.
            context: What it runs in, where that is not the current context: in a thread of a pool.
        """
        self._batch.item_begins(self.index)  # First: should it fail, there is no span that would stay open.
        if self._batch.size is not None and self.index >= self._batch.size:
            self._batch.size = None  # Items are repeated: nobody knows how often.
            self.run.publish(self, BatchBegun(None, self._batch.parallel))
        attributes: dict[str, AttributeValue] = {semconv.BATCH_INDEX: self.index}
        if self._batch.size is not None:
            attributes[semconv.BATCH_SIZE] = self._batch.size
        if type(params) is dict and params:
            attributes[semconv.PARAMS_KEYS] = [name_text(key) for key in params][:MAX_NAMES]
        if self.index < self.flow_tracer.config.max_batch_items:
            self.open_span(semconv.BATCH_ITEM, attributes, context)
        else:
            self._described = attributes
            self._started_at = self.run.clock.now()
            self.open_without_span(context)

    def see_end(self) -> None:
        self._batch.item_ends(self.index)
        if self._started_at:
            self._count(failed=self.error is not None or self.has_failed())
        super().see_end()

    def has_failed(self) -> bool:
        """Return whether an item that raised nothing failed."""
        return False

    def _count(self, *, failed: bool) -> None:
        if failed:
            self.start_span(semconv.BATCH_ITEM, self._described, start_time=self._started_at)
        else:
            with self.run.lock:
                self._batch.untraced += 1
            self.run.publish(self, ItemUntraced())


class ItemScope(BatchItem, AttemptedScope):
    """One item of a batch node, with attempts of its own."""

    __slots__ = ("attempts",)

    @property
    def executing(self) -> bool:
        return True

    def __init__(self, batch: BatchState, within: TracedScope) -> None:
        super().__init__(batch, within)
        self.attempts = Attempts()

    def see_end(self) -> None:
        error = self.error
        if error is None:
            self.attempts.succeed(self)
        elif self.attempts.open and is_exception(error):
            self.attempts.fail(self, error)
        if self.attempts.fallback and error is None:
            with self.run.lock:
                self._batch.fallbacks += 1
        super().see_end()

    def describe_end(self, error: BaseException | None) -> None:
        attributes: dict[str, AttributeValue] = {}
        self.attempts.describe(self, attributes, error)
        self.set_attributes(attributes)

    def close(self) -> None:
        self.attempts.error = None  # Of an item without a span nobody has taken it.
