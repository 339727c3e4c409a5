"""The view on disk: what is there while a run goes, when it has ended, and when the disk fails."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pocketflow
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.support.otlp import request_of
from tests.support.steps import Step, named
from tests.support.views import viewed

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.console.terminal import LineStream
from pocketflow_otel.export.file import file_view as export_file
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.traces import finalize

RUN = "20261122T193012Z-00000000"


NO_CALLS = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "total_cost": 0.0,
    "unpriced_calls": 0,
    "llm_calls": 0,
    "models": {},
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def document(folder: Path, name: str = RUN) -> dict[str, Any]:
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def finished(journal: Path) -> list[str]:
    """Return the names of the spans that a journal says have ended."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return [line["end"]["name"] for line in lines if "end" in line]


def spans_of(request: Any) -> list[Any]:
    """Return the spans of an OTLP request, in its order."""
    return [
        span
        for resources in request.resource_spans
        for scopes in resources.scope_spans
        for span in scopes.spans
    ]


def by_id(request: Any) -> dict[bytes, tuple[Any, ...]]:
    """Return each span with what stands above it: two requests may group them differently."""
    return {
        span.span_id: (resources.resource, resources.schema_url, scopes.scope, scopes.schema_url, span)
        for resources in request.resource_spans
        for scopes in resources.scope_spans
        for span in scopes.spans
    }


def steps(*names: str, **flow: Any) -> Any:
    """Return a flow of steps that take a tenth of a second each."""
    first, *others = (Step(name, 0.1) for name in names)
    last = first
    for step in others:
        last = last >> step
    return named(pocketflow.Flow(start=first), "flow")


class Warned:
    """A file view, and what it said on stderr."""

    def __init__(self, folder: Path, mode: Any = "all") -> None:
        self._stream = io.StringIO()
        self.view = FileView(mode, folder, LineStream(self._stream))

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()


def test_a_trace_file_tells_the_run_as_a_timeline_and_counts(tmp_path: Path) -> None:
    def fail(shared: Any) -> None:
        shared["x"] = 1
        shared["log"].append("inner")
        raise KeyError("chunks")

    inner = named(pocketflow.Flow(start=Step("Embed", 0.25, fail)), "index")
    first = Step("Fetch", 0.5, lambda shared: shared.pop("url") and "found")
    first - "found" >> inner
    flow = named(pocketflow.Flow(start=first), "ingest")
    with viewed(FileView("all", tmp_path)), pytest.raises(KeyError):
        flow.run({"url": 7, "log": []})

    found = document(tmp_path)
    del found["resourceSpans"]
    (place,) = (event.pop("place") for event in found["events"] if event["type"] == "error")
    assert place.startswith("test_file_view.py:")
    for event in found["events"]:
        assert event.pop("timestamp") == round(1795375812.000001 + event["elapsed"], 6)
    assert found == {
        "format": "pocketflow-otel/1",
        "run_id": RUN,
        "flow": "ingest",
        "starts_at": "Fetch",
        "status": "failed",
        "start_time": "2026-11-22T19:30:12.000+00:00",
        "duration": 0.750015,
        "trace_id": f"{1:032x}",
        "summary": {**NO_CALLS, "node_executions": 2, "flows_executed": 2, "errors": 1, "failed_steps": 1},
        "events": [
            {
                "type": "flow_start",
                "name": "ingest",
                "elapsed": 0.0,
                "depth": 0,
                "span_id": f"{1:016x}",
            },
            {
                "type": "node_start",
                "name": "Fetch",
                "class": "Step",
                "elapsed": 0.000002,
                "depth": 1,
                "span_id": f"{2:016x}",
                "shared_keys": ["url", "log"],
                "shared_types": {"url": "int", "log": "list[0]"},
                "visit": 1,
            },
            {
                "type": "node_complete",
                "name": "Fetch",
                "class": "Step",
                "elapsed": 0.500006,
                "depth": 1,
                "span_id": f"{2:016x}",
                "duration": 0.500004,
                "action": "found",
                "attempts": 1,
                "changes": {"added": [], "modified": [], "removed": ["url"]},
                "status": "ok",
            },
            {
                "type": "flow_start",
                "name": "index",
                "elapsed": 0.500007,
                "depth": 1,
                "span_id": f"{3:016x}",
                "visit": 1,
            },
            {
                "type": "node_start",
                "name": "Embed",
                "class": "Step",
                "elapsed": 0.500009,
                "depth": 2,
                "span_id": f"{4:016x}",
                "shared_keys": ["log"],
                "shared_types": {"log": "list[0]"},
                "visit": 1,
            },
            {
                "type": "error",
                "name": "Embed",
                "class": "Step",
                "elapsed": 0.750013,
                "depth": 2,
                "span_id": f"{4:016x}",
                "error_type": "KeyError",
                "error_message": "'chunks'",
                "context": "Embed.post",
            },
            {
                "type": "node_complete",
                "name": "Embed",
                "class": "Step",
                "elapsed": 0.750013,
                "depth": 2,
                "span_id": f"{4:016x}",
                "duration": 0.250004,
                "attempts": 1,
                "changes": {"added": ["x"], "modified": ["log"], "removed": []},
                "status": "failed",
            },
            {
                "type": "flow_complete",
                "name": "index",
                "elapsed": 0.750014,
                "depth": 1,
                "span_id": f"{3:016x}",
                "duration": 0.250007,
                "status": "failed",
            },
            {
                "type": "flow_complete",
                "name": "ingest",
                "elapsed": 0.750015,
                "depth": 0,
                "span_id": f"{1:016x}",
                "duration": 0.750015,
                "status": "failed",
            },
        ],
    }


