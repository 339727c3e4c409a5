"""The package as it is installed: public names, version, entry points, and the size of its files."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import metadata, resources

import pytest
from tests.support.source_tree import ROOT

import pocketflow_otel
from pocketflow_otel import Config
from pocketflow_otel.config import VARIABLES

MOST_LINES = 400


def test_the_public_names_are_sorted_and_complete() -> None:
    lazy = set(pocketflow_otel._NEEDS_SDK)
    bound = {
        name
        for name, value in vars(pocketflow_otel).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("pocketflow_otel")
    }

    assert pocketflow_otel.__all__ == sorted(pocketflow_otel.__all__)
    assert set(pocketflow_otel.__all__) == bound | lazy


@pytest.mark.parametrize("name", pocketflow_otel.__all__)
def test_a_public_name_can_be_imported_and_is_documented(name: str) -> None:
    found = getattr(pocketflow_otel, name)
    text = inspect.getdoc(found)

    assert text
    assert text[0].isupper()
    assert found.__module__.partition(".")[0] == "pocketflow_otel"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pocketflow_otel' has no attribute 'configur'"):
        pocketflow_otel.configur


def test_the_version_is_the_one_that_was_installed() -> None:
    assert pocketflow_otel.__version__ == metadata.version("pocketflow-otel")


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("pocketflow_otel").joinpath("py.typed").is_file()


def test_every_field_of_the_config_has_its_variable_and_its_documentation() -> None:
    fields = [field.name for field in dataclasses.fields(Config)]

    assert [*VARIABLES] == [f"POCKETFLOW_OTEL_{field.upper()}" for field in fields]
    assert [field for field in fields if f"\n    {field}: " not in f"\n{inspect.getdoc(Config)}"] == []


ENTRY_POINTS = [
    point for point in metadata.distribution("pocketflow-otel").entry_points if point.group != "pytest11"
]


@pytest.mark.parametrize("point", ENTRY_POINTS, ids=lambda point: f"{point.group}:{point.name}")
def test_an_entry_point_can_be_loaded(point: metadata.EntryPoint) -> None:
    assert callable(point.load())


def test_opentelemetry_finds_what_it_looks_for_by_name() -> None:
    assert {(point.group, point.name) for point in ENTRY_POINTS} >= {
        ("console_scripts", "pocketflow-otel"),
        ("opentelemetry_instrumentor", "pocketflow"),
        ("opentelemetry_instrumentor", "pflow"),
        ("opentelemetry_distro", "pocketflow"),
        ("opentelemetry_configurator", "pocketflow"),
        ("opentelemetry_traces_exporter", "pocketflow_console"),
        ("opentelemetry_traces_exporter", "pocketflow_file"),
    }


def test_no_instrumentor_is_kept_away_by_a_dependency_of_another() -> None:
    """Auto-instrumentation checks the extra `instruments` per distribution, `instruments-any` not so."""
    extras = metadata.metadata("pocketflow-otel").get_all("Provides-Extra") or []

    assert "instruments-any" in extras
    assert "instruments" not in extras


def test_extras_are_for_users() -> None:
    extras = metadata.metadata("pocketflow-otel").get_all("Provides-Extra") or []

    assert sorted(extras) == ["instruments-any", "openai", "otlp-json", "pflow", "threads"]


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in ROOT.rglob("*.py")
    }

    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_folders_are_roles_not_drawers() -> None:
    drawers = {"utils", "helpers", "core", "common", "manager", "misc"}

    assert [path for path in ROOT.rglob("*") if path.stem in drawers] == []
