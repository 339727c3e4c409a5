"""Spans arrive at a real receiver, whole; and where none answers, nothing happens to the flow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.support.patience import AT_THE_END
from tests.support.receiver import Receiver, closed_port, hang_up, stay_silent, tcp_server

if TYPE_CHECKING:
    from collections.abc import Iterator


BIN = Path(sys.executable).parent
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""With these set, requests does not look at the certificate that OpenTelemetry's variable names."""

UNHURRIED = {
    "OTEL_BSP_SCHEDULE_DELAY": "600000",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "600",
}
"""Nothing is sent before the end, and an exporter waits for longer than a program of these tests may take."""

PROGRAM = """
from pocketflow import AsyncNode, BatchNode, Flow, Node
from pocketflow_otel import using

class Ask(Node):
    tries = 0
    def prep(self, shared):
        return shared["question"]
    def exec(self, question):
        Ask.tries += 1
        if Ask.tries == 1:
            raise ConnectionError("busy: ü")
        return "42"
    def post(self, shared, question, answer):
        shared["answer"] = answer
        shared["llm_usage"] = {"prompt_tokens": 100, "completion_tokens": 50, "model": "gpt-4o-mini"}
        return "split"

class Split(BatchNode):
    def prep(self, shared):
        return [1, 2, 3]
    def exec(self, item):
        return item * 2

class Fail(Node):
    def exec(self, prepared):
        raise KeyError("chunks")

def create_flow():
    ask, split = Ask(max_retries=2), Split()
    ask - "split" >> split >> Fail()
    return Flow(start=ask)

if __name__ == "__main__":
    shared = {"question": "why?"}
    with using(session_id="chat-7", tags=["a", "b"], metadata={"build": 12}):
        try:
            create_flow().run(shared)
        except KeyError as error:
            print("failed as it must:", error, shared["answer"])
"""


@dataclass
class Done:
    """A child that has ended."""

    code: int
    said: list[str]
    complaints: list[str]
    files: list[dict[str, Any]]


class Programs:
    """Runs programs in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.traces = folder / "traces"

    def instrumented(self, text: str = AT_THE_END + PROGRAM, **variables: str) -> Done:
        """Start a program by `opentelemetry-instrument`."""
        ours = {"OTEL_PYTHON_DISTRO": "pocketflow", "OTEL_PYTHON_CONFIGURATOR": "pocketflow"}
        return self._run(
            [str(BIN / "opentelemetry-instrument"), sys.executable, "app.py"], text, **ours, **variables
        )

    def traced(self, *options: str, text: str = AT_THE_END + PROGRAM, **variables: str) -> Done:
        """Start a program by `pocketflow-otel run`."""
        return self._run([str(BIN / "pocketflow-otel"), "run", *options, "app.py"], text, **variables)

    def plain(self, text: str, **variables: str) -> Done:
        return self._run([sys.executable, "app.py"], text, **variables)

    def _run(self, command: list[str], text: str, **variables: str) -> Done:
        (self.folder / "app.py").write_text(text, encoding="utf-8")
        environ = {
            **{name: value for name, value in os.environ.items() if name not in CERTIFICATES},
            "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", os.defpath))),
            "POCKETFLOW_OTEL_DIR": str(self.traces),
            "POCKETFLOW_OTEL_CONSOLE": "off",
            **variables,
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            timeout=180,
            check=False,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        files = [json.loads(path.read_text("utf-8")) for path in sorted(self.traces.glob("*.json"))]
        complaints = [
            line
            for line in done.stderr.splitlines()  # The test's venv may hold the official distro too.
            if not re.search("distro not loaded|onfigurat.* not loaded", line)
        ]
        return Done(done.returncode, done.stdout.splitlines(), complaints, files)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


def plain(value: Any) -> Any:
    """Return an OTLP/JSON `AnyValue` as a Python value."""
    for kind, content in value.items():
        match kind:
            case "intValue":
                return int(content)
            case "doubleValue":
                return float(content)
            case "arrayValue":
                return [plain(item) for item in content.get("values", ())]
            case _:
                return content
    return None


def attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: plain(pair["value"]) for pair in pairs}


def comparable(span: dict[str, Any]) -> dict[str, Any]:
    """Return all a span says, in Python's values, without the fields that are at their default."""
    events = [
        (event["name"], int(event["timeUnixNano"]), attributes(event.get("attributes", [])))
        for event in span.get("events", ())
    ]
    said = {
        **span,
        "startTimeUnixNano": int(span["startTimeUnixNano"]),
        "endTimeUnixNano": int(span["endTimeUnixNano"]),
        "attributes": attributes(span.get("attributes", [])),
        "events": events,
        "scope": (span["scope"]["name"], span["scope"].get("version", "")),
        "resource": attributes(span["resource"]["attributes"]),
    }
    return {name: value for name, value in said.items() if value}


