"""Which PocketFlow a program in this folder would import, and the copies that lie in it."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pocketflow_otel.cli.finding import Finding
from pocketflow_otel.cli.source_copies import defines, file_of, source_copies, version_of
from pocketflow_otel.config import Config, no_report
from pocketflow_otel.pocketflow_names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN: Final = "pocketflow"


def check_pocketflow() -> Iterator[Finding]:
    """Which PocketFlow a program in this folder would import: PyPI's, or a copy of its own."""
    path = _file_of(_OWN)
    if path is None:
        yield Finding(
            "note" if source_copies(Path.cwd()) else "problem",
            "pocketflow is not installed here",
            f"{sys.executable} -m pip install pocketflow",
        )
    elif not defines(path, "Flow", "Node"):
        yield Finding(
            "problem",
            f"{path} is not the framework: it has no Flow and no Node",
            "look for a file of your own named pocketflow.py, and rename it",
        )
    elif (version := _installed_version(path)) is not None:
        yield Finding("ok", f"pocketflow {version} at {path}")
    else:
        own = version_of(path)
        what = f"programs in this folder have a pocketflow of their own: {path}"
        yield Finding("note", what if own is None else f"{what} (version {own})")


def _file_of(module: str) -> Path | None:
    return file_of(module, [str(Path.cwd()), *sys.path])


def _installed_version(path: Path) -> str | None:
    """Return the version of the distribution that a file belongs to; `None` where it is a program's own."""
    if path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts:
        return None
    try:
        return metadata.version(_OWN)
    except metadata.PackageNotFoundError:
        return None


def check_copies() -> Iterator[Finding]:
    """Which copies lie in this folder under other names, and which modules the variable names."""
    named = [name for name in Config.from_env(report=no_report).modules if isinstance(name, str)]
    copies = source_copies(Path.cwd())
    for name in named:
        if name != "__main__":
            yield _check_named(name)
    counts = _file_of(_OWN)
    named_files = {_file_of(name) for name in named}
    untraced = [copy for copy in copies if copy.path != counts and copy.path not in named_files]
    variable = ",".join(dict.fromkeys([*named, *(copy.module for copy in untraced)]))
    for path, module in untraced:
        where = path.relative_to(Path.cwd())
        if module == _OWN:
            yield Finding("note", f"{where} is the pocketflow of programs beside it, and traced there")
        elif module in named:
            yield Finding("ok", f"{where} has PocketFlow's classes, traced when it is run")
        else:
            yield Finding(
                "note",
                f"{where} has PocketFlow's classes under another name, and is not traced",
                f"export POCKETFLOW_OTEL_MODULES={variable}",
            )


def _check_named(module: str) -> Finding:
    path = _file_of(module)
    if path is None:
        return Finding("note", f"POCKETFLOW_OTEL_MODULES names {module}, which is not found from this folder")
    if not defines(path, *NAMES):
        return Finding(
            "problem",
            f"POCKETFLOW_OTEL_MODULES names {module}, but {path} has no Flow and no Node",
            "name the module that defines them",
        )
    return Finding("ok", f"{module} is traced as a PocketFlow: {path}")