def test_the_spans_of_a_trace_file_are_those_opentelemetry_would_send(tmp_path: Path) -> None:
    def ask(shared: Any) -> None:
        tracer = captured.provider.get_tracer("llm", "2", "https://schema", {"team": "a"})
        with tracer.start_as_current_span(
            "chat", attributes={"tokens": 7, "tags": ["a", "b"], "p": 0.5}
        ) as span:
            span.add_event("choice", {"index": 0})

    first = Step("A", 0.1, ask)
    first >> Step("B", 0.1) >> Step("C", 0.1, ask)
    with viewed(FileView("all", tmp_path)) as captured:
        named(pocketflow.Flow(start=first), "flow").run({"größe": 1})

    sent = request_of(document(tmp_path))
    assert [span.name for span in spans_of(sent)] == [
        "chat",
        "invoke_node A",
        "invoke_node B",
        "chat",
        "invoke_node C",
        "invoke_workflow flow",
    ]
    assert by_id(sent) == by_id(encode_spans(captured.spans))


def test_the_journal_has_every_finished_step_before_the_next_begins(tmp_path: Path) -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def look(shared: Any) -> None:
        seen.append((names(tmp_path), finished(tmp_path / f"{RUN}.jsonl")))

    first = Step("A", 0, look)
    first >> Step("B", 0, look) >> Step("C", 0, look)
    with viewed(FileView("all", tmp_path)):
        named(pocketflow.Flow(start=first), "flow").run({})

    assert seen == [
        ([f"{RUN}.jsonl"], []),
        ([f"{RUN}.jsonl"], ["invoke_node A"]),
        ([f"{RUN}.jsonl"], ["invoke_node A", "invoke_node B"]),
    ]
    assert names(tmp_path) == [f"{RUN}.json"]


def test_files_and_their_directory_are_the_users_alone(tmp_path: Path) -> None:
    modes: list[int] = []
    folder = tmp_path / "deep" / "traces"

    def look(shared: Any) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / f"{RUN}.jsonl"))

    umask = os.umask(0)
    try:
        with viewed(FileView("all", folder)):
            Step("A", 0, look).run({})
    finally:
        os.umask(umask)

    assert [*modes, stat.S_IMODE((folder / f"{RUN}.json").stat().st_mode)] == [0o700, 0o600, 0o600]


