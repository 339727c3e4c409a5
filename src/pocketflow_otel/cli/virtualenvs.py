"""How to bring pocketflow-otel into the environment of a program that lives in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def has_ours(home: Path) -> bool:
    """Return whether an environment has pocketflow-otel installed."""
    return any(home.glob("lib/python*/site-packages/pocketflow_otel-*"))


def remedy(home: Path) -> str:
    """Return the command that installs pocketflow-otel into an environment, its command included.

    >>> from pathlib import PurePosixPath
    >>> remedy(PurePosixPath("/home/ada/.local/share/pipx/venvs/pflow-cli"))
    'pipx inject --include-apps pflow-cli pocketflow-otel'
    >>> remedy(PurePosixPath("/home/ada/.local/share/uv/tools/pflow-cli"))
    'uv tool install pflow-cli --with-executables-from pocketflow-otel'
    >>> remedy(PurePosixPath("/srv/venv"))
    '/srv/venv/bin/python -m pip install pocketflow-otel'

    Args:
        home: The environment's folder, the one that has `bin`.
    """
    if home.parent.name == "tools" and home.parent.parent.name == "uv":
        return f"uv tool install {home.name} --with-executables-from pocketflow-otel"
    if home.parent.name == "venvs" and "pipx" in home.parts:
        return f"pipx inject --include-apps {home.name} pocketflow-otel"
    return f"{home / 'bin' / 'python'} -m pip install pocketflow-otel"
