"""A forked child has its own spans, its own ids and no journal of its parent's."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.support.processes import APP, PYTHON, environment, run, write
from tests.support.saved import create_flow, save_journal

from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.otlp import batch_processor
from pocketflow_otel.export.otlp.batch_processor import Limits, SafeBatchProcessor
from pocketflow_otel.traces import lock, reader

if TYPE_CHECKING:
    from pathlib import Path


def _in_child(provider: TracerProvider, exporter: InMemorySpanExporter, results: Any) -> None:
    provider.get_tracer("test").start_span("child").end()
    provider.shutdown()
    results.put(names(exporter))


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_sends_its_own_spans_and_only_those(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_processor, "_exit_deadline", 0.0)  # Not what others have left of their time.
    monkeypatch.setattr(batch_processor, "EXIT_SECONDS", 120.0)
    exporter, stream = InMemorySpanExporter(), io.StringIO()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        SafeBatchProcessor(exporter, "http://x:4318", Limits(delay=60), stream=LineStream(stream))
    )
    provider.get_tracer("test").start_span("parent").end()
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    child = fork.Process(target=_in_child, args=(provider, exporter, results))
    child.start()
    assert results.get(timeout=180) == ["child"]
    child.join()
    provider.shutdown()
    assert (names(exporter), stream.getvalue()) == (["parent"], "")


SEEDED = f"""
import os, random
random.seed(7)
print(random.random())
{APP}
    print(random.random(), flush=True)
    if os.fork() == 0:
        create_greeting_flow().run({{}})
        os._exit(0)
    os.wait()
    create_greeting_flow().run({{}})
    print(random.random())
"""


def test_seeded_processes_and_their_forks_print_the_same_and_have_ids_of_their_own(tmp_path: Path) -> None:
    app = write(tmp_path / "app.py", "import pocketflow_otel; pocketflow_otel.configure()\n" + SEEDED)
    bare = write(tmp_path / "bare.py", SEEDED)
    env = environment(POCKETFLOW_OTEL_DIR=str(tmp_path / "traces"))

    assert [run(PYTHON, app, env=env).stdout for _ in range(2)] == [run(PYTHON, bare).stdout] * 2
    traces = [json.loads(path.read_text()) for path in (tmp_path / "traces").iterdir()]
    assert len({trace["trace_id"] for trace in traces}) == 2 * 3


def test_a_journal_is_running_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    path = save_journal(tmp_path, create_flow(), 4)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    assert reader.read(path).summary.status == "interrupted"
    lock.hold(descriptor)
    assert reader.read(path).summary.status == "running"
    child = os.fork()
    if not child:
        os.read(0, 0)
        os._exit(0 if not lock._held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reader.read(path).summary.status == "running"  # The child closed its copy, no more.
    lock.release(descriptor)
    assert reader.read(path).summary.status == "interrupted"
