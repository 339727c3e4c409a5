"""Real `pflow` processes, bare and under `opentelemetry-instrument`."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent.parent / "pflow" / "newest" / "bin"
"""The newest pflow, where `make` installs it."""

WITHOUT_OURS = {
    "OTEL_PYTHON_DISTRO": "none",
    "OTEL_PYTHON_CONFIGURATOR": "none",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "pocketflow,pflow",
}
"""What makes `opentelemetry-instrument` behave as where this package is not installed."""

_home = mkdtemp(prefix="pocketflow-otel-bench-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

WORKFLOW = """# Steps

## Steps

""" + "\n".join(
    f"""### step-{number}

Counts.

- type: code

```python code
result: int = {number}
```
"""
    for number in range(20)
)


def workflow() -> Path:
    """Write a workflow of twenty small steps."""
    path = Path(_home) / "steps.pflow.md"
    path.write_text(WORKFLOW, encoding="utf-8")
    return path


def pflow(*arguments: str | Path, **variables: str) -> Callable[[], None]:
    """Return what runs pflow as it is."""
    return partial(_run, [BIN / "pflow", *arguments], variables)


def instrumented(*arguments: str | Path, **variables: str) -> Callable[[], None]:
    """Return what runs pflow under `opentelemetry-instrument`."""
    return partial(_run, [BIN / "opentelemetry-instrument", BIN / "pflow", *arguments], variables)


def _run(command: list[str | Path], variables: dict[str, str]) -> None:
    subprocess.run(
        command,
        env={**os.environ, "HOME": _home, **variables},
        cwd=_home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
