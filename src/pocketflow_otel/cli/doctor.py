"""`pocketflow-otel doctor`: why do I see nothing?"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import asdict
from difflib import get_close_matches
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from pocketflow_otel.cli.finding import Finding
from pocketflow_otel.cli.limits_diagnosis import bad_limits, check_limits
from pocketflow_otel.cli.pocketflow_diagnosis import check_copies, check_pocketflow
from pocketflow_otel.cli.virtualenvs import has_ours, remedy
from pocketflow_otel.config import PREFIX, VARIABLES, Config, no_report
from pocketflow_otel.export.otlp.endpoints import (
    EXPORTERS,
    GRPC,
    HTTP,
    JSON,
    PROTOCOL,
    changed_environment,
    endpoint,
    endpoint_is_set,
    exporter_name,
    exporter_names,
    exporter_variable,
    header_variables,
    setting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.export.otlp.endpoints import Endpoint


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(*, as_json: bool) -> None:
    """Say why nothing is to be seen, and what to type.

    Looks at what is installed, which PocketFlow counts in this folder and which copies lie in it,
    which distro and exporters win, the variables that switch tracing, the trace directory, and
    whether the endpoint takes an empty request. Exits with 1 when something is wrong.
    """
    findings = [finding for check in CHECKS for finding in check()]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        marks = {"ok": "ok      ", "note": "note    ", "problem": "PROBLEM "}
        for finding in findings:
            click.echo(marks[finding.level] + finding.what)
            if finding.fix:
                click.echo(" " * 8 + finding.fix)
    if any(finding.level == "problem" for finding in findings):
        raise SystemExit(1)


def check_installation() -> Iterator[Finding]:
    """What of ours is installed here, and whether OpenTelemetry finds it."""
    yield Finding("ok", f"Python {sys.version.split()[0]} in {sys.prefix}")
    try:
        version = metadata.version("pocketflow-otel")
    except metadata.PackageNotFoundError:
        yield Finding(
            "problem",
            "pocketflow-otel is on the path but not installed, so OpenTelemetry finds no entry points of it",
            f"{sys.executable} -m pip install pocketflow-otel",
        )
        return
    yield Finding("ok", f"pocketflow-otel {version}")
    spec = util.find_spec("opentelemetry")
    if spec is not None and spec.origin is not None:
        yield Finding(
            "problem",
            f"{spec.origin} hides the rest of the opentelemetry namespace",
            f"rm {spec.origin}",
        )


def check_pflow() -> Iterator[Finding]:
    """Whether the `pflow` command belongs to this environment."""
    command = shutil.which("pflow")
    here = _has("pflow-cli")
    if command is None:
        return
    home = Path(command).resolve().parent
    if home == Path(sys.executable).parent.resolve() or (here and home == Path(sys.prefix, "bin").resolve()):
        yield Finding("ok", "pflow in this environment")
        return
    if has_ours(home.parent):
        yield Finding(
            "note", f"pflow lives in another environment ({home.parent}), which has pocketflow-otel too"
        )
        return
    yield Finding(
        "problem",
        f"pflow lives in another environment ({home.parent}), which has none of ours",
        remedy(home.parent),
    )


def check_auto_instrumentation() -> Iterator[Finding]:
    """Which distro and configurator `opentelemetry-instrument` would take."""
    for what, variable in (("distro", "OTEL_PYTHON_DISTRO"), ("configurator", "OTEL_PYTHON_CONFIGURATOR")):
        names = [point.name for point in metadata.entry_points(group=f"opentelemetry_{what}")]
        chosen = os.environ.get(variable)
        if chosen is not None and not chosen.strip():
            chosen = None
            yield Finding(
                "note",
                f"{variable} is empty: opentelemetry-instrument finds no {what} of that name, "
                "and pocketflow-otel run does not mind",
                f"unset {variable}",
            )
        if chosen is not None and chosen not in names:
            yield Finding(
                "problem",
                f"{variable}={chosen} names no {what} that is installed ({', '.join(names)})",
                f"unset {variable}",
            )
        elif len(set(names)) > 1 and chosen is None:
            yield Finding(
                "problem",
                f"more than one {what} is installed ({', '.join(names)}), and the first found is taken",
                "export OTEL_PYTHON_DISTRO=pocketflow OTEL_PYTHON_CONFIGURATOR=pocketflow",
            )
        elif chosen is not None and chosen != "pocketflow":
            yield Finding(
                "note", f"{variable}={chosen}: ours saves no trace file unless POCKETFLOW_OTEL_FILE=all"
            )
        else:
            yield Finding("ok", f"{what}: {chosen or ', '.join(names)}")
    disabled = _list("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    for name in ("pocketflow", "pflow", "*"):
        if name in disabled:
            yield Finding(
                "problem",
                f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches {name} off",
                "unset OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
            )


def check_sdk() -> Iterator[Finding]:
    """Whether the SDK is on, and what its sampler does."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding("problem", "OTEL_SDK_DISABLED=true: no spans at all", "unset OTEL_SDK_DISABLED")
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip()
    argument = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    if sampler.endswith("always_off"):
        yield Finding(
            "problem",
            f"OTEL_TRACES_SAMPLER={sampler}: every run is sampled out, so it has no view and no file",
            "unset OTEL_TRACES_SAMPLER",
        )
    elif sampler.endswith("traceidratio"):
        yield Finding(
            "note",
            f"OTEL_TRACES_SAMPLER={sampler} keeps {argument} of the runs; the others leave nothing",
        )
    parent = os.environ.get("TRACEPARENT", "").strip()
    if parent:
        match = re.fullmatch(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})", parent)
        if match is None:
            yield Finding(
                "problem", f"TRACEPARENT={parent} is not valid: runs have no parent", "unset TRACEPARENT"
            )
        elif not int(match[1], 16) & 1:
            yield Finding(
                "problem",
                "TRACEPARENT says that its trace is not sampled (it ends in -00), so runs are not either",
                "unset TRACEPARENT",
            )
        else:
            yield Finding("note", f"runs join the trace of TRACEPARENT={parent}")


