"""Homes for pflow: a folder that is its user's, with a registry that has all its nodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.pflow.environments import bin_of
from tests.pflow.pairs import register

if TYPE_CHECKING:
    from pathlib import Path


def furnish(home: Path, version: str) -> dict[str, str]:
    """Make a home, and a folder `work` in it; return the variables of one who lives there."""
    home.mkdir()
    (home / "work").mkdir()
    folder = bin_of(version)
    register(home, folder)
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join((str(folder), os.defpath)),
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
