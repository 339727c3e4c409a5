"""Find copies of PocketFlow in source files: these are read, and never imported."""

from __future__ import annotations

import ast
import os
import re
from importlib.machinery import PathFinder
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pocketflow_otel.pocketflow_names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FILES: Final = 2_000
MAX_FOLDERS: Final = 5_000
"""What is looked at of one folder and those below it."""

MAX_BYTES: Final = 1_000_000
"""Of one file: a copy has some 5,000."""

_OTHERS_CODE: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_RUN: Final = frozenset({"_run", "_run_async"})
_IMPORT: Final = re.compile(rb"^[ \t]*(?:from|import)[ \t]+[^\n#;]+", re.MULTILINE)
_NAME: Final = re.compile(r"\w+(?:\.\w+)*")


class SourceCopy(NamedTuple):
    """A file that defines classes of PocketFlow's.

    Attributes:
        path: The file.
        module: What it is imported as; `__main__` if no other file imports it.
    """

    path: Path
    module: str


def source_copies(folder: Path) -> list[SourceCopy]:
    """Return the copies in a folder and those below it, environments and other people's code apart."""
    found: list[Path] = []
    imported: dict[Path, set[str]] = {}
    for path in islice(_sources(folder), MAX_FILES):
        source = _read(path)
        imported[path] = _imported(source)
        if b"_run" in source and _runs(source):
            found.append(path)
    return [SourceCopy(path, _module(path, folder, imported)) for path in found]


def _sources(folder: Path) -> Iterator[Path]:
    for where, folders, files in islice(os.walk(folder), MAX_FOLDERS):
        within = Path(where)
        folders[:] = sorted(name for name in folders if _is_own(within / name))
        yield from (within / name for name in sorted(files) if name.endswith(".py"))


def _is_own(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _OTHERS_CODE
    return not (hidden or (folder / "pyvenv.cfg").exists())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""


def _imported(source: bytes) -> set[str]:
    """Return the dotted names in a file's imports: of modules, and of what is in them."""
    lines = b"\n".join(_IMPORT.findall(source)).decode("utf-8", "replace")
    return set(_NAME.findall(lines))


def _runs(source: bytes) -> bool:
    """Return whether a file defines one of PocketFlow's classes, with what runs a step.

    A framework's class of the same name that inherits from PocketFlow's is no copy: it is traced with that.
    """
    statements = _statements(source) or ()
    theirs = set().union(*map(_of_pocketflow, statements))
    return any(
        isinstance(part, ast.ClassDef)
        and part.name in NAMES
        and not _RUN.isdisjoint(_methods(part))
        and theirs.isdisjoint(ast.unparse(base).partition(".")[0] for base in part.bases)
        for part in statements
    )


def _of_pocketflow(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement imports the module `pocketflow` by, or what is in it."""
    match statement:
        case ast.Import(names=aliases):
            yield from (alias.asname or alias.name for alias in aliases if alias.name == "pocketflow")
        case ast.ImportFrom(module="pocketflow", level=0, names=aliases):
            for alias in aliases:
                yield from NAMES if alias.name == "*" else (alias.asname or alias.name,)


def _statements(source: bytes) -> list[ast.stmt] | None:
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _methods(cls: ast.ClassDef) -> Iterator[str]:
    return (part.name for part in cls.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))


def _module(path: Path, folder: Path, imported: dict[Path, set[str]]) -> str:
    """Return how others import a file: by one of the names it may have, from wherever that begins."""
    parts = path.relative_to(folder).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
    names = set().union(*(names for other, names in imported.items() if other != path))
    for first in range(len(parts) - 1):
        if (name := ".".join(parts[first:])) in names:
            return name
    if parts[-1] not in names:
        return "__main__"
    first = len(parts) - 1
    while first and (folder.joinpath(*parts[:first]) / "__init__.py").exists():
        first -= 1
    return ".".join(parts[first:])


def defines(path: Path, *names: str) -> bool:
    """Return whether a module has one of these names, or may have."""
    statements = _statements(_read(path))
    found = {"*"} if statements is None else set()
    for part in statements or ():
        match part:
            case ast.ClassDef(name=name):
                found.add(name)
            case ast.ImportFrom(names=aliases):
                found |= {alias.asname or alias.name for alias in aliases}
    return not found.isdisjoint({*names, "*"})


def version_of(path: Path) -> str | None:
    """Return the `__version__` that a module says it has."""
    for part in _statements(_read(path)) or ():
        match part:
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version))):
                return version
    return None


def file_of(module: str, folders: Sequence[str]) -> Path | None:
    """Return the file that a module would be imported from; the packages around it are not imported."""
    within: Sequence[str] | None = folders
    spec = None
    for part in module.split("."):
        spec = None if within is None else PathFinder.find_spec(part, within)
        within = None if spec is None else spec.submodule_search_locations
    return None if spec is None or spec.origin is None else Path(spec.origin)
