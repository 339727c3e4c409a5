"""What the commands that read traces have in common: RUN, --dir, --json, and mistakes."""

from __future__ import annotations

import gc
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pocketflow_otel.config import DEFAULT_DIRECTORY, Config, no_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.traces.trace import Trace

_SPAN: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class UserError(click.ClickException):
    """A mistake of the user, or a file that cannot be read: one sentence, exit code 2."""

    exit_code = 2


class CommandGroup(click.Group):
    """A group that tells what is wrong with a trace as it tells any mistake."""

    def invoke(self, ctx: click.Context) -> Any:
        from pocketflow_otel.traces.records import TraceError

        try:
            return super().invoke(ctx)
        except TraceError as error:
            raise UserError(str(error)) from None


def directory_of(given: Path | None) -> Path:
    """Return where trace files are: as given, else as the environment says."""
    return (given or Config.from_env(report=no_report).dir).expanduser()


def load(directory: Path | None, run: str) -> Trace:
    """Find a run and read it.

    Raises:
        TraceError: There is no such run, or its file cannot be read.
    """
    from pocketflow_otel.traces import reader, run_directory

    path = run_directory.find(directory_of(directory), run)
    with _uncollected():
        return reader.read(path)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from looking through a long run again and again: half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the id of a run, for the shell."""
    from pocketflow_otel.traces import run_directory, run_files
    from pocketflow_otel.traces.records import TraceError

    try:
        paths = run_directory.run_paths(directory_of(ctx.params.get("directory")))
    except TraceError:
        return []
    found = map(run_files.run_id_of, paths)
    return [name for name in (run_directory.LAST, *found) if name.startswith(incomplete)]


def run_argument(name: str = "run", **options: Any) -> Callable[[Any], Any]:
    """Return a decorator that adds the argument RUN."""
    return click.argument(name, shell_complete=_complete, metavar=name.upper(), **options)


def dir_option(what: str) -> Callable[[Any], Any]:
    """Return a decorator that adds the option --dir, which is `what`."""
    kind = click.Path(file_okay=False, path_type=Path)
    text = f"{what}  [default: {DEFAULT_DIRECTORY}]"
    return click.option("--dir", "directory", type=kind, metavar="D", help=text)


directory_option: Final = dir_option("Where trace files are.")
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Since(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    """A moment: `2d` ago, or a date."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        span = _SPAN.fullmatch(value)
        try:
            if span is not None:
                ago = timedelta(seconds=float(span["number"]) * _UNITS[span["unit"]])
                return (datetime.now(UTC) - ago).timestamp()
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: give 30m, 12h, 2d, 1w, or a date like 2026-11-22", param, ctx)


since_option: Final = click.option(
    "--since", type=Since(), metavar="T", help="Only runs since then: 30m, 12h, 2d, 1w, a UTC date."
)