def by_id(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {span["spanId"]: comparable(span) for span in spans}


def spans_in(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**span, "resource": resource["resource"], "scope": scope["scope"]}
        for file in files
        for resource in file["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def check_arrived(done: Done, receiver: Receiver, spans: int = 7) -> None:
    """Compare what the receiver got with what the trace files hold, attribute by attribute."""
    assert (done.code, done.said, done.complaints) == (0, ["failed as it must: 'chunks' 42"], [])
    arrived = by_id(receiver.spans)
    assert arrived == by_id(spans_in(done.files))
    assert (len(arrived), len(receiver.spans)) == (spans, spans)


def needs_json() -> None:
    if find_spec("opentelemetry.exporter.otlp.json") is None:
        pytest.skip("needs the extra otlp-json")


# Arriving


def test_spans_arrive_whole_over_grpc(programs: Programs, receiver: Receiver) -> None:
    done = programs.instrumented(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}")
    check_arrived(done, receiver)


def test_spans_arrive_whole_over_http(programs: Programs, receiver: Receiver) -> None:
    done = programs.instrumented(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.http_port}",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=secret",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )
    check_arrived(done, receiver)
    assert {metadata["x-key"] for metadata in receiver.metadata} == {"secret"}


@pytest.mark.parametrize(
    "variable", [{"OTEL_TRACES_EXPORTER": "otlp_json_http"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}]
)
def test_spans_arrive_whole_over_json_with_ids_in_hex(
    programs: Programs, receiver: Receiver, variable: dict[str, str]
) -> None:
    needs_json()
    endpoint = f"http://127.0.0.1:{receiver.http_port}"
    done = programs.instrumented(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **variable)
    check_arrived(done, receiver)
    assert {metadata["content-type"] for metadata in receiver.metadata} == {"application/json"}
    for span in receiver.spans:
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"])


def test_a_traces_endpoint_with_its_path_is_enough(programs: Programs, receiver: Receiver) -> None:
    endpoint = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
    check_arrived(programs.instrumented(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint), receiver)


def test_run_sends_to_one_url_over_http(programs: Programs, receiver: Receiver) -> None:
    done = programs.traced("--otlp", f"127.0.0.1:{receiver.http_port}")
    check_arrived(done, receiver)


def test_run_sends_to_one_url_with_a_path(programs: Programs, receiver: Receiver) -> None:
    done = programs.traced("--otlp", f"http://127.0.0.1:{receiver.http_port}/some/v1/traces")
    check_arrived(done, receiver)


def test_run_reads_the_variables_too(programs: Programs, receiver: Receiver) -> None:
    done = programs.traced(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}")
    check_arrived(done, receiver)


def test_the_option_wins_over_the_variables(programs: Programs, receiver: Receiver) -> None:
    with closed_port() as port:
        done = programs.traced(
            "--otlp",
            f"http://127.0.0.1:{receiver.http_port}",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_TRACES_EXPORTER="none",
        )
    check_arrived(done, receiver)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_metrics_arrive_with_exemplars_that_lead_to_spans(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    port = receiver.grpc_port if protocol == "grpc" else receiver.http_port
    done = programs.instrumented(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_METRICS_EXPORTER="otlp",
    )
    check_arrived(done, receiver)
    metrics = {metric["name"]: metric for metric in receiver.metrics}
    assert {"pocketflow.runs", "pocketflow.node.duration", "gen_ai.invoke_workflow.duration"} <= set(metrics)
    spans = {span["spanId"] for span in receiver.spans}
    points = metrics["pocketflow.node.duration"]["histogram"]["dataPoints"]
    exemplars = [exemplar for point in points for exemplar in point.get("exemplars", ())]
    assert len(exemplars) == 3
    assert {exemplar["spanId"] for exemplar in exemplars} <= spans


def test_run_leaves_the_environment_as_it_was(programs: Programs, receiver: Receiver) -> None:
    names = "*sorted(name for name in os.environ if 'OTLP' in name or 'EXPORTER' in name)"
    text = AT_THE_END + PROGRAM + f"    import os; print({names})\n"
    done = programs.traced("--otlp", f"http://127.0.0.1:{receiver.http_port}", text=text)
    assert (done.said[-1], len(receiver.spans)) == ("", 7)


def test_configure_sends_by_the_same_variables(programs: Programs, receiver: Receiver) -> None:
    text = f"{AT_THE_END}import pocketflow_otel\npocketflow_otel.configure(console='off')\n{PROGRAM}"
    done = programs.plain(text, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}")
    check_arrived(done, receiver)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[bytes, bytes]]:
    import trustme

    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
    return path, (chain, server.private_key_pem.bytes())


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_arrive_over_tls(
    programs: Programs, certificates: tuple[Path, tuple[bytes, bytes]], protocol: str
) -> None:
    authority, tls = certificates
    with Receiver(tls=tls).running() as receiver:
        port = receiver.grpc_port if protocol == "grpc" else receiver.http_port
        done = programs.instrumented(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(authority),
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc",
        )
    check_arrived(done, receiver)
    assert {metadata["authorization"] for metadata in receiver.metadata} == {"Bearer abc"}


def test_without_an_endpoint_no_connection_is_opened(programs: Programs) -> None:
    text = (
        """
import socket
def refuse(*arguments):
    print("a connection is opened to", arguments[1])
socket.socket.connect = refuse
"""
        + PROGRAM
    )
    done = programs.instrumented(text)
    assert (done.code, done.said, done.complaints) == (0, ["failed as it must: 'chunks' 42"], [])
    assert "grpc" not in " ".join(done.complaints)


# Not arriving


@contextmanager
def fault(name: str, protocol: str) -> Iterator[str]:
    """Have an endpoint that fails in one way; yield its URL."""
    over_grpc = protocol == "grpc"
    if name == "down":
        with closed_port() as port:
            yield f"http://127.0.0.1:{port}"
    elif name in ("silent", "hanging up"):
        with tcp_server(stay_silent if name == "silent" else hang_up) as port:
            yield f"http://127.0.0.1:{port}"
    else:
        receiver = {
            "slow": Receiver(delay=600),
            "429": Receiver(
                status=429, headers={"Retry-After": "60"}, code=grpc.StatusCode.RESOURCE_EXHAUSTED
            ),
            "503": Receiver(status=503, code=grpc.StatusCode.UNAVAILABLE),
            "401": Receiver(status=401, code=grpc.StatusCode.UNAUTHENTICATED),
            "tls mismatch": Receiver(),
        }[name]
        scheme = "https" if name == "tls mismatch" else "http"
        with receiver.running():
            yield f"{scheme}://127.0.0.1:{receiver.grpc_port if over_grpc else receiver.http_port}"


FAULTS = ["down", "silent", "slow", "hanging up", "429", "503", "401", "tls mismatch"]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("name", FAULTS)
def test_an_endpoint_that_fails_costs_one_line_and_is_not_waited_for(
    programs: Programs, name: str, protocol: str
) -> None:
    with fault(name, protocol) as endpoint:
        done = programs.instrumented(
            PROGRAM,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            **UNHURRIED,
        )
    assert (done.code, done.said) == (0, ["failed as it must: 'chunks' 42"])
    assert len(spans_in(done.files)) == 7
    assert len(done.complaints) == 1, done.complaints
    assert done.complaints[0].startswith("pocketflow-otel: 7 of 7 spans did not reach "), done.complaints
    assert done.complaints[0].endswith("; the trace files have them, for pocketflow-otel send")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_metrics_that_nobody_takes_hold_no_exit_either(programs: Programs, protocol: str) -> None:
    with fault("silent", protocol) as endpoint:
        done = programs.instrumented(
            PROGRAM,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_METRICS_EXPORTER="otlp",
            **UNHURRIED,
        )
    assert done.code == 0
    assert {line.split(" not reach ")[0].split()[-2] for line in done.complaints} <= {"metrics", "spans"}
    assert len(done.complaints) <= 2, done.complaints  # One for each signal.


TOLD = """
import sys, threading
from opentelemetry import trace
told, write = threading.Event(), sys.stderr.write
sys.stderr.write = lambda text: ("the flow goes on" in text and told.set(), write(text))[1]
"""
"""Lets a program know when it has been told that its spans do not arrive."""

LONG = (
    TOLD
    + PROGRAM
    + """
    told.wait()
    for _ in range(3):
        Flow(start=Split()).run({})
        trace.get_tracer_provider().force_flush()
"""
)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_long_flow_is_told_once_that_nobody_answers(programs: Programs, protocol: str) -> None:
    with fault("401", protocol) as endpoint:
        done = programs.instrumented(
            LONG, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol
        )
    first, last = done.complaints
    assert first.endswith("; the flow goes on")
    assert last.startswith("pocketflow-otel: 22 of 22 spans did not reach ")


BURST = """
import time
from pathlib import Path
from pocketflow import BatchNode, Flow

class Burst(BatchNode):
    def prep(self, shared):
        return range(12_000)

    def exec(self, item):
        while item == 11_999 and not Path("arrived").exists():
            time.sleep(0.01)

Flow(start=Burst()).run({})
"""
"""Ends when some of it has arrived."""


class Telling(Receiver):
    """Makes a file when something arrives."""

    def __init__(self, file: Path, **options: Any) -> None:
        super().__init__(**options)
        self.file = file

    def take(self, *arguments: Any) -> None:
        super().take(*arguments)
        self.file.touch()


def test_of_a_burst_what_did_not_arrive_is_counted(programs: Programs) -> None:
    telling = Telling(programs.folder / "arrived", delay=1.5)
    with telling.running() as receiver:  # 24 batches: no machine makes spans that slowly.
        done = programs.instrumented(
            BURST,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}",
            POCKETFLOW_OTEL_MAX_BATCH_ITEMS="12000",
        )
    made = {span["spanId"] for span in spans_in(done.files)}
    received = {span["spanId"] for span in receiver.spans}
    (line,) = done.complaints
    found = re.match(
        r"pocketflow-otel: (?P<lost>[\d,]+) of (?P<made>[\d,]+) spans did not reach \S+"
        r"(?: \((?P<unsure>[\d,]+) of them may have\))?",
        line,
    )
    assert found, line
    lost, told, unsure = (int((found[name] or "0").replace(",", "")) for name in ("lost", "made", "unsure"))
    assert (len(made), told) == (12_002, 12_002)
    assert received <= made
    assert len(received) == len(receiver.spans)
    assert len(received) > 0
    assert len(received) + lost in (told, told + unsure)


