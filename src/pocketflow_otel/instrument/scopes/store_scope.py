"""What flows and nodes have in common: a shared store, its snapshot before and its changes after."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel import semconv
from pocketflow_otel.guard import failed, guard
from pocketflow_otel.instrument import backend_attributes, naming
from pocketflow_otel.instrument.scopes.sequencer import Sequencer
from pocketflow_otel.instrument.span_scope import TracedScope
from pocketflow_otel.runtime.run_events import ActionUnmatched
from pocketflow_otel.store.introspection import name_text, type_text
from pocketflow_otel.store.observation import StoreObservation
from pocketflow_otel.store.redaction import value_text
from pocketflow_otel.store.snapshot import MAX_NAMES, Diff
from pocketflow_otel.usage.totals import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.util.types import AttributeValue

_VALUES: Final = guard("record the values of chosen keys")
_LOOKING: Final = "look at the shared store"


class StoreScope(TracedScope):
    """The scope of a flow or node, whose span has the changes of the shared store."""

    __slots__ = ()

    def take_snapshot(self, attributes: dict[str, AttributeValue]) -> None:
        """Take a snapshot before the step; its names and types go on the span."""
        try:
            above = self.parent
            sequencer = above if isinstance(above, Sequencer) and above.framework_loop_only else None
            self.observation = StoreObservation(self.shared, self.outer_observation(), sequencer)
            snapshot = self.observation.snapshot
            if snapshot is not None:
                items = snapshot.items
                counted = self.run.counted_usages
                if not counted.knows(self.shared):
                    counted.open(self.shared, items.get(semconv.LLM_USAGE), _model_in(items))
                attributes[semconv.SHARED_SCHEMA] = snapshot.schema()
                if snapshot.truncated:
                    attributes[semconv.SHARED_TRUNCATED] = True
                config = self.flow_tracer.config
                if config.compat and config.capture_values:
                    with _VALUES:
                        values = self._values(items, items)
                        attributes.update(
                            backend_attributes.of_input(config.compat, values) if values else {}
                        )
        except Exception as error:
            failed(_LOOKING, error)

    def record_changes(self, attributes: dict[str, AttributeValue]) -> None:
        """Compare the store with what it was."""
        observation = self.observation
        if observation is None:
            return
        snapshot, diff = observation.snapshot, None
        try:
            diff = observation.close()
            self.observation = None
            if observation.concurrent:
                attributes[semconv.SHARED_CONCURRENT] = True
            if snapshot is not None and diff is not None:
                self._describe(diff, snapshot.items, attributes)
                self._count_usage(snapshot.items)
        except Exception as error:
            failed(_LOOKING, error)
        if snapshot is not None and diff is None:
            attributes[semconv.SHARED_UNCOMPARED] = True

    def _count_usage(self, items: Mapping[Any, object]) -> None:
        """Count the usage that came into the store during the step."""
        if semconv.LLM_USAGE in items:
            now = datetime.now(UTC)
            new = self.run.counted_usages.take(self.shared, items[semconv.LLM_USAGE], _model_in(items))
            if new:
                self.report(Call(usage, now) for usage in new)

    def _describe(
        self, diff: Diff, items: Mapping[Any, object], attributes: dict[str, AttributeValue]
    ) -> None:
        if diff.added:
            attributes[semconv.SHARED_ADDED_KEYS] = _names(diff.added)
            attributes[semconv.SHARED_ADDED_TYPES] = _types(diff.added, items)
        if diff.modified:
            attributes[semconv.SHARED_MODIFIED_KEYS] = _names(diff.modified)
            attributes[semconv.SHARED_MODIFIED_TYPES] = _types(diff.modified, items)
        if diff.removed:
            attributes[semconv.SHARED_REMOVED_KEYS] = _names(diff.removed)
        if max(len(diff.added), len(diff.modified), len(diff.removed)) > MAX_NAMES:
            attributes[semconv.SHARED_TRUNCATED] = True
        if diff.bounded:
            attributes[semconv.SHARED_BOUNDED] = True
        if self.flow_tracer.config.capture_values:
            values = ""
            with _VALUES:  # A mask that fails lets nothing through.
                values = self._values((*diff.added, *diff.modified), items)
            if values:
                attributes[semconv.SHARED_VALUES] = values
                attributes.update(backend_attributes.of_output(self.flow_tracer.config.compat, values))

    def _values(self, keys: Iterable[object], items: Mapping[Any, object]) -> str:
        """Return the values of the keys a user asked to see, as a JSON object; empty without any."""
        config = self.flow_tracer.config
        named = ((name_text(key), items[key]) for key in keys)
        members = [
            f"{value_text('', name, None)}:{value_text(name, value, config.mask)}"
            for name, value in named
            if any(fnmatchcase(name, pattern) for pattern in config.capture_values)
        ][:MAX_NAMES]
        return "{" + ",".join(members) + "}" if members else ""

    def next_node(self, action: str) -> Any | None:
        """Return the node the action leads to; add an event where the flow has no successor for it."""
        if not isinstance(self.parent, Sequencer) or not self.parent.framework_routing:
            return None
        successors, key = naming.successors(self.owner), naming.successor_key(self.result)
        if successors and key not in successors and key is not naming.UNKNOWN:
            known = tuple(naming.action_name(other) for other in successors)
            self.add_event(
                semconv.ACTION_UNMATCHED,
                {semconv.UNMATCHED_ACTION: action, semconv.UNMATCHED_KNOWN: known},
            )
            self.run.publish(self, ActionUnmatched(action, known))
        return successors.get(key)

    def close(self) -> None:
        if self.observation is not None:  # The description failed half-way.
            self.observation.close()
            self.observation = None


def _model_in(items: Mapping[Any, object]) -> str | None:
    model = items.get(semconv.LLM_MODEL)
    return model if type(model) is str else None


def _names(keys: tuple[object, ...]) -> list[str]:
    return list(map(name_text, keys[:MAX_NAMES]))


def _types(keys: tuple[object, ...], items: Mapping[Any, object]) -> list[str]:
    return list(map(type_text, map(items.__getitem__, keys[:MAX_NAMES])))