_LOCAL_EXPORTERS: Final = frozenset({"console", "pocketflow_console", "pocketflow_file"})
"""Exporters that send nothing anywhere."""


def check_exporters() -> Iterator[Finding]:
    """Whether the exporters that are asked for exist, and their endpoints take what is sent."""
    names = exporter_names("traces")
    if endpoint_is_set() and not any("otlp" in name for name in names):
        target, chosen = endpoint("traces").redacted_target, f"{_TRACES_EXPORTER}={setting(_TRACES_EXPORTER)}"
        if names:
            fix = f"export {_TRACES_EXPORTER}={','.join([*names, 'otlp'])}"
            yield Finding("problem", f"{chosen} has no otlp, so nothing is sent to {target}", fix)
        else:
            yield Finding("note", f"{chosen}: nothing is sent to {target}")
    elif set(names) <= _LOCAL_EXPORTERS and not endpoint_is_set():
        yield Finding("ok", "no OTLP endpoint is set: nothing leaves this machine")
    yield from _check_headers()
    signals: tuple[Literal["traces", "metrics"], ...] = ("traces", "metrics")
    with changed_environment(dict.fromkeys(bad_limits())):  # By which the SDK cannot even be imported.
        for signal in signals:
            for name in exporter_names(signal):
                if (finding := _check_exporter(signal, name)) is not None:
                    yield finding


_TRACES_EXPORTER: Final = exporter_variable("traces")


def _check_exporter(signal: Literal["traces", "metrics"], name: str) -> Finding | None:
    variable, group = exporter_variable(signal), f"opentelemetry_{signal}_exporter"
    known = {point.name for point in metadata.entry_points(group=group)} | {"otlp"}
    to = endpoint(signal, name)
    try:
        concrete = exporter_name(signal, name)
    except ValueError as error:
        return Finding("problem", f"{error}; nothing at all is traced as it is", f"unset {to.protocol_from}")
    if concrete in known:
        return _check_endpoint(signal, name, to) if "otlp" in name else None
    if concrete == EXPORTERS[JSON]:
        asked = f"{to.protocol_from}={to.protocol if name == 'otlp' else name}"
        return Finding(
            "problem",
            f"{asked} needs an exporter that is not installed; nothing at all is traced without it",
            f"{sys.executable} -m pip install 'pocketflow-otel[otlp-json]'",
        )
    return Finding(
        "problem",
        f"{variable} names {name}, which is not installed; nothing at all is traced then",
        f"export {variable}={_nearest(name, known)}",
    )


