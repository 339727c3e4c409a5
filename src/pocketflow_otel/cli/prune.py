"""`pocketflow-otel prune`: retention now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pocketflow_otel.cli.arguments import UserError, directory_of, directory_option, json_option

if TYPE_CHECKING:
    from pathlib import Path

    from pocketflow_otel.traces.retention import Keep


class Limit(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.3 on
    """A number of at least 0, or `all`, which is `inf`: no limit."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = float("inf") if str(value).lower() == "all" else float(value)
        except ValueError:
            number = -1.0
        if not number >= 0:
            self.fail(f"{value!r}: give a number of at least 0, or all", param, ctx)
        return number


@click.command()
@click.option("--keep-runs", type=Limit(), metavar="N", help="Keep the newest N runs.")
@click.option("--keep-days", type=Limit(), metavar="N", help="Keep runs of the last N days.")
@click.option("--keep-bytes", type=Limit(), metavar="N", help="Keep so much together.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@directory_option
@json_option
def prune(
    *,
    keep_runs: float | None,
    keep_days: float | None,
    keep_bytes: float | None,
    dry_run: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Remove runs past the limits.

    Also makes trace files of interrupted runs. The limits are those of POCKETFLOW_OTEL_KEEP_RUNS,
    _KEEP_DAYS and _KEEP_BYTES, unless given here; `all` is no limit. Running ones and the newest 20
    always stay. It happens after each run, too.
    """
    from pocketflow_otel.cli.output import note, print_json
    from pocketflow_otel.traces import finalize, retention
    from pocketflow_otel.views.wording import plural

    place = directory_of(directory)
    keep = _keep(keep_runs, keep_days, keep_bytes)
    recovered = [] if dry_run else list(finalize.recover(place))
    try:
        gone = retention.prune(place, keep, dry=dry_run) if place.is_dir() else []
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}") from None
    if as_json:
        print_json({"removed": list(map(str, gone)), "recovered": list(map(str, recovered))})
        return
    for path in gone:
        click.echo(str(path))
    verb = "would go" if dry_run else "removed"
    note(f"{plural(len(gone), 'file')} {verb}, {plural(len(recovered), 'interrupted run')} recovered")


def _keep(*given: float | None) -> Keep:
    """Return the limits that were given, and those of the environment for the others."""
    from pocketflow_otel.config import Config, no_report
    from pocketflow_otel.traces.retention import Keep

    config = Config.from_env(report=no_report)
    chosen = [
        default if limit is None else None if limit == float("inf") else limit
        for limit, default in zip(given, (config.keep_runs, config.keep_days, config.keep_bytes), strict=True)
    ]
    return Keep(*chosen)  # type: ignore[arg-type]  # whole numbers or not, they only compare
