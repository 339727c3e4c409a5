"""A trace file is what the live exporter sent: taken by a receiver of its own process, span by span."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pocketflow
import pytest
from click.testing import CliRunner
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.support.outputs import show

from pocketflow_otel import Config, using
from pocketflow_otel.cli.main import main
from pocketflow_otel.cli.travel import create_travel_advice
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from collections.abc import Iterator


Span = dict[str, Any]


@dataclass
class Collector:
    url: str
    file: Path

    def taken(self) -> dict[str, Span]:
        """Return what came since the last look, by span id; each span came once."""
        if not self.file.exists():
            return {}
        lines = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        self.file.unlink()
        found = {line["span"]["spanId"]: line for line in lines}
        assert len(found) == len(lines)
        return found


@contextmanager
def collector(file: Path, *limit: str) -> Iterator[Collector]:
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "collector.py", file, *limit],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Collector(f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces", file)
    finally:
        process.kill()
        process.communicate()


class Fail(pocketflow.BatchNode):
    def prep(self, shared: Any) -> list[int]:
        shared["größe\u2028"] = {"nested": [1.5, None]}
        return [1, 2]

    def exec(self, item: int) -> None:
        if item == 2:
            raise KeyError("chunks \x1b[2J")


def run_everything(collecting: Collector, directory: Path) -> None:
    """Run flows of all kinds, exported live and saved."""
    with capture_spans(Config(capture_values=("*",)), fixed=False) as captured:
        show(captured.provider, console=None, file="all", directory=directory)
        captured.provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(collecting.url)))
        tracer = captured.provider.get_tracer("other.library", "2.1")
        with using(session_id="chat-7", tags=["beta"], metadata={"build": 12}):
            asyncio.run(create_travel_advice().run_async({"question": "where?"}))

        class Call(pocketflow.Node):
            def exec(self, prepared: object) -> None:
                with tracer.start_as_current_span(
                    "GET /", attributes={"n": [1, 2], "f": 0.5, "b": True}
                ) as span:
                    span.add_event("sent", {"bytes": 12})

        call = Call()
        call >> Fail(max_retries=2)
        with pytest.raises(KeyError):
            pocketflow.Flow(start=call).run({})


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Collector, list[Path], dict[str, Span]]]:
    place = tmp_path_factory.mktemp("exchange")
    with collector(place / "taken.jsonl") as collecting:
        run_everything(collecting, place / "traces")
        yield collecting, sorted((place / "traces").iterdir()), collecting.taken()


def test_a_trace_file_posted_as_it_is_holds_the_spans_of_the_live_export(
    saved: tuple[Collector, list[Path], dict[str, Span]],
) -> None:
    collecting, files, live = saved
    assert (len(files), len(live) > 20) == (2, True)
    for path in files:
        request = Request(collecting.url, path.read_bytes(), {"Content-Type": "application/json"})
        with urlopen(request) as response:
            assert response.status == 200
    assert collecting.taken() == live


@pytest.mark.parametrize("limit", [(), ("4000",)], ids=["at once", "split for the receiver"])
def test_send_gives_the_spans_of_the_live_export(
    saved: tuple[Collector, list[Path], dict[str, Span]], tmp_path: Path, limit: tuple[str, ...]
) -> None:
    _, files, live = saved
    with collector(tmp_path / "taken.jsonl", *limit) as receiving:
        results = [
            CliRunner().invoke(main, ["send", str(path), "--otlp", receiving.url, "--json"]) for path in files
        ]
        assert [result.exit_code for result in results] == [0, 0], results[0].output
        sent = [json.loads(result.stdout) for result in results]
        assert receiving.taken() == live
    assert (sum(one["spans"] for one in sent), sum(one["requests"] for one in sent) > 2) == (
        len(live),
        bool(limit),
    )


@pytest.mark.parametrize("kind", ["otlp", "otlp-lines"])
def test_an_otlp_export_holds_the_spans_of_the_live_export(
    saved: tuple[Collector, list[Path], dict[str, Span]], kind: str
) -> None:
    collecting, files, live = saved
    for path in files:
        result = CliRunner().invoke(main, ["export", str(path), "--format", kind])
        for line in result.stdout.splitlines():
            with urlopen(Request(collecting.url, line.encode(), {"Content-Type": "application/json"})):
                pass
    assert collecting.taken() == live
