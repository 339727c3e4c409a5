"""Run one flow by name: `python -m pocketflow_otel.cli.flow_runner app.py:flow --shared topic=tea`."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

_LEADING: Final = re.compile("|".join(map(re.escape, (__file__, importlib.__file__, "<frozen importlib"))))
"""The files that are on the way to the program: this one, and what imports it."""


def main(argv: list[str] | None = None) -> None:
    """Fill a store, run the flow with it. A mistake of the user is one sentence, exit code 2."""
    with _borrowed("click"):
        options = _parse(sys.argv[1:] if argv is None else argv)
    shared = _store(options["shared"], options["shared_file"])
    flow = _load(options["flow"])
    if hasattr(flow, "run_async"):
        asyncio.run(flow.run_async(shared))
    else:
        flow.run(shared)


def _parse(argv: list[str]) -> dict[str, Any]:
    import click

    command = click.Command(
        None,
        params=[
            click.Argument(["flow"], metavar="MODULE:NAME [OPTIONS]"),
            click.Option(
                ["--shared"],
                multiple=True,
                metavar="KEY=VALUE",
                help="Put VALUE, JSON or else a string, into the store.",
            ),
            click.Option(
                ["--shared-file"],
                type=click.Path(path_type=Path),
                metavar="FILE.json",
                help="Fill the store from an object.",
            ),
        ],
        options_metavar="",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    try:
        # No more than parsing: its `main` would also catch what the flow raises.
        return command.make_context("pocketflow-otel run", argv).params
    except click.UsageError as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except click.exceptions.Exit as end:
        raise SystemExit(end.exit_code) from None


@contextmanager
def _borrowed(package: str) -> Iterator[None]:
    """Import a package as it is installed, and unload it again: the program may have its own of this name."""
    if __name__ != "__main__":
        yield
        return
    before = set(sys.modules)
    folder = [] if sys.flags.safe_path else [sys.path.pop(0)]  # Where `python -m` was started.
    try:
        yield
    finally:
        sys.path[:0] = folder
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == package:
                del sys.modules[name]


def _store(pairs: Iterable[str], file: Path | None) -> dict[str, Any]:
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
    spec = _spec(path)
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _spec(path: Path) -> ModuleSpec:
    """Return the spec of a file's module: the one that an import would find, if it is the same file."""
    if path.stem not in sys.modules:
        found = importlib.util.find_spec(path.stem) if "." not in path.stem else None
        if found is not None and found.has_location and path.samefile(str(found.origin)):
            return found
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    return spec


def _import_from(folder: Path) -> None:
    """Have modules found as `python app.py` finds them: in its folder, not where it was started."""
    if sys.flags.safe_path:
        return
    if __name__ == "__main__":  # Then `python -m` has put the working directory first.
        del sys.path[0]
    sys.path.insert(0, str(folder))


def _begin_at_program(error: BaseException) -> None:
    """Take out of a traceback what led to the program's first frame: bare it would begin there."""
    first = error.__traceback__
    while first is not None and _LEADING.match(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    if first is not None or isinstance(error, SyntaxError):  # Python shows no frame where it found that.
        error.__traceback__ = first


def _fail(problem: str) -> NoReturn:
    print(f"Error: {problem}", file=sys.stderr)  # noqa: T201 - this is a command
    raise SystemExit(2)


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        _begin_at_program(error)
        raise
