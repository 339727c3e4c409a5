"""`pocketflow-otel import-pflow`: runs that pflow wrote traces of before anybody traced them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketflow_otel.cli.arguments import UserError, directory_of, directory_option, json_option, since_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.formats.pflow.importer import Importer, ImportOutcome
    from pocketflow_otel.views.styled_text import Line


@click.command("import-pflow")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@since_option
@click.option("--error-text", is_flag=True, help="Take over the texts of failures, which hold data.")
@directory_option
@json_option
def import_pflow(
    *,
    files: tuple[Path, ...],
    since: float | None,
    error_text: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Import runs from pflow's own traces.

    FILE is one of them, or a folder; all of ~/.pflow/debug by default. Names, types, counts, times,
    tokens and cost come along, values do not. A run that is there already is left alone. Exits with
    2 if a file cannot be read; the others are imported.
    """
    from pocketflow_otel.cli.output import note, print_json, print_lines

    place = directory_of(directory)
    importer = _importer(place, since, texts=error_text)
    outcomes: list[ImportOutcome] = []
    for outcome in _taken(importer, files, place):
        outcomes.append(outcome)
        if outcome.problem:
            note(f"Warning: {outcome.problem}")
        elif outcome.state == "running":
            note(f"{outcome.file} is of a run that still goes")
        elif outcome.summary is not None and not as_json:
            print_lines([_line(outcome)], paged=False)
    if as_json:
        print_json([_as_json(outcome) for outcome in outcomes])
    note(_summary(outcomes))
    if any(outcome.state == "unreadable" for outcome in outcomes):
        raise SystemExit(UserError.exit_code)


def _importer(place: Path, since: float | None, *, texts: bool) -> Importer:
    from pocketflow_otel.config import Config, no_report
    from pocketflow_otel.formats.pflow.importer import Importer
    from pocketflow_otel.traces.records import TraceError

    prices = Config.from_env(report=no_report).prices
    try:
        return Importer(place, since=since, prices=prices, texts=texts)
    except TraceError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None


def _taken(importer: Importer, given: tuple[Path, ...], place: Path) -> Iterator[ImportOutcome]:
    """Yield what becomes of each file.

    Raises:
        UserError: Trace files cannot be written.
    """
    from pocketflow_otel.formats.pflow.importer import pflow_traces

    for path in pflow_traces(given):
        try:
            yield importer.take(path)
        except OSError as error:
            raise UserError(f"{place} cannot be written: {error.strerror}") from None


def _line(outcome: ImportOutcome) -> Line:
    from pocketflow_otel.views import wording
    from pocketflow_otel.views.styled_text import Part
    from pocketflow_otel.views.tree import run_line

    summary = outcome.summary
    assert summary is not None
    cost = wording.cost_of(summary.sums()) if summary.calls else ""
    totals = wording.joined([wording.plural(summary.steps, "step"), cost])
    return (*run_line(summary), Part(f"  {totals}"))


def _as_json(outcome: ImportOutcome) -> dict[str, Any]:
    summary = outcome.summary
    document: dict[str, Any] = {
        "file": str(outcome.file),
        "state": outcome.state,
        "problem": outcome.problem or None,
    }
    return document | {"run": summary.as_json() if summary is not None else None}


def _summary(outcomes: list[ImportOutcome]) -> str:
    """Return what became of all, in one line."""
    from pocketflow_otel.views.wording import plural

    counts = Counter(outcome.state for outcome in outcomes)
    others = [
        (counts["already there"], "already there"),
        (counts["running"], "still running"),
        (counts["older"], "older"),
        (counts["unreadable"], "could not be read"),
    ]
    return ", ".join(
        [
            f"{plural(counts['imported'], 'run')} imported",
            *(f"{number} {what}" for number, what in others if number),
        ]
    )
