"""What a run went on from, in words and in signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pocketflow_otel.views import wording
from pocketflow_otel.views.status import SIGNS

if TYPE_CHECKING:
    from pocketflow_otel.traces.records import Trouble


def steps_with(number: int, trouble: Trouble) -> str:
    """Return how many steps a run had, and what of it went wrong: `5 steps (2 failed)`."""
    return wording.plural(number, "step") + (f" ({in_words(trouble)})" if trouble else "")


def in_words(trouble: Trouble) -> str:
    """Return what a run went on from.

    Errors that are no step's failure are those of items, of flows, or reported by the user's code.

    >>> from pocketflow_otel.traces.records import Trouble
    >>> in_words(Trouble(failed=2, errors=2, fallbacks=1, item_fallbacks=20))
    '2 failed, 1 fell back, 20 items fell back'
    """
    return ", ".join(
        filter(
            None,
            (
                f"{trouble.failed:,} failed" if trouble.failed else "",
                wording.plural(trouble.errors, "error") if trouble.errors > trouble.failed else "",
                f"{trouble.fallbacks:,} fell back" if trouble.fallbacks else "",
                f"{wording.plural(trouble.item_fallbacks, 'item')} fell back"
                if trouble.item_fallbacks
                else "",
            ),
        )
    )


def in_signs(trouble: Trouble) -> str:
    """Return the same where there is no room for words: failures, fallbacks.

    >>> from pocketflow_otel.traces.records import Trouble
    >>> in_signs(Trouble(failed=2, errors=2, fallbacks=1, item_fallbacks=20))
    '✗2⚠21'
    """
    failures, fallbacks = max(trouble.failed, trouble.errors), trouble.fallbacks + trouble.item_fallbacks
    counts = ((SIGNS["failed"], failures), (SIGNS["troubled"], fallbacks))
    return "".join(f"{sign}{number:,}" for sign, number in counts if number)
