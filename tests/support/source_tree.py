"""The source as it stands: its modules, what they import, the names and the literals in them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pocketflow_otel

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "pocketflow_otel"
ROOT = Path(pocketflow_otel.__file__).parent


class Import(NamedTuple):
    """One name that a file imports: of which module, when, and where that stands."""

    name: str
    inside: bool
    for_types: bool
    line: int


def files() -> list[Path]:
    """Return the files of the package."""
    return sorted(ROOT.rglob("*.py"))


def place(path: Path) -> str:
    """Return the path of a file in the package: `views/live.py`."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """Return the name of a file's module below the package: `views.live`; empty for the root."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def part_of(path: Path) -> str:
    """Return the part that a file belongs to: its folder, or its name at the top."""
    return place(path).partition("/")[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Import]:
    """Yield what a file imports, when it runs or for its types."""

    def visit(node: ast.AST, *, inside: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            types = for_types or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
            if isinstance(child, ast.Import):
                for name in child.names:
                    yield Import(name.name, inside, types, child.lineno)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno} imports relatively"
                for name in child.names:
                    yield Import(f"{child.module}.{name.name}", inside, types, child.lineno)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from visit(child, inside=inside or function, for_types=types)

    yield from visit(parsed(path), inside=False, for_types=False)


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def module_of(name: str, modules: frozenset[str]) -> str:
    """Return the module that an import names: `views.live` for `pocketflow_otel.views.live.LiveRenderer`."""
    own = name.removeprefix(f"{PACKAGE}.")
    return own if own in modules else own.rpartition(".")[0]


def graph() -> dict[str, set[str]]:
    """Return which modules of ours each module imports: when it runs, in its functions, for its types.

    Without the package's root: it joins the parts, and others import its version alone.
    """
    modules = frozenset(map(module_name, files())) - {""}
    return {
        module_name(path): {
            module_of(found.name, modules) for found in imports(path) if found.name.startswith(f"{PACKAGE}.")
        }
        & modules - {module_name(path)}
        for path in files()
        if module_name(path)
    }


def parts_of(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which parts the modules of each part import."""
    parts: dict[str, set[str]] = {}
    for module, imported in arrows.items():
        part = module.partition(".")[0]
        parts.setdefault(part, set()).update({other.partition(".")[0] for other in imported} - {part})
    return parts


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that code defines or uses, with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name, node.lineno
            case ast.alias(name=imported, asname=name):
                for part in (*imported.split("."), name or ""):
                    yield part, node.lineno


def words(name: str) -> list[str]:
    """Return the words of a name.

    >>> words("_lastSeen_RunTotals")
    ['last', 'seen', 'run', 'totals']
    """
    return re.findall(r"[a-z]+", re.sub(r"(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower())


def literals(tree: ast.AST) -> Iterator[tuple[object, int]]:
    """Yield the values that stand in code, with their lines; docstrings are none."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            yield node.value, node.lineno
