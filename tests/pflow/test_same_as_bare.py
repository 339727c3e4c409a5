"""Real pflows, real workflows: bare and traced they do the same, and the traced one leaves its tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.pflow.environments import VERSIONS
from tests.pflow.features import PROCESSES, SCENARIOS, UNFORKED
from tests.pflow.pairs import differences, perform
from tests.support.snapshots import RENEW

if TYPE_CHECKING:
    from tests.pflow.commands import Commands
    from tests.pflow.features import Scenario
    from tests.pflow.servers import Server


EXPECTED = Path(__file__).parent / "expected"

CASES = [
    pytest.param(scenario, version, id=f"{scenario}-{version}")
    for scenario in SCENARIOS
    for version in VERSIONS
    if scenario.is_for(version)
]


@pytest.mark.parametrize(("scenario", "version"), CASES)
def test_pflow_does_the_same_and_leaves_its_tree(
    scenario: Scenario, version: str, tmp_path: Path, server: Server, processes: Commands, forks: Commands
) -> None:
    ways = ways_of(scenario, version, processes, forks)
    bare = perform(scenario, version, tmp_path / "home", server, ways[0], traced=False)
    assert bare.codes == scenario.codes_of(version)
    for commands in ways:
        traced = perform(scenario, version, tmp_path / "home", server, commands, traced=True)
        told = "\n\n".join(traced.trees) + "\n"

        assert list(differences(bare, traced)) == []
        assert traced.told == traced.saved
        if RENEW and text_of(scenario, version) != told:
            EXPECTED.mkdir(exist_ok=True)
            (EXPECTED / f"{scenario}@{version}.txt").write_text(told, encoding="utf-8")
        assert told == text_of(scenario, version)


def ways_of(scenario: Scenario, version: str, processes: Commands, forks: Commands) -> list[Commands]:
    """Return how a scenario is run, each way to be compared with a bare run of the first."""
    if scenario.name in UNFORKED:
        return [processes]
    return [processes, forks] if scenario.name in PROCESSES[version] else [forks]


def text_of(scenario: Scenario, version: str) -> str:
    """Return the tree kept for a version: the file named by it, or by the last one before it."""
    for other in reversed(VERSIONS[: VERSIONS.index(version) + 1]):
        path = EXPECTED / f"{scenario}@{other}.txt"
        if path.exists():
            return path.read_text(encoding="utf-8")
    return ""
