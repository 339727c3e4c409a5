"""The titles of flows that were built while tracing was on, kept beside them: a flow has nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import ref

if TYPE_CHECKING:
    from pocketflow_otel.instrument.titles import Title

_FIRST_SWEEP: Final = 256

_titles: Final[dict[int, tuple[ref[Any], Title]]] = {}
"""By the identity of a flow's successors, which its copies share."""

_sweep_at = _FIRST_SWEEP


def keep_title(flow: Any, title: Title) -> None:
    """Remember the title of a flow for as long as it lives."""
    global _sweep_at
    # No callback of a weak reference: what a signal handler raises in one is lost.
    _titles[id(flow.__dict__["successors"])] = ref(flow), title
    if len(_titles) >= _sweep_at:
        for key, (built, _) in list(_titles.items()):
            if built() is None:
                _titles.pop(key, None)
        _sweep_at = 2 * len(_titles) + _FIRST_SWEEP


def title_of(attributes: dict[str, Any]) -> Title:
    """Return the title of a flow, also of one copied from it, by its attributes; empty without one."""
    successors = attributes.get("successors")
    built, title = _titles.get(id(successors), (None, ("", False)))
    flow = built() if built is not None else None
    # The identity may be that of another flow's successors, now that the first one's are gone.
    return title if flow is not None and flow.__dict__.get("successors") is successors else ("", False)
