"""Spans that have not ended, and where their lines stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pocketflow_otel import semconv
from pocketflow_otel.views.batch_progress import BatchProgress

if TYPE_CHECKING:
    from pocketflow_otel.traces.records import SpanRecord


@dataclass(slots=True)
class OpenSpan:
    """A span that has not ended: where its lines stand.

    Attributes:
        depth, label: Of its own lines; `label` is `[2] ` inside the third item of a batch.
        inner_depth: Of the lines below it.
        start_shown: Whether its start has a line. A batch waits until its size is known.
        items: The items of its batch.
        within: The batch it is an item of, or runs in an item of.
        flow: The flow it runs in; of what runs in a batch, the flow of that.
        steps: How many steps have begun in it, if it is a round.
        others_wrote: Whether a line has remarked that steps of this flow wrote at the same time.
        progress: Its progress, as its code reported it.
        failed_inside: Steps, flows and items right in it that failed.
    """

    span: SpanRecord
    depth: int
    label: str
    inner_depth: int
    start_shown: bool = True
    items: BatchProgress = field(default_factory=BatchProgress)
    within: OpenSpan | None = None
    flow: OpenSpan | None = None
    steps: int = 0
    others_wrote: bool = False
    progress: str = ""
    failed_inside: int = 0

    @property
    def hidden(self) -> bool:
        """Whether its lines make way for progress: it is one of very many."""
        return self.within is not None and self.within.items.collapsed

    def seconds(self, time: int) -> float:
        """Return how long it has been going at a time, in nanoseconds since the epoch."""
        return (time - self.span.start) / 1e9

    def ended_by(self, step: SpanRecord) -> bool:
        """Return whether a step in it seems to have been all of a round: the first, and none follows."""
        return (
            self.span.role == "item"
            and self.within is not None
            and self.within.span.role == "flow"
            and self.steps == 1
            and semconv.NODE_NEXT not in step.attributes
        )
