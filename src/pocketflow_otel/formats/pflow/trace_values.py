"""Take single facts out of a pflow trace: what has a wrong type is as if it were not there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pocketflow_otel import pflow_names
from pocketflow_otel.fields import count, instant, mapping, number, text
from pocketflow_otel.store.introspection import name_text, type_text
from pocketflow_otel.store.redaction import MAX_TEXT, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_NAME: Final = 128
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST: Final = 1e15
"""Milliseconds: whatever lasts longer is no duration."""
_BLOB: Final = "$pflow_blob"
"""From 0.14 on, the one key of what stands for a long string: a line of its own has its text."""


def name(value: object) -> str:
    """Return a name, not too long, or nothing."""
    return shorten(text(value), MAX_NAME)


def nanoseconds(milliseconds: object) -> int:
    """Return a duration; 0 for what is none.

    >>> nanoseconds(6.81), nanoseconds(-1), nanoseconds("6")
    (6810000, 0, 0)
    """
    found = number(milliseconds)
    return round(found * 1e6) if found is not None and found < _LONGEST else 0


def moment(value: object) -> int | None:
    """Return a time in nanoseconds since the epoch.

    pflow writes the local time without saying of which place; it is taken for this machine's.

    >>> moment("2026-11-25T23:04:12.324417+00:00")
    1795647852324417000
    """
    found = instant(value)
    return None if found is None else count((found - _EPOCH) // timedelta(microseconds=1) * 1000)


def types(values: object) -> dict[str, str]:
    """Return the types of an object's members by their names, without what is pflow's own."""
    return {name_text(key): _type(value) for key, value in _members_of(values)}


def types_and_marks(values: object) -> dict[str, tuple[str, int]]:
    """Return the types, each with what tells the value from another one of its type, in one process."""
    return {name_text(key): (_type(value), _mark(value)) for key, value in _members_of(values)}


def _members_of(values: object) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in mapping(values).items() if not pflow_names.is_internal(key))


def _mark(value: object) -> int:
    if isinstance(value, (dict, list)):
        return hash(_canonical(value))
    # -1 and -2 have one hash, and so have 1 and true.
    return hash((type(value), value if isinstance(value, str) else repr(value)))


_canonical: Final = json.JSONEncoder(sort_keys=True).encode


def _type(value: object) -> str:
    return "str" if blob_of(value) is not None else type_text(value)


def blob_of(value: object) -> str | None:
    """Return the id of the string that a value stands for."""
    if isinstance(value, dict) and len(value) == 1:
        found = value.get(_BLOB)
        return found if isinstance(found, str) else None
    return None


def words(value: object, blobs: Mapping[str, str]) -> str:
    """Return a text, shortened; nothing for what is none."""
    blob = blob_of(value)
    return shorten(text(value if blob is None else blobs.get(blob)).strip(), MAX_TEXT)


def base_name(path: object) -> str:
    r"""Return the last part of a path, or of what stands for a workflow.

    >>> base_name("/home/ada/child.pflow.md"), base_name(r"C:\flows\child.pflow.md"), base_name("ir-hash:8e")
    ('child.pflow.md', 'child.pflow.md', '')
    """
    if not isinstance(path, str) or not pflow_names.is_file(path) or "${" in path:
        return ""
    return name(pflow_names.base_name(path))
