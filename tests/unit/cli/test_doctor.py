"""`pocketflow-otel doctor`: one test for each thing it knows."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.processes import write
from tests.support.receiver import closed_port

import pocketflow_otel
from pocketflow_otel.cli import doctor as doctors
from pocketflow_otel.cli.main import main
from pocketflow_otel.export.otlp import exporters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pocketflow_otel.cli.finding import Finding


@pytest.fixture(autouse=True)
def _a_sound_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let each test spoil one thing of a set-up in which all is well: ours is the only distro."""
    entry_points = metadata.entry_points

    def one_distro(**selected: str) -> Any:
        found = entry_points(**selected)
        if selected["group"] in ("opentelemetry_distro", "opentelemetry_configurator"):
            return [point for point in found if point.name == "pocketflow"]
        return found

    monkeypatch.setattr(metadata, "entry_points", one_distro)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # `doctor` reads what lies in the folder: here, all of this repository.


def findings(check: Callable[[], Iterator[Finding]], level: str = "problem") -> list[tuple[str, str]]:
    return [(finding.what, finding.fix) for finding in check() if finding.level == level]


def without(monkeypatch: pytest.MonkeyPatch, distribution: str) -> None:
    """Let it look as if a distribution were not installed."""
    version = metadata.version

    def absent(name: str) -> str:
        if name == distribution:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", absent)


# All is well


def test_a_sound_set_up_has_no_problem_and_exit_code_0() -> None:
    result = CliRunner().invoke(main, ["doctor"])

    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"ok      Python {sys.version.split()[0]} in {sys.prefix}",
        f"ok      pocketflow-otel {pocketflow_otel.__version__}",
        f"ok      pocketflow {metadata.version('pocketflow')} at {pocketflow.__file__}",
        "ok      distro: pocketflow",
        "ok      configurator: pocketflow",
        "ok      no OTLP endpoint is set: nothing leaves this machine",
        f"ok      trace files go to {os.environ['POCKETFLOW_OTEL_DIR']}",
    ]


def test_a_problem_is_printed_with_what_to_type_and_gives_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    result = CliRunner().invoke(main, ["doctor"])

    assert result.exit_code == 1
    assert (
        "PROBLEM OTEL_SDK_DISABLED=true: no spans at all\n        unset OTEL_SDK_DISABLED\n" in result.output
    )


def test_the_findings_can_be_had_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "TRUE")
    result = CliRunner().invoke(main, ["doctor", "--json"])

    assert result.exit_code == 1
    assert {
        "level": "problem",
        "what": "OTEL_SDK_DISABLED=true: no spans at all",
        "fix": "unset OTEL_SDK_DISABLED",
    } in json.loads(result.output)


# What is installed


def test_a_package_that_is_on_the_path_but_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pocketflow-otel")

    assert findings(doctors.check_installation) == [
        (
            "pocketflow-otel is on the path but not installed, so OpenTelemetry finds no entry points of it",
            f"{sys.executable} -m pip install pocketflow-otel",
        )
    ]


def test_a_file_that_hides_the_opentelemetry_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        util, "find_spec", lambda name: SimpleNamespace(origin="/x/opentelemetry/__init__.py")
    )

    assert findings(doctors.check_installation) == [
        (
            "/x/opentelemetry/__init__.py hides the rest of the opentelemetry namespace",
            "rm /x/opentelemetry/__init__.py",
        )
    ]


# pflow in another environment


