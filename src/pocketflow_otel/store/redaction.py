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
MAX_BITS: Final = 1024
MAX_VALUE: Final = 4000
MASKED: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"api[-_ ]?key|secret|passw|passphrase|credential|authorization|cookie|private[-_ ]?key"
    r"|access[-_ ]?key|(?:^|[-_ ])(?:auth|bearer|token|jwt|pin|pwd)(?:$|[-_ ])"
    r"|(?-i:[a-z0-9](?:Auth|Bearer|Token|Jwt|Pin|Pwd)(?![a-z]))",
    re.IGNORECASE,
)
_SECRET_TEXT: Final = re.compile(
    r"\bsk-[\w-]{16,}|\bgh[pousr]_\w{20,}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[\w-]{10,}"
    r"|\bgithub_pat_\w{20,}|\b(?:hf|gsk)_\w{20,}|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|\bBearer\s+[\w.~+/-]{8,}=*",
)
_PASSWORD_IN_URL: Final = re.compile(r"(://[^\s:/@]*:)[^\s/@]+@")
_name_of: Final = type.__dict__["__name__"].__get__
_OPENED: Final = frozenset(map(id, (list, tuple, set, frozenset, dict)))
"""By id: a metaclass may define `__eq__`."""


def name_of(kind: type) -> str:
    """Return the name of a type, without asking a metaclass or a subclass of `str`."""
    return str.__str__(_name_of(kind))


def int_text(number: int) -> str:
    """Return the digits of an `int`; of a very long one, which Python refuses to print, its size."""
    bits = number.bit_length()
    return repr(number) if bits <= MAX_BITS else f"<int of {bits} bits>"


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, and encodable as UTF-8.

    >>> shorten("a long story", 6)
    'a lon…'
    """
    if len(text) <= limit and text.isascii():
        return text
    return _cut(_cut(text, limit).encode("utf-8", "backslashreplace").decode("utf-8"), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


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


def _plain(value: Any, depth: int) -> Any:  # noqa: PLR0911 - one per type
    """Return `value` in JSON's types; user code is not asked, so other objects show their type."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() <= MAX_BITS else int_text(value)
    if kind is float:
        return value if value - value == 0 else str(value)  # JSON has no infinity
    if kind is str:
        text = _PASSWORD_IN_URL.sub(rf"\1{MASKED}@", value[: 4 * MAX_TEXT])
        return shorten(_SECRET_TEXT.sub(MASKED, text), MAX_TEXT)
    if id(kind) not in _OPENED:
        return f"<{shorten(name_of(kind), MAX_TEXT)}>"
    if depth == 0:
        return f"<{name_of(kind)} of {len(value)}>"
    if kind is dict:
        named = ((str(_plain(key, 0)), child) for key, child in islice(value.items(), MAX_ITEMS))
        return {
            name: MASKED if _SECRET_NAME.search(name) else _plain(child, depth - 1) for name, child in named
        } | ({"…": f"{len(value) - MAX_ITEMS} more"} if len(value) > MAX_ITEMS else {})
    shown = [_plain(child, depth - 1) for child in islice(value, MAX_ITEMS)]
    return shown + ([f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else [])