def test_the_trace_file_takes_its_place_at_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[tuple[str, str, list[str]]] = []
    replace = Path.replace

    def look(self: Path, target: Path) -> Path:
        content = json.loads(self.read_text(encoding="utf-8"))
        others = [name for name in names(tmp_path) if name != self.name]
        replaced.append((content["status"], target.name, others))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    with viewed(FileView("all", tmp_path)):
        steps("A").run({})

    assert replaced == [("ok", f"{RUN}.json", [f"{RUN}.jsonl"])]


def test_runs_at_once_in_threads_each_have_a_whole_file(tmp_path: Path) -> None:
    together = threading.Barrier(4)
    nodes = [Step(f"N{number}", 0, lambda shared: together.wait() and None) for number in range(4)]
    flows = [named(pocketflow.Flow(start=node), f"F{number}") for number, node in enumerate(nodes)]
    with viewed(FileView("all", tmp_path)):
        threads = [threading.Thread(target=flow.run, args=({},)) for flow in flows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = {
        content["flow"]: [span.name for span in spans_of(request_of(content))]
        for content in map(json.loads, (path.read_text(encoding="utf-8") for path in tmp_path.iterdir()))
    }
    assert found == {
        f"F{number}": [f"invoke_node N{number}", f"invoke_workflow F{number}"] for number in range(4)
    }


def test_runs_at_once_in_tasks_each_have_a_whole_file(tmp_path: Path) -> None:
    class Meets(pocketflow.AsyncNode):
        async def exec_async(self, prep_res: Any) -> None:
            for _ in range(3):
                await asyncio.sleep(0)

    async def both() -> None:
        flows = [named(pocketflow.AsyncFlow(start=named(Meets(), f"N-{name}")), name) for name in "ab"]
        await asyncio.gather(*(flow.run_async({}) for flow in flows))

    with viewed(FileView("all", tmp_path)):
        asyncio.run(both())

    assert {
        name: [event["type"] + " " + event["name"] for event in document(tmp_path, name)["events"]]
        for name in (RUN, f"{RUN}-2")
    } == {
        RUN: ["flow_start a", "node_start N-a", "node_complete N-a", "flow_complete a"],
        f"{RUN}-2": ["flow_start b", "node_start N-b", "node_complete N-b", "flow_complete b"],
    }


def test_two_runs_of_one_name_have_a_file_each(tmp_path: Path) -> None:
    for _ in range(3):
        with viewed(FileView("all", tmp_path)):
            steps("A").run({})

    assert [document(tmp_path, name)["run_id"] for name in (RUN, f"{RUN}-2", f"{RUN}-3")] == [
        RUN,
        f"{RUN}-2",
        f"{RUN}-3",
    ]


def test_only_failed_runs_are_kept_when_that_is_asked_for(tmp_path: Path) -> None:
    stream = io.StringIO()
    with viewed(FileView("failed", tmp_path), ConsoleView("summary", stream)):
        Step("Good").run({})
        kept = names(tmp_path)
        with pytest.raises(KeyError):
            Step("Bad", 0, lambda shared: shared["gone"]).run({})

    assert kept == []
    assert [document(tmp_path, path.stem)["status"] for path in tmp_path.iterdir()] == ["failed"]
    assert [line for line in stream.getvalue().splitlines() if "trace" in line] == [
        f"trace {tmp_path / names(tmp_path)[0]}"
    ]


def test_spans_that_outlive_their_run_are_counted(tmp_path: Path) -> None:
    left: list[Any] = []

    def leave_open(shared: Any) -> None:
        left.append(captured.provider.get_tracer("other").start_span("background"))

    stream = io.StringIO()
    with viewed(FileView("all", tmp_path), ConsoleView("summary", stream)) as captured:
        Step("A", 0, leave_open).run({})
        left[0].end()

    found = document(tmp_path)
    assert found["summary"] == {
        **NO_CALLS,
        "node_executions": 1,
        "flows_executed": 0,
        "errors": 0,
        "spans_still_open": 1,
    }
    assert [span.name for span in spans_of(request_of(found))] == ["invoke_node A"]
    assert "1 span still open, not in the file" in stream.getvalue()


def test_errors_of_batch_items_name_their_node(tmp_path: Path) -> None:
    class Each(pocketflow.BatchNode):
        def prep(self, shared: Any) -> list[int]:
            return [1, 0]

        def exec(self, number: int) -> float:
            return 1 / number

    with viewed(FileView("all", tmp_path)), pytest.raises(ZeroDivisionError):
        named(pocketflow.Flow(start=Each()), "flow").run({})

    errors = [event for event in document(tmp_path)["events"] if event["type"] == "error"]
    assert [(error["name"], error["context"], error["depth"]) for error in errors] == [
        ("Each", "Each.exec", 1)
    ]


@pytest.mark.parametrize("name", ["gr\udce4n", "\ud83d", "a\0b", "日本語", "\x1b[2J"])
def test_any_text_can_be_saved(tmp_path: Path, name: str) -> None:
    def trace(shared: Any) -> None:
        captured.provider.get_tracer(name).start_span(name, attributes={name: name, "list": [name]}).end()

    with viewed(FileView("all", tmp_path)) as captured:
        named(pocketflow.Flow(start=Step(name, 0, trace)), name).run({name: 1})

    spans = spans_of(request_of(document(tmp_path)))
    assert spans[0].name == name.encode("utf-8", "replace").decode()


def test_a_relative_directory_stays_where_it_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    with viewed(FileView("all", Path("traces"))):
        Step("A", 0, lambda shared: os.chdir(elsewhere)).run({})
        Step("B").run({})

    assert len(names(tmp_path / "traces")) == 2
    assert names(elsewhere) == []


# Long runs.


def test_a_long_run_is_finished_in_the_background_and_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "_LONG", 10)
    may_go_on = threading.Event()
    write = finalize.write_trace_file

    def wait_then_write(path: Path) -> Path:
        assert may_go_on.wait(30)
        return write(path)

    monkeypatch.setattr(finalize, "write_trace_file", wait_then_write)
    view = FileView("all", tmp_path)
    with viewed(view):
        steps("A").run({})
    while_finishing = names(tmp_path)
    may_go_on.set()
    view.shutdown()

    assert while_finishing == [f"{RUN}.jsonl"]
    assert names(tmp_path) == [f"{RUN}.json"]
    assert document(tmp_path)["status"] == "ok"


