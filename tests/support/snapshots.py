"""Texts that are kept in files, for people to look at: `make snapshots` renews them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RENEW: Final = bool(os.environ.get("UPDATE_SNAPSHOTS"))


def snapshot_text(path: Path, text: str) -> str:
    """Return the text of a snapshot; where snapshots are to be renewed, `text` becomes it first."""
    if RENEW:
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
