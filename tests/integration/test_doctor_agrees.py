"""What `doctor` says of an endpoint is what a run then does: compared over many environments."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.patience import AT_THE_END
from tests.support.processes import APP, ours, write
from tests.support.receiver import Receiver, closed_port

from pocketflow_otel.cli.main import main
from pocketflow_otel.export.otlp import batch_processor, endpoints, exporters
from pocketflow_otel.sdk.configure import new_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASE, HOW = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES, TRACES_HOW = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
CHOSEN = "OTEL_TRACES_EXPORTER"
HTTP = "http/protobuf"

ENVIRONMENTS = [
    # Sent
    ({HOW: HTTP, BASE: "http://{http}"}, True),
    ({HOW: HTTP, BASE: " http://{http}/ "}, True),
    ({BASE: "http://{http}", HOW: HTTP, TRACES: "", TRACES_HOW: " ", CHOSEN: ""}, True),
    ({BASE: "http://{grpc}", HOW: "", TRACES: "", TRACES_HOW: " ", CHOSEN: ""}, True),
    (
        {
            HOW: HTTP,
            BASE: "http://{http}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "",
            "OTEL_EXPORTER_OTLP_COMPRESSION": " ",
        },
        True,
    ),
    ({BASE: "http://{http}", HOW: "http/json"}, True),
    ({BASE: "http://{http}", HOW: "HTTP/protobuf"}, True),
    ({TRACES: "http://{http}/v1/traces", BASE: "http://{closed}"}, True),
    ({BASE: "http://{grpc}"}, True),
    ({BASE: "http://{grpc}", HOW: "grpc"}, True),
    ({BASE: "http://{grpc}", HOW: "grpc", "OTEL_EXPORTER_OTLP_INSECURE": " "}, True),
    ({BASE: "{grpc}", HOW: "grpc", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, True),
    ({BASE: "http://{http}", TRACES: "http://{grpc}", TRACES_HOW: "grpc"}, True),
    ({HOW: HTTP, BASE: "http://{http}", CHOSEN: "none, otlp,"}, True),
    ({BASE: "http://{grpc}", CHOSEN: "otlp_proto_grpc"}, True),
    ({BASE: "http://{http}", CHOSEN: "otlp_json_http"}, True),
    ({HOW: HTTP, BASE: "http://{http}", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a"}, True),
    # Not sent
    ({BASE: ""}, False),
    ({HOW: HTTP, BASE: "http://{http}", CHOSEN: "none"}, False),
    ({HOW: HTTP, BASE: "http://{http}", CHOSEN: "pocketflow_file"}, False),
    ({HOW: HTTP, BASE: "http://{http}", CHOSEN: "nonesuch"}, False),
    ({BASE: "http://{http}", HOW: "carrier-pigeon"}, False),
    ({HOW: HTTP, BASE: "http://{http}", "OTEL_SDK_DISABLED": "true"}, False),
    ({BASE: "http://{closed}"}, False),
    ({BASE: "http://{http}", HOW: "grpc"}, False),
    ({BASE: "http://{http}"}, False),
    ({HOW: HTTP, BASE: "{http}"}, False),
    ({BASE: "{grpc}", HOW: "grpc"}, False),
    ({HOW: HTTP, BASE: "https://{http}"}, False),
    ({BASE: "https://{grpc}", HOW: "grpc"}, False),
    ({HOW: HTTP, BASE: "http://{http}/v1/traces"}, False),
    ({TRACES: "http://{http}"}, False),
    ({BASE: "http://127.0.0.1:notaport"}, False),
    ({BASE: "http://{grpc}", HOW: "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"}, False),
]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(paths=("/v1/traces",)).running() as receiver:
        yield receiver


@pytest.fixture
def given(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, str]], None]]:
    """Set variables, with the addresses of the receiver."""
    monkeypatch.chdir(tmp_path)  # `doctor` reads what lies in the folder: here, all of this repository.
    with closed_port() as closed:
        where = {
            "http": f"127.0.0.1:{receiver.http_port}",
            "grpc": f"127.0.0.1:{receiver.grpc_port}",
            "closed": f"127.0.0.1:{closed}",
        }

        def set_all(variables: dict[str, str]) -> None:
            monkeypatch.setenv("OTEL_PYTHON_DISTRO", "pocketflow")
            monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "pocketflow")
            for name, value in variables.items():
                monkeypatch.setenv(name, value.format(**where))

        yield set_all


@pytest.fixture
def patient(arrives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process wait for the receiver where it answers; those that end together share their time."""
    monkeypatch.setattr(batch_processor, "_exit_deadline", 0.0)
    if arrives:
        monkeypatch.setattr(batch_processor, "EXIT_SECONDS", 120.0)
        monkeypatch.setattr(exporters, "_PROBE_SECONDS", 120)


def says_ok(output: str, code: int) -> bool:
    return code == 0 and "the OTLP endpoint" in output and " takes spans over " in output


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("variables", "arrives"), ENVIRONMENTS, ids=str)
def test_doctor_says_what_configure_does(
    variables: dict[str, str], arrives: bool, receiver: Receiver, given: Callable[[dict[str, str]], None]
) -> None:
    given(variables)
    before = len(receiver.spans)
    with suppress(Exception):  # What `configure()` raises for a variable that cannot be meant.
        with endpoints.changed_environment(exporters.variables_for_setup()):
            provider = new_provider("test")
        with provider.get_tracer("test").start_as_current_span("step"):
            pass
        provider.shutdown()
    result = CliRunner().invoke(main, ["doctor"])

    if variables.get(CHOSEN) != "nonesuch":  # `configure()` looks at OTLP's exporters alone.
        assert (len(receiver.spans) > before) is arrives
    assert says_ok(result.output, result.exit_code) is arrives, result.output


@pytest.mark.parametrize(
    ("variables", "arrives"),
    [
        ({BASE: "http://{grpc}", HOW: "", TRACES: " ", "OTEL_EXPORTER_OTLP_TIMEOUT": "", CHOSEN: ""}, True),
        ({BASE: "http://{http}", HOW: "HTTP/json"}, True),
        ({BASE: "http://{grpc}", HOW: "grpc", CHOSEN: "none, otlp,"}, True),
        ({HOW: HTTP, BASE: "http://{http}", CHOSEN: "nonesuch"}, False),
        ({BASE: "http://{http}", HOW: "carrier-pigeon"}, False),
        ({BASE: "{grpc}", HOW: "grpc"}, False),
    ],
    ids=str,
)
def test_doctor_says_what_a_run_does(
    variables: dict[str, str],
    arrives: bool,
    receiver: Receiver,
    given: Callable[[dict[str, str]], None],
    tmp_path: Path,
) -> None:
    given(variables)
    before = len(receiver.spans)
    done = ours("run", write(tmp_path / "app.py", (AT_THE_END if arrives else "") + APP))
    doctor = ours("doctor")

    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert (len(receiver.spans) > before) is arrives
    assert says_ok(doctor.stdout, doctor.returncode) is arrives, doctor.stdout
    assert "Traceback" not in doctor.stderr