def _check_endpoint(signal: Literal["traces", "metrics"], name: str, to: Endpoint) -> Finding:
    from pocketflow_otel.cli import endpoint_diagnosis
    from pocketflow_otel.export.otlp.exporters import probe

    what, how = _SIGNAL_NOUNS[signal], _PROTOCOL_NAMES[to.protocol]
    failed = probe(signal, name)
    if not failed:
        return Finding("ok", f"the OTLP endpoint {to.redacted_target} takes {what} over {how}")
    why = endpoint_diagnosis.reason(failed)
    message = f"the OTLP endpoint {to.redacted_target} takes no {what} over {how}: {why}"
    if name == "otlp" and endpoint_diagnosis.may_take_other_protocol(failed):
        protocol, other = to.protocol_from or PROTOCOL, HTTP if to.protocol == GRPC else GRPC
        with changed_environment({protocol: other}):
            if not probe(signal, name):
                message += f"; over {_PROTOCOL_NAMES[other]} it does"
                return Finding("problem", message, f"export {protocol}={other}")
    return Finding("problem", message, endpoint_diagnosis.fix_for(to, failed))


_SIGNAL_NOUNS: Final = {"traces": "spans", "metrics": "metrics"}
_PROTOCOL_NAMES: Final = {GRPC: "gRPC", HTTP: "HTTP", JSON: "HTTP (JSON)"}


def _check_headers() -> Iterator[Finding]:
    """Whether headers are readable; their values are secrets, and not shown."""
    for name in reversed(header_variables("traces")):
        entries = [entry for entry in setting(name).split(",") if entry.strip()]
        for number, entry in enumerate(entries, 1):
            if not re.match(r"\s*[!#$%&'*+\-.^_`|~\w]+\s*=", entry, re.ASCII):
                yield Finding(
                    "problem",
                    f"{name}: entry {number} of {len(entries)} is not name=value, so it is left out",
                    f"export {name}=name=value,other=value   # a space in a value is %20",
                )


def check_variables() -> Iterator[Finding]:
    """Whether our own variables are spelled and set right."""
    for name in os.environ:
        if name.startswith(PREFIX) and name not in VARIABLES and os.environ[name].strip():
            yield Finding(
                "problem",
                f"{name} is no variable of ours",
                f"unset {name}   # {_nearest(name, set(VARIABLES))}?",
            )
    problems: list[str] = []
    config = Config.from_env(report=problems.append)
    for problem in problems:
        yield Finding("problem", problem, f"unset {problem.partition('=')[0]}")
    if config.file == "off":
        yield Finding("note", "POCKETFLOW_OTEL_FILE=off: no trace files")


def check_directory() -> Iterator[Finding]:
    """Whether trace files can be written."""
    from pocketflow_otel.traces import run_files

    directory = Config.from_env(report=no_report).dir
    try:
        directory = directory.expanduser()
    except RuntimeError:
        yield Finding(
            "problem",
            f"trace files would go to {directory}, but there is no home directory",
            "export POCKETFLOW_OTEL_DIR=/tmp/traces",
        )
        return
    nearest = next(folder for folder in (directory, *directory.parents) if folder.exists())
    if not nearest.is_dir():
        yield Finding(
            "problem",
            f"{nearest} is no directory, so {directory} cannot be made",
            "export POCKETFLOW_OTEL_DIR=~/traces",
        )
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("problem", f"{nearest} cannot be written", "export POCKETFLOW_OTEL_DIR=~/traces")
    elif shutil.disk_usage(nearest).free < _MIN_FREE_BYTES:
        yield Finding(
            "problem",
            f"the disk of {nearest} is full",
            f"rm {directory}/*{run_files.TRACE}   # or free space elsewhere",
        )
    else:
        yield Finding("ok", f"trace files go to {directory}")


_MIN_FREE_BYTES: Final = 1_000_000


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _list(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _nearest(name: str, known: set[str]) -> str:
    return next(iter(get_close_matches(name, known, 1, 0.0)))


CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    check_installation,
    check_pocketflow,
    check_copies,
    check_pflow,
    check_auto_instrumentation,
    check_sdk,
    check_limits,
    check_exporters,
    check_variables,
    check_directory,
)
