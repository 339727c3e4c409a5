"""Shorten texts, and mask and shorten the values a user asked to see."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TEXT: Final = 1000
MAX_ITEMS: Final = 20
MAX_DEPTH: Final = 4
MAX_VALUE: Final = 4000
MASKED: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"api[-_ ]?key|secret|passw|passphrase|credential|authorization|cookie|private[-_ ]?key"
    r"|access[-_ ]?key|(?:^|[-_ ])(?:auth|bearer|token|jwt|pin|pwd)(?:$|[-_ ])",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = re.compile(
    r"\bsk-[\w-]{16,}|\bgh[pousr]_\w{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[\w-]{10,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|\bBearer\s+[\w.~+/-]{8,}=*",
)


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, and encodable as UTF-8.

    >>> shorten("a long story", 6)
    'a lon…'
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def value_text(key: str, value: object, mask: Callable[[str, object], object] | None) -> str:
    """Return the JSON of a store value: secrets masked, long parts cut, objects by type name.

    >>> value_text("user", {"name": "Ada", "api_key": "x"}, None)
    '{"name": "Ada", "api_key": "***"}'
    """
    shown = MASKED if _SECRET_NAME.search(key) else _plain(value, MAX_DEPTH)
    if mask is not None:
        shown = _plain(mask(key, value if shown is not MASKED else shown), MAX_DEPTH)
    text = json.dumps(shown, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else json.dumps(shorten(text, MAX_VALUE), ensure_ascii=False)


def _plain(value: Any, depth: int) -> Any:
    """Return `value` in JSON's types; user code is not asked, so other objects show their type."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return value
    if kind is float:
        return value if value - value == 0 else str(value)  # JSON has no infinity
    if kind is str:
        return shorten(_SECRET_TEXT.sub(MASKED, value[: 4 * MAX_TEXT]), MAX_TEXT)
    if kind in (list, tuple, set, frozenset, dict) and depth == 0:
        return f"<{kind.__name__} of {len(value)}>"
    if kind is dict:
        return {
            name: MASKED if _SECRET_NAME.search(name) else _plain(child, depth - 1)
            for name, child in ((str(key), child) for key, child in islice(value.items(), MAX_ITEMS)
                                if type(key) in (str, int, float, bool))
        } | ({"…": f"{len(value) - MAX_ITEMS} more"} if len(value) > MAX_ITEMS else {})
    if kind in (list, tuple, set, frozenset):
        shown = [_plain(child, depth - 1) for child in islice(value, MAX_ITEMS)]
        return shown + ([f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else [])
    return f"<{kind.__name__}>"
