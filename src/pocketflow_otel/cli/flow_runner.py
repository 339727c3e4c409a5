"""Run one flow by name: `python -m pocketflow_otel.cli.flow_runner app.py:flow --shared topic=tea`."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, NoReturn


def main(argv: list[str] | None = None) -> None:
    """Fill a store, run the flow with it. A mistake of the user is one sentence, exit code 2."""
    parser = argparse.ArgumentParser(prog="pocketflow-otel run MODULE:NAME")
    parser.add_argument("flow", metavar="MODULE:NAME")
    parser.add_argument(
        "--shared",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="put VALUE, JSON or else a string, into the store",
    )
    parser.add_argument("--shared-file", type=Path, metavar="FILE.json", help="fill the store from an object")
    options = parser.parse_args(argv)
    shared = _store(options.shared, options.shared_file)
    flow = _load(options.flow)
    if hasattr(flow, "run_async"):
        asyncio.run(flow.run_async(shared))
    else:
        flow.run(shared)


def _store(pairs: list[str], file: Path | None) -> dict[str, Any]:
    shared: dict[str, Any] = {}
    if file is not None:
        try:
            shared = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            _fail(f"--shared-file {file}: {error.strerror}")
        except ValueError as error:
            _fail(f"--shared-file {file}: no JSON ({error})")
        if not isinstance(shared, dict):
            _fail(f"--shared-file {file}: give a JSON object")
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            _fail(f"--shared {pair}: give KEY=VALUE")
        try:
            shared[key] = json.loads(value)
        except ValueError:
            shared[key] = value
    return shared


def _load(spec: str) -> Any:
    where, _, name = spec.rpartition(":")
    found: Any = _module(where)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            _fail(f"{where} has no {name}")
    if not hasattr(found, "_run") or isinstance(found, type):
        if not callable(found):
            _fail(f"{spec} is no flow and no function that makes one")
        found = found()
    if not (hasattr(found, "run") or hasattr(found, "run_async")):
        _fail(f"{spec} made a {type(found).__name__}, which is no flow")
    return found


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not (where == error.name or where.startswith(f"{error.name}.")):
                raise
            _fail(f"there is no module {where}")
    path = Path(where)
    if not path.is_file():
        _fail(f"there is no file {where}")
    _import_from(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import_from(folder: Path) -> None:
    """Have modules found as `python app.py` finds them: in its folder, not where it was started."""
    if sys.flags.safe_path:
        return
    if __name__ == "__main__":  # Then `python -m` has put the working directory first.
        del sys.path[0]
    sys.path.insert(0, str(folder))


def _fail(problem: str) -> NoReturn:
    print(f"Error: {problem}", file=sys.stderr)  # noqa: T201 - this is a command
    raise SystemExit(2)


if __name__ == "__main__":
    main()
