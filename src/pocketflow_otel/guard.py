"""Keep our own failures away from the user's flow.

Every piece of our code around a user's call runs inside a `guard`: an `Exception` of ours is
logged once per place and forgotten. `BaseException` (interrupts, cancellation) always passes.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

logger: Final = logging.getLogger("pocketflow_otel")

_reported: set[str] = set()


class PassThroughError(Exception):
    """An exception of ours that a user asked for: guards let it through."""


_strict = False


class guard:  # noqa: N801 - reads as a statement: `with guard("open a span"):`
    """Swallow and report what our code raises in the block; never what a user's code raises.

    Stateless, so one instance per place serves every thread, task and nesting.

    Args:
        place: What our code was doing, in words that finish "could not ...".
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if exc_type is None or _strict or not issubclass(exc_type, Exception):
            return False
        if issubclass(exc_type, PassThroughError):
            return False
        if self.place not in _reported:
            _reported.add(self.place)
            # A logging handler is user code too: it may raise.
            with contextlib.suppress(Exception):
                logger.warning(
                    "pocketflow-otel could not %s; the flow goes on (reported once)",
                    self.place,
                    exc_info=exc,
                )
        return True


def set_strict(strict: bool) -> None:
    """Let guards re-raise (tests) or swallow (the default), and forget what was reported."""
    global _strict
    _strict = strict
    _reported.clear()
