"""The titles of flows that were built while tracing was on, kept beside them: a flow has nothing of ours."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

if TYPE_CHECKING:
    from pocketflow_otel.instrument.titles import Title

_LOOKS: Final = 2
"""Flows that are looked after for each that is built: more than one, so that dead ones become fewer."""

_titles: Final[dict[int, tuple[ref[Any], Title]]] = {}
"""By the identity of a flow's successors, which its copies share."""


def keep_title(flow: Any, title: Title) -> None:
    """Remember the title of a flow for as long as it lives."""
    # No callback of a weak reference: what a signal handler raises in one is lost.
    for key in list(islice(_titles, _LOOKS)):
        kept = _titles.pop(key, None)
        if kept is not None and kept[0]() is not None:
            _titles[key] = kept  # As the last one.
    _titles[id(flow.__dict__["successors"])] = ref(flow), title


def title_of(attributes: dict[str, Any]) -> Title:
    """Return the title of a flow, also of one copied from it, by its attributes; empty without one."""
    successors = attributes.get("successors")
    built, title = _titles.get(id(successors), (None, ("", False)))
    flow = built() if built is not None else None
    # The identity may be that of another flow's successors, now that the first one's are gone.
    return title if flow is not None and flow.__dict__.get("successors") is successors else ("", False)
