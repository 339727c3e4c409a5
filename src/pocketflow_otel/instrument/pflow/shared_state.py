"""Read pflow's shared store: a dict of node outputs by node id, inputs, and the engine's own records.

Nothing of pflow is called: dicts are read, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pocketflow_otel import pflow_names, semconv
from pocketflow_otel.fields import mapping
from pocketflow_otel.store.listing import StoreProxy, list_items, store_of

if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_HITS: Final = "__cache_hits__"
EXECUTION: Final = "__execution__"
FAILURES: Final = "__failures__"
ITERATION: Final = "__iteration__"
TEMPLATE_ERRORS: Final = "__template_errors__"
WARNINGS: Final = "__warnings__"


def peek(shared: object, key: str) -> Any:
    """Return what a store has under `key`, at its root; `None` without it."""
    store = store_of(shared)
    return dict.get(store, key) if isinstance(store, dict) else None


def engine_records(shared: object, key: str) -> Mapping[Any, Any]:
    """Return the engine's records of one kind, such as warnings by node id; empty without any."""
    return mapping(peek(shared, key))


def output_of(shared: object, node_id: str) -> Mapping[Any, Any]:
    """Return what a node wrote; from 0.12 on, of one that failed, what pflow archived of it."""
    found = peek(shared, node_id)
    if found is None:
        found = failure_of(shared, node_id).get("data")
    return mapping(found)


def failure_of(shared: object, node_id: str) -> Mapping[Any, Any]:
    """Return pflow's record of a node's failure: `data`, `category`, `error`; from 0.12 on."""
    return mapping(engine_records(shared, FAILURES).get(node_id))


def category_of(shared: object, node_id: str, node_class: str) -> str:
    """Return what kind of failure a node returned, by the categories of pflow from 0.12 on."""
    category = failure_of(shared, node_id).get("category")
    return category if isinstance(category, str) else pflow_names.returned_category(node_class)


def file_of(shared: object, default: object = None) -> str | None:
    """Return the path of a workflow's file; one that pflow was given as a text or a dict has none.

    Args:
        shared: The workflow's store.
        default: The path known from elsewhere, for a store without one.
    """
    file = peek(shared, pflow_names.WORKFLOW_FILE) or default
    return file if isinstance(file, str) and pflow_names.is_file(file) else None


class WorkflowStore(StoreProxy):
    """A workflow's store: its inputs, and the outputs of its nodes by their ids."""

    __slots__ = ()

    def items(self) -> dict[Any, object] | None:
        items = list_items(self.store)
        return (
            None if items is None else {key: items[key] for key in items if not pflow_names.is_internal(key)}
        )


class NodeStore(WorkflowStore):
    """The store as a node sees it: what it writes under its own id lies there at the top.

    Args:
        store: The workflow's store.
        node_id: The node's id.
    """

    __slots__ = ("_node_id",)

    def __init__(self, store: object, node_id: str) -> None:
        super().__init__(store)
        self._node_id = node_id

    def items(self) -> dict[Any, object] | None:
        items = super().items()
        if items is None:
            return None
        items.pop(self._node_id, None)
        own = output_of(self.store, self._node_id)
        return items | {key: own[key] for key in list(own) if not pflow_names.is_internal(key)}


class EngineRecords(NamedTuple):
    """The engine's records of a node at one time: those after a step that were not before are its own."""

    cache_hits: int
    usage: object
    warning: object
    template_error: object

    @classmethod
    def read(cls, shared: object, node_id: str) -> EngineRecords:
        """Read the records of a node."""
        hits = peek(shared, CACHE_HITS)
        return cls(
            cache_hits=hits.count(node_id) if type(hits) is list else 0,
            usage=output_of(shared, node_id).get(semconv.LLM_USAGE),
            warning=engine_records(shared, WARNINGS).get(node_id),
            template_error=engine_records(shared, TEMPLATE_ERRORS).get(node_id),
        )


class WarningInfo(NamedTuple):
    """A warning of pflow: its category, its severity, and its text, which holds data."""

    category: str
    severity: str
    text: str

    @classmethod
    def read(cls, warning: object) -> WarningInfo:
        """Read a warning: a text, a dict, or a `Diagnostic`, which is a dataclass."""
        if isinstance(warning, str):
            return cls(pflow_names.WARNING, pflow_names.WARNING, warning)
        fields = warning if isinstance(warning, dict) else getattr(warning, "__dict__", {})
        severity = fields.get("severity")
        severity = getattr(severity, "value", severity)
        return cls(
            pflow_names.warning_category(fields),
            severity if isinstance(severity, str) else pflow_names.WARNING,
            str(fields.get("message") or fields.get("error") or fields.get("text") or ""),
        )
