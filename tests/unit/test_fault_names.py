"""What the fault tests under pflow name as strings is there: a stale name would leave a function unbroken."""

from __future__ import annotations

import pkgutil

import pytest
from tests.pflow import broken
from tests.pflow import test_faults as faults

from pocketflow_otel import instrument

NAMED = faults.FEW.union(faults.EARLY, faults.LATE, *faults.OF_VERSION.values())


@pytest.fixture(scope="module")
def modules() -> set[str]:
    """Return the modules of the instrumentation, as `broken.OURS` names them."""
    prefix = f"{instrument.__name__}."
    return {found.name.removeprefix(prefix) for found in pkgutil.walk_packages(instrument.__path__, prefix)}


@pytest.mark.parametrize("ours", broken.OURS)
def test_a_module_whose_functions_are_broken_is_there(ours: str, modules: set[str]) -> None:
    assert [name for name in modules if name == ours or (ours.endswith(".") and name.startswith(ours))]


def test_no_module_of_scopes_is_forgotten(modules: set[str]) -> None:
    """Attempts are counted under PocketFlow too: `tests/unit/test_faults.py` breaks them."""
    scopes = {name for name in modules if name.startswith("scopes.")}

    assert scopes - set(broken.OURS) == {"scopes.attempts", "scopes.stand_in"}


def test_a_function_that_is_named_is_there_to_be_broken() -> None:
    functions = {name for name, _ in broken.functions()}

    assert {name for name in NAMED if name.rpartition(" ")[2] not in functions} == set()


def test_a_function_that_is_left_out_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken, "is_ours_to_break", lambda function: True)
    functions = [function for _, function in broken.functions()]

    assert broken.WRAPPERS - {function.__name__ for function in functions} == set()
    assert broken.SWITCHES - {function.__qualname__ for function in functions} == set()