# One trace


CHILD = f"""
import subprocess, sys
from pathlib import Path
from pocketflow import Flow, Node
from pocketflow_otel import child_environment

class Start(Node):
    def exec(self, prepared):
        command = ["pocketflow-otel", "run", "--otlp", sys.argv[1], "child.py"]
        subprocess.run(command, env=child_environment(), check=True)

Path("child.py").write_text('''{AT_THE_END}
from pocketflow import Flow, Node
class Inner(Node): pass
Flow(start=Inner()).run({{}})
''')
outer = Flow(start=Start())
outer.run({{}})
"""


def test_a_flow_that_starts_a_traced_flow_is_one_trace(programs: Programs, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.http_port}"
    done = programs.traced("--otlp", url, text=AT_THE_END + CHILD.replace("sys.argv[1]", repr(url)))
    assert (done.code, done.complaints) == (0, [])
    spans = sorted(receiver.spans, key=lambda span: int(span["startTimeUnixNano"]))
    assert [span["name"] for span in spans] == [
        "invoke_workflow outer", "invoke_node Start", "invoke_workflow child", "invoke_node Inner",
    ]  # fmt: skip
    assert len({span["traceId"] for span in spans}) == 1
    assert [span.get("parentSpanId") for span in spans[1:]] == [span["spanId"] for span in spans[:-1]]


def test_threads_in_a_node_keep_its_span(programs: Programs, receiver: Receiver) -> None:
    if find_spec("opentelemetry.instrumentation.threading") is None:
        pytest.skip("needs the extra threads")
    text = """
from concurrent.futures import ThreadPoolExecutor
from pocketflow import Flow, Node

class Inner(Node):
    pass

class Start(Node):
    def exec(self, prepared):
        flow = Flow(start=Inner())
        flow.name = "inner"
        with ThreadPoolExecutor() as pool:
            pool.submit(flow.run, {}).result()

outer = Flow(start=Start())
outer.run({})
"""
    programs.traced("--otlp", f"http://127.0.0.1:{receiver.http_port}", text=AT_THE_END + text)
    spans = sorted(receiver.spans, key=lambda span: int(span["startTimeUnixNano"]))
    assert [span["name"] for span in spans] == [
        "invoke_workflow outer", "invoke_node Start", "invoke_workflow inner", "invoke_node Inner",
    ]  # fmt: skip
    assert [span.get("parentSpanId") for span in spans[1:]] == [span["spanId"] for span in spans[:-1]]
