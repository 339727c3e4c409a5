"""Homes for pflow: a folder that is its user's, with a registry that has all its nodes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.pflow.environments import bin_of


def furnish(home: Path, version: str) -> dict[str, str]:
    """Make a home, and a folder `work` in it; return the variables of one who lives there."""
    home.mkdir()
    (home / "work").mkdir()
    register(home, version)
    return variables_of(home, version)


def variables_of(home: Path, version: str) -> dict[str, str]:
    """Return the variables of one who lives in a home, and has a pflow's commands."""
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join((str(bin_of(version)), os.defpath)),
        "LANG": "C.UTF-8",
    }


def with_models(variables: dict[str, str], url: str) -> dict[str, str]:
    """Return the variables, and those that make all models, and all of the network, a server at `url`."""
    return {
        **variables,
        "OPENAI_API_KEY": "sk-not-a-key",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_API_KEY": "sk-not-a-key",
        "ANTHROPIC_API_BASE": url,
        "ANTHROPIC_BASE_URL": url,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "http_proxy": url,
        "https_proxy": url,
        "no_proxy": "127.0.0.1",
    }


def register(home: Path, version: str) -> None:
    """Lay into a home what pflow wrote when it found its nodes, the llm node too.

    0.10 and 0.11 look for it with its own folder on Python's path, where `llm` is that node and not
    the library of that name, unless the library has been imported before. Newer ones have no such library.
    """
    path = home / REGISTRY
    path.parent.mkdir()
    path.write_bytes(_registry(version))


REGISTRY: Final = ".pflow/registry.json"
_REGISTER: Final = """
import contextlib
with contextlib.suppress(ImportError):
    import llm
from pflow.registry import Registry
Registry().load()
"""


@cache
def _registry(version: str) -> bytes:
    """Return the registry that a pflow writes: no home is named in it."""
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(
            [bin_of(version) / "python", "-c", _REGISTER],
            env={"HOME": home},
            cwd=home,
            capture_output=True,
            check=True,
        )
        return Path(home, REGISTRY).read_bytes()
