"""The environments that have a pflow and this package, as `make test` builds them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

VERSIONS: Final = ("0.8.1", "0.10.0", "0.11.0", "newest")
NEWEST: Final = "newest"
ENDS: Final = (VERSIONS[0], NEWEST)
"""The first and the last of them: one of each way in which pflow was made."""

_FOLDER: Final = Path(os.environ.get("PFLOW_ENVIRONMENTS") or Path(sys.prefix, "pflow"))


def bin_of(version: str) -> Path:
    """Return the folder with the commands of a pflow's environment.

    Args:
        version: One of `VERSIONS`.

    Raises:
        RuntimeError: `make test` has not built it.
    """
    folder = _FOLDER / version / "bin"
    if not (folder / "pflow").exists():
        raise RuntimeError(f"there is no pflow in {folder}: `make test` installs it there")
    return folder
