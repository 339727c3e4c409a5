"""The real docker-compose reads docker-compose.yml."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]


def configures(file: Path, *options: str) -> bool:
    """Return whether the binary accepts a file; the entry point of its package hides the exit code."""
    spec = find_spec("compose")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "docker-compose"
    command = [binary, "--file", file, *options, "config", "--quiet"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_compose_itself_accepts_the_file() -> None:
    assert configures(ROOT / "docker-compose.yml", "--profile", "*")


def test_compose_refuses_what_is_wrong(tmp_path: Path) -> None:
    """The check above can fail: a misspelled key is an error to the same binary."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").replace("depends_on:", "depend_on:")
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(text, encoding="utf-8")
    assert not configures(wrong)
