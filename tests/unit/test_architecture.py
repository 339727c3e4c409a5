"""Who may import whom: the table of the architecture, and what importing the package loads."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pocketflow_otel

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "pocketflow_otel"
ROOT = Path(pocketflow_otel.__file__).parent

API = (
    "opentelemetry.baggage",
    "opentelemetry.context",
    "opentelemetry.environment_variables",
    "opentelemetry.metrics",
    "opentelemetry.propagate",
    "opentelemetry.propagators",
    "opentelemetry.trace",
    "opentelemetry.util",
)
INSTRUMENTATION = ("opentelemetry.instrumentation",)
SDK = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf")

READING = ("traces", "analysis", "views", "formats")
RUN = ("api", "user_code", "pflow_names", "runtime", "store", "usage")

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
    "usage": (("semconv", "pflow_names"), ("genai_prices",)),
    "pflow_names": ((), ()),
    "runtime": (("semconv", "store", "usage", *API), ()),
    "api": (("semconv", "runtime", "usage", *API), ()),
    "startup_variables": ((), ()),
    "instrument": (
        ("semconv", "config", *RUN, "startup_variables", "wrapt", *API, *INSTRUMENTATION),
        (),
    ),
    "sdk": (("config", "export", "instrument", *API, *INSTRUMENTATION, *SDK), ()),
    # `sitecustomize` is the environment's own, which ours stands in front of.
    "startup": (("startup_variables",), ("sdk", "startup", "sitecustomize", *INSTRUMENTATION)),
    "traces": (("semconv", "runtime.run_id", "user_code"), ()),
    "analysis": (("semconv", "traces"), ()),
    "views": (("semconv", "traces", "analysis"), ("wcwidth",)),
    "formats": (("semconv", "runtime.run_id", "pflow_names", "store", "usage", "traces", "analysis"), ()),
    "export": (
        ("semconv", "config", *RUN, "traces", "views", *API, *INSTRUMENTATION, *SDK),
        (),
    ),
    "testing": (("config", "instrument", "sdk", *API, *SDK), ()),
    "cli": (
        # The demo's flow says `from pocketflow_otel import record_usage`, as a user's would.
        (
            "config",
            "export",
            "record_usage",
            "runtime",
            "sdk",
            "semconv",
            "startup_variables",
            *READING,
            "click",
            "pocketflow",
        ),
        (PACKAGE, "grpc", *API, *SDK),
    ),
}
INIT = ("config", "api", "export", "instrument", "runtime", "sdk", "guard")


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    """Return the part of the table a file belongs to: its folder, or its name at the top."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield the modules a file imports when it runs, whether inside a function, and the line."""

    def visit(node: ast.AST, *, inside: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                for name in child.names:
                    yield name.name, inside, child.lineno
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno} imports relatively"
                for name in child.names:
                    yield f"{child.module}.{name.name}", inside, child.lineno
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, inside=inside or function)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), inside=False)


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


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


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_what_its_part_may_import(path: Path) -> None:
    part = part_of(path)

    assert [
        f"line {line}: {name}{' in a function' if inside else ''}"
        for name, inside, line in imports(path)
        if not allowed(name, part, inside=inside)
    ] == []


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
    importing = {
        str(path.relative_to(ROOT))
        for path in modules()
        for name, _, _ in imports(path)
        if below(name, "pocketflow")
    }

    assert importing == {"cli/travel.py"}
