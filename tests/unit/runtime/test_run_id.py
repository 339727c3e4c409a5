"""The id of a run: its start to the second, and the way back from the id to the start."""

from __future__ import annotations

import pytest

from pocketflow_otel.runtime.run_id import make_run_id, start_of

SECOND = 1_000_000_000
START = 1_795_375_812


@pytest.mark.parametrize("rest", [0, 1, SECOND // 2, SECOND - 1])
def test_a_run_is_of_the_second_in_which_it_began(rest: int) -> None:
    made = make_run_id(START * SECOND + rest, 0x7F3A91C2_00000001)
    assert (made, start_of(made)) == ("20261122T193012Z-7f3a91c2", START)


@pytest.mark.parametrize("name", ["", "20261322T193012Z-7f3a91c2", "a-run"])
def test_an_id_without_a_date_has_no_start(name: str) -> None:
    assert start_of(name) == 0.0