def test_a_flush_waits_for_files_that_are_being_made_and_for_no_longer_than_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "_LONG", 10)
    may_go_on = threading.Event()
    write = finalize.write_trace_file
    monkeypatch.setattr(finalize, "write_trace_file", lambda path: may_go_on.wait(30) and write(path))
    with viewed(FileView("all", tmp_path)) as captured:
        steps("A").run({})
        too_soon = captured.provider.force_flush(1)
        may_go_on.set()
        in_time = captured.provider.force_flush()

    assert (too_soon, in_time, names(tmp_path)) == (False, True, [f"{RUN}.json"])


def test_where_no_thread_can_be_started_the_flow_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(export_file, "_LONG", 10)
    with viewed(FileView("all", tmp_path)):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        steps("A").run({})

    assert names(tmp_path) == [f"{RUN}.json"]


# What a disk may do.


def full_after(written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `os.write` write so many bytes, the last of them as a part of a line, then no more."""
    left = [written]
    write = os.write

    def limited(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(file, data[: left[0]])
        left[0] -= done
        return done

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.parametrize("written", [0, 100, 1500, 5000])
def test_a_full_disk_costs_one_warning_and_leaves_what_was_finished(
    tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = Warned(tmp_path)
    summary = io.StringIO()
    full_after(written, monkeypatch)
    shared: dict[str, int] = {}
    with viewed(warned.view, ConsoleView("summary", summary)):
        flow = steps("A", "B", "C", "D")
        flow.run(shared)
        flow.run(shared)
    monkeypatch.undo()

    assert len(warned.lines) == 1
    assert warned.lines[0].startswith("pocketflow-otel: ")
    assert warned.lines[0].endswith(": No space left on device")
    assert "trace" not in summary.getvalue()
    assert len(summary.getvalue().splitlines()) == 4
    journals = sorted(tmp_path.iterdir())
    assert [path.name for path in journals] == ([f"{RUN}.jsonl"] if written > 1000 else [])
    for path in journals:
        assert json.loads(finalize.write_trace_file(path).read_text())["status"] == "interrupted"


def test_a_disk_that_is_full_when_the_trace_file_is_made_leaves_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    warned = Warned(tmp_path)
    summary = io.StringIO()
    with viewed(warned.view, ConsoleView("summary", summary)):
        steps("A", "B").run({})

    assert warned.lines == [f"pocketflow-otel: no trace file made of {RUN}.jsonl: No space left on device"]
    assert summary.getvalue() == "ok  0.20s · 2 steps\nslowest B 0.10s (50%)\n"
    assert names(tmp_path) == [f"{RUN}.jsonl"]


def test_a_disk_that_is_full_when_the_root_ends_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave_open(shared: Any) -> None:
        captured.provider.get_tracer("other").start_span("background")

    late_line = export_file.journal.late_line

    def full(spans: int) -> bytes:
        full_after(0, monkeypatch)
        return late_line(spans)

    monkeypatch.setattr(export_file.journal, "late_line", full)
    warned = Warned(tmp_path)
    with viewed(warned.view) as captured:
        Step("A", 0, leave_open).run({})

    assert warned.lines == [f"pocketflow-otel: the trace of run {RUN} stops here: No space left on device"]
    assert names(tmp_path) == [f"{RUN}.jsonl"]


def test_a_file_in_the_directorys_place_costs_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.write_text("in the way")
    warned = Warned(folder)
    summary = io.StringIO()
    with viewed(warned.view, ConsoleView("summary", summary)):
        for _ in range(2):
            steps("A").run({})

    assert warned.lines == [f"pocketflow-otel: no trace file in {folder}: File exists"]
    assert summary.getvalue() == "ok  0.10s · 1 step\n" * 2


def test_a_directory_that_vanishes_costs_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "traces"

    def remove(shared: Any) -> None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    warned = Warned(folder)
    summary = io.StringIO()
    with viewed(warned.view, ConsoleView("summary", summary)):
        Step("A", 0, remove).run({})

    assert warned.lines == [f"pocketflow-otel: no trace file made of {RUN}.jsonl: No such file or directory"]
    assert summary.getvalue() == "ok  0.00s · 1 step\n"


def test_without_a_home_directory_one_warning_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    warned = Warned(Path("~/.pflow/traces"))
    with viewed(warned.view):
        steps("A").run({})
        steps("A").run({})

    assert warned.lines == [
        "pocketflow-otel: no trace file in ~/.pflow/traces: Could not determine home directory."
    ]


def open_files() -> list[str]:
    """Return what the descriptors of this process are of."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # Those of others come and go.
            found.append(str(descriptor.readlink()))
    return found


def test_no_file_descriptor_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (0, 100, 1500, 1_000_000):
        with monkeypatch.context() as patches:
            full_after(written, patches)
            with viewed(Warned(tmp_path).view):
                steps("A", "B").run({})

    assert [file for file in open_files() if file.startswith(str(tmp_path))] == []


def test_a_run_costs_one_write_for_each_start_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    write = os.write

    def noted(file: int, data: bytes) -> int:
        lines.append(data)
        return write(file, data)

    monkeypatch.setattr(os, "write", noted)
    with viewed(FileView("all", tmp_path)):
        steps("A", "B").run({})

    assert [next(iter(json.loads(line))) for line in lines] == [
        "format",
        *["start", "start", "end", "start", "end", "end"],
    ]
    assert all(line.endswith(b"\n") for line in lines)
