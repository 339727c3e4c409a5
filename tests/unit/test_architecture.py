"""Who may import whom: the table of the architecture, and what importing the package loads."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest
from tests.support.source_tree import PACKAGE, below, files, graph, imports, part_of, parts_of, place

if TYPE_CHECKING:
    from pathlib import Path

API = (
    "opentelemetry.context",
    "opentelemetry.metrics",
    "opentelemetry.propagate",
    "opentelemetry.trace",
    "opentelemetry.util",
)
INSTRUMENTATION = ("opentelemetry.instrumentation",)
SDK = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")

READING = ("traces", "analysis", "views", "formats")
STEP = ("api", "runtime", "store", "usage")

LEAVES = ("guard", "fields")

# Each part: what it may import anywhere, and what only inside a function.
# `guard` and `fields` import the standard library, and everybody may import them.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "guard": ((), ()),
    "fields": ((), ()),
    "semconv": ((), ()),
    "config": ((), ()),
    "user_code": ((), ()),
    "store": ((), ()),
    "usage": (("semconv", "pflow_names"), ()),
    "pflow_names": ((), ()),
    "pocketflow_names": ((), ()),
    "runtime": (("semconv", "store", "usage", *API), ()),
    "api": (("semconv", "runtime", "usage", *API), ()),
    "startup_variables": (("config",), ()),
    "instrument": (
        (
            "semconv",
            "config",
            "user_code",
            "pflow_names",
            "pocketflow_names",
            *STEP,
            "startup_variables",
            "wrapt",
            *API,
            *INSTRUMENTATION,
        ),
        (),
    ),
    "sdk": (("config", "export", "instrument", *API, *INSTRUMENTATION, *SDK), ()),
    # `sitecustomize` is the environment's own, which ours stands in front of.
    "startup": (("startup_variables",), ("sdk", "sitecustomize", *INSTRUMENTATION)),
    "traces": (("semconv", "runtime.run_id", "user_code"), ()),
    "analysis": (("semconv", "traces"), ()),
    "views": (("semconv", "traces", "analysis"), ("wcwidth",)),
    "formats": (("semconv", "runtime.run_id", "pflow_names", "store", "usage", "traces", "analysis"), ()),
    "export": (
        ("semconv", "config", *STEP, "traces", "views", *API, *INSTRUMENTATION, *SDK),
        (),
    ),
    "testing": (("config", "instrument", "runtime", "sdk", *API, *SDK), ()),
    "cli": (
        # The demo's flow says `from pocketflow_otel import record_usage`, as a user's would.
        (
            "config",
            "export",
            "pocketflow_names",
            "record_usage",
            "runtime",
            "startup_variables",
            *READING,
            "click",
            "pocketflow",
        ),
        (PACKAGE, "grpc", *API, *SDK),
    ),
}
INIT = ("config", "api", "export", "instrument", "runtime", "sdk")


def allowed(name: str, part: str, *, inside: bool) -> bool:
    if name.partition(".")[0] in sys.stdlib_module_names:
        return True
    if name == f"{PACKAGE}.__version__" or any(below(name, f"{PACKAGE}.{leaf}") for leaf in LEAVES):
        return True
    anywhere, inside_only = ((*INIT, *API), ()) if part == "__init__" else PARTS[part]
    may = (*anywhere, *inside_only) if inside else anywhere
    if below(name, PACKAGE):
        own = name.removeprefix(PACKAGE).removeprefix(".")
        if part != "__init__" and below(own, part):
            return True
        return any(below(own, entry) for entry in may) or (PACKAGE in may and "." not in own)
    # `from opentelemetry import trace`; the namespace itself has nothing to import.
    return any(below(name, entry) for entry in may)


@pytest.mark.parametrize("path", files(), ids=place)
def test_a_module_imports_what_its_part_may_import(path: Path) -> None:
    """What is imported for types alone comes from below, too, where it is ours."""
    part = part_of(path)

    assert [
        f"line {found.line}: {found.name}"
        for found in imports(path)
        if (not found.for_types or below(found.name, PACKAGE))
        and not allowed(found.name, part, inside=found.inside)
    ] == []


def circle_in(arrows: dict[str, set[str]]) -> list[str]:
    """Return a circle of modules or parts, if there is one."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle_in(graph()) == []


def test_arrows_between_parts_go_down() -> None:
    assert circle_in(parts_of(graph())) == []


def test_a_circle_is_found_and_the_graph_is_not_empty() -> None:
    arrows = graph()
    assert "views.styled_text" in arrows["views.live"]
    assert "store.observation" in arrows["runtime.scope"]  # for its types alone
    arrows["semconv"].add("views.live")
    assert set(circle_in(arrows)) >= {"semconv", "views.live"}
    assert circle_in(parts_of(arrows)) != []


def test_the_table_is_not_blind() -> None:
    """The rule itself, on what must be refused and what must not."""
    refused = [
        ("traces", "pocketflow_otel.export.file.file_view", True),
        ("traces", "opentelemetry.trace", True),
        ("traces", "pocketflow_otel.views.wording", True),
        ("analysis", "pocketflow_otel.views.wording", True),
        ("formats", "pocketflow_otel.views.wording", True),
        ("views", "wcwidth.wcswidth", False),
        ("instrument", "opentelemetry.sdk.trace", True),
        ("instrument", "pocketflow", True),
        ("instrument", "pflow.core", True),
        ("testing", "pocketflow", True),
        ("instrument", "pocketflow_otel.export.console.console_view", True),
        ("instrument", "pocketflow_otel.sdk.provider", True),
        ("runtime", "pocketflow_otel.config", False),
        ("usage", "genai_prices", False),
        ("config", "pocketflow_otel.semconv", False),
        ("guard", "opentelemetry.trace", True),
        ("export", "pocketflow_otel.instrument.span_scope", True),
        ("export", "pocketflow_otel.cli.main", True),
        ("cli", "pocketflow_otel.instrument.span_scope", True),
        ("sdk", "pocketflow_otel.cli.main", True),
    ]
    permitted = [
        ("views", "wcwidth.wcswidth", True),
        ("traces", "json", False),
        ("instrument", "pocketflow_otel.guard.guard", False),
        ("export", "pocketflow_otel.views.wording", False),
    ]

    assert [entry for entry in refused if allowed(entry[1], entry[0], inside=entry[2])] == []
    assert [entry for entry in permitted if not allowed(entry[1], entry[0], inside=entry[2])] == []


def test_nothing_but_the_demo_imports_pocketflow() -> None:
    """A program may have a PocketFlow of its own, which is found only once its folder is on the path."""
    importing = {path for path in files() for found in imports(path) if below(found.name, "pocketflow")}

    assert set(map(place, importing)) == {"cli/travel.py"}