def install_pflow(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a `pflow` in the environment `home`, and put it on PATH as its installer does."""
    command = write(home / "bin" / "pflow", "")
    command.chmod(0o755)
    on_path = home / "on-path"
    on_path.mkdir()
    (on_path / "pflow").symlink_to(command)
    monkeypatch.setenv("PATH", str(on_path))
    return command


@pytest.mark.parametrize(
    ("place", "fix"),
    [
        ("share/uv/tools/pflow-cli", "uv tool install pflow-cli --with-executables-from pocketflow-otel"),
        ("share/pipx/venvs/pflow-cli", "pipx inject --include-apps pflow-cli pocketflow-otel"),
        ("venv", "{home}/bin/python -m pip install pocketflow-otel"),
    ],
)
def test_a_pflow_of_another_environment(
    tmp_path: Path, place: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / place
    install_pflow(home, monkeypatch)

    assert findings(doctors.check_pflow) == [
        (f"pflow lives in another environment ({home}), which has none of ours", fix.format(home=home))
    ]


def test_a_pflow_of_another_environment_that_has_ours_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_pflow(tmp_path / "venv", monkeypatch)
    write(tmp_path / "venv/lib/python3.12/site-packages/pocketflow_otel-1.dist-info/METADATA", "")

    assert findings(doctors.check_pflow) == []
    assert findings(doctors.check_pflow, "note") == [
        (f"pflow lives in another environment ({tmp_path / 'venv'}), which has pocketflow-otel too", "")
    ]


def test_a_pflow_of_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = install_pflow(tmp_path / "venv", monkeypatch)
    monkeypatch.setattr(sys, "executable", str(command.with_name("python")))

    assert findings(doctors.check_pflow) == []
    assert [what for what, _ in findings(doctors.check_pflow, "ok")] == ["pflow in this environment"]


def test_no_pflow_at_all_is_nothing_to_say() -> None:
    assert list(doctors.check_pflow()) == []


# Auto-instrumentation


def with_distros(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    points = [SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr(metadata, "entry_points", lambda **selected: points)


CHOOSE_OURS = "export OTEL_PYTHON_DISTRO=pocketflow OTEL_PYTHON_CONFIGURATOR=pocketflow"


def test_more_than_one_distro(monkeypatch: pytest.MonkeyPatch) -> None:
    with_distros(monkeypatch, "pocketflow", "distro")

    assert findings(doctors.check_auto_instrumentation) == [
        (
            f"more than one {what} is installed (pocketflow, distro), and the first found is taken",
            CHOOSE_OURS,
        )
        for what in ("distro", "configurator")
    ]


def test_a_distro_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "pocketfow")

    assert findings(doctors.check_auto_instrumentation) == [
        (
            "OTEL_PYTHON_DISTRO=pocketfow names no distro that is installed (pocketflow)",
            "unset OTEL_PYTHON_DISTRO",
        )
    ]


def test_an_empty_variable_names_no_distro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "")

    assert findings(doctors.check_auto_instrumentation) == []
    assert [fix for _, fix in findings(doctors.check_auto_instrumentation, "note")] == [
        "unset OTEL_PYTHON_DISTRO"
    ]


def test_another_distro_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_distros(monkeypatch, "pocketflow", "distro")
    monkeypatch.setenv("OTEL_PYTHON_DISTRO", "distro")
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "pocketflow")

    assert findings(doctors.check_auto_instrumentation) == []
    assert findings(doctors.check_auto_instrumentation, "note") == [
        ("OTEL_PYTHON_DISTRO=distro: ours saves no trace file unless POCKETFLOW_OTEL_FILE=all", "")
    ]


@pytest.mark.parametrize(("disabled", "name"), [("requests, pocketflow", "pocketflow"), ("*", "*")])
def test_an_instrumentation_that_is_switched_off(
    disabled: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", disabled)

    assert findings(doctors.check_auto_instrumentation) == [
        (
            f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS switches {name} off",
            "unset OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        )
    ]


# The SDK


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_a_sampler_that_keeps_nothing(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)

    assert findings(doctors.check_sdk) == [
        (
            f"OTEL_TRACES_SAMPLER={sampler}: every run is sampled out, so it has no view and no file",
            "unset OTEL_TRACES_SAMPLER",
        )
    ]


def test_a_sampler_that_keeps_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")

    assert findings(doctors.check_sdk, "note") == [
        ("OTEL_TRACES_SAMPLER=parentbased_traceidratio keeps 0.1 of the runs; the others leave nothing", "")
    ]


PARENT = f"00-{1:032x}-{2:016x}"


@pytest.mark.parametrize(
    ("parent", "problem"),
    [
        ("nonsense", "TRACEPARENT=nonsense is not valid: runs have no parent"),
        (
            f"{PARENT}-00",
            "TRACEPARENT says that its trace is not sampled (it ends in -00), so runs are not either",
        ),
    ],
)
def test_a_parent_that_spoils_the_runs(parent: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", parent)

    assert findings(doctors.check_sdk) == [(problem, "unset TRACEPARENT")]


def test_a_parent_that_runs_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", f"{PARENT}-01")

    assert findings(doctors.check_sdk) == []
    assert findings(doctors.check_sdk, "note") == [(f"runs join the trace of TRACEPARENT={PARENT}-01", "")]


# Exporters and endpoint


@pytest.fixture
def closed() -> Iterator[str]:
    """Return an endpoint where nobody listens, nor can while the test runs."""
    with closed_port() as port:
        yield f"http://127.0.0.1:{port}"


def test_an_exporter_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pocketflow_consle,none")

    assert findings(doctors.check_exporters) == [
        (
            (
                "OTEL_TRACES_EXPORTER names pocketflow_consle, "
                "which is not installed; nothing at all is traced then"
            ),
            "export OTEL_TRACES_EXPORTER=pocketflow_console",
        )
    ]


def test_a_protocol_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")

    assert findings(doctors.check_exporters) == [
        (
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL='carrier-pigeon': choose one of grpc, http/protobuf, http/json; "
                "nothing at all is traced as it is"
            ),
            "unset OTEL_EXPORTER_OTLP_PROTOCOL",
        )
    ]


def test_json_needs_an_exporter_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    points = [SimpleNamespace(name=name) for name in ("otlp_proto_grpc", "otlp_proto_http")]
    monkeypatch.setattr(metadata, "entry_points", lambda **selected: points)

    assert findings(doctors.check_exporters) == [
        (
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/json needs an exporter that is not installed; "
                "nothing at all is traced without it"
            ),
            f"{sys.executable} -m pip install 'pocketflow-otel[otlp-json]'",
        )
    ]


def test_an_endpoint_that_does_not_answer(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")

    assert findings(doctors.check_exporters) == [
        (
            f"the OTLP endpoint {closed}/v1/traces takes no spans over HTTP: connection refused",
            "start the collector, or unset OTEL_EXPORTER_OTLP_ENDPOINT",
        )
    ]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:notaport", "http://[::1", "http://127.0.0.1:99999"])
def test_an_endpoint_that_is_no_address(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    ((what, fix),) = findings(doctors.check_exporters)

    assert what.startswith(f"the OTLP endpoint {endpoint}/v1/traces takes no spans over HTTP: ")
    assert fix.startswith("export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 ")


@pytest.mark.parametrize(
    ("chosen", "level", "what"),
    [
        (
            "console",
            "problem",
            "OTEL_TRACES_EXPORTER=console has no otlp, so nothing is sent to {}",
        ),
        ("none", "note", "OTEL_TRACES_EXPORTER=none: nothing is sent to {}"),
    ],
)
def test_an_endpoint_that_no_exporter_sends_to(
    chosen: str, level: str, what: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", closed)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", chosen)

    assert [(finding.level, finding.what) for finding in doctors.check_exporters()] == [
        (level, what.format(f"{closed}/v1/traces"))
    ]


def test_headers_that_are_left_out_are_told_without_their_values(
    closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b, Bearer secret")

    assert findings(doctors.check_exporters) == [
        (
            "OTEL_EXPORTER_OTLP_HEADERS: entry 2 of 2 is not name=value, so it is left out",
            "export OTEL_EXPORTER_OTLP_HEADERS=name=value,other=value   # a space in a value is %20",
        )
    ]


def test_what_is_secret_in_a_url_is_not_shown(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = closed.replace("://", "://ada:secret@")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", secret)

    assert "secret" not in str(findings(doctors.check_exporters))


@pytest.mark.parametrize(("protocol", "port"), [(None, 4317), ("grpc", 4317), ("http/protobuf", 4318)])
def test_otlp_without_an_endpoint_is_looked_for_where_the_sdk_sends(
    protocol: str | None, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    if protocol:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setattr(exporters, "probe", lambda signal, name: "Connection refused")

    ((what, fix),) = findings(doctors.check_exporters)
    assert what.startswith(f"the OTLP endpoint http://localhost:{port}")
    assert fix == "start the collector, or unset OTEL_TRACES_EXPORTER"


@pytest.mark.parametrize(
    ("protocol", "port", "fix"),
    [
        ("grpc", 4318, "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("http/protobuf", 4317, "export OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
    ],
)
def test_a_protocol_at_the_port_of_the_other(
    protocol: str, port: int, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setattr(exporters, "probe", lambda signal, name: "Connection refused")

    assert [fix for _, fix in findings(doctors.check_exporters)] == [fix]


# Our own variables


def test_a_variable_that_is_misspelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_CONSOL", "live")

    assert findings(doctors.check_variables) == [
        (
            "POCKETFLOW_OTEL_CONSOL is no variable of ours",
            "unset POCKETFLOW_OTEL_CONSOL   # POCKETFLOW_OTEL_CONSOLE?",
        )
    ]


def test_a_variable_with_a_bad_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_MASK_ERRORS", "maybe")

    assert findings(doctors.check_variables) == [
        (
            "POCKETFLOW_OTEL_MASK_ERRORS='maybe': choose one of true, false",
            "unset POCKETFLOW_OTEL_MASK_ERRORS",
        )
    ]


def test_files_that_were_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_FILE", "off")

    assert findings(doctors.check_variables, "note") == [("POCKETFLOW_OTEL_FILE=off: no trace files", "")]


# The directory


def test_a_file_in_the_directorys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "file", "")
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(file / "traces"))

    assert findings(doctors.check_directory) == [
        (
            f"{file} is no directory, so {file / 'traces'} cannot be made",
            "export POCKETFLOW_OTEL_DIR=~/traces",
        )
    ]


def test_a_directory_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert findings(doctors.check_directory) == [
        (f"{os.environ['POCKETFLOW_OTEL_DIR']} cannot be written", "export POCKETFLOW_OTEL_DIR=~/traces")
    ]


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    folder = os.environ["POCKETFLOW_OTEL_DIR"]

    assert findings(doctors.check_directory) == [
        (f"the disk of {folder} is full", f"rm {folder}/*.json   # or free space elsewhere")
    ]


def test_a_directory_that_is_still_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path / "a" / "b"))

    assert findings(doctors.check_directory, "ok") == [(f"trace files go to {tmp_path / 'a' / 'b'}", "")]


def test_no_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("POCKETFLOW_OTEL_DIR")
    monkeypatch.setattr(Path, "expanduser", homeless)

    assert findings(doctors.check_directory) == [
        (
            "trace files would go to ~/.pflow/traces, but there is no home directory",
            "export POCKETFLOW_OTEL_DIR=/tmp/traces",
        )
    ]
