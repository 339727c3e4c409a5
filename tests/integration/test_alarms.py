"""Time limits that are up at random moments get to the program, whatever is traced and shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.support.processes import run

SOAK = Path(__file__).parent.parent / "soak"


@pytest.mark.parametrize("output", ["bare", "off", "live", "file", "closed port", "receiver", "everything"])
def test_no_limit_is_lost(output: str) -> None:
    """`tests/soak/alarms.py` sets more of them."""
    done = run(sys.executable, SOAK / "alarms.py", "--alarms", "40", output)
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    assert re.fullmatch(rf"{output}: 40 alarms, 0 lost\n", done.stdout)
