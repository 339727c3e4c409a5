"""Traces of pflow that are damaged, or none: each is one sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.command_line import run
from tests.support.effort import examples, share
from tests.support.pflow_traces import ALL, LINEAR, documents, lines_of, steps_of, trace_of, write
from tests.support.schema import VALIDATOR

from pocketflow_otel.analysis.rows import rows
from pocketflow_otel.formats.pflow.importer import Importer
from pocketflow_otel.formats.pflow.pflow_reader import read
from pocketflow_otel.formats.pflow.span_builder import spans
from pocketflow_otel.traces import reader
from pocketflow_otel.traces.records import TraceError
from pocketflow_otel.usage.pricing import PriceBook
from pocketflow_otel.views import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize("name", ["0.16.0/gate", "0.16.0/loud", "0.11.0/batch"])
def test_a_trace_cut_off_anywhere_is_an_interrupted_run_or_one_sentence(name: str, tmp_path: Path) -> None:
    whole = trace_of(name).read_bytes()
    head = whole.index(b"\n") if name.startswith("0.16") else len(whole)
    path = tmp_path / "workflow-trace-cut.json"
    path.write_bytes(whole)
    for length in share(range(len(whole.rstrip()) - 1, -1, -1 if len(whole) < 4_000 else -7)):
        os.truncate(path, length)
        try:
            run_of = read(path)
        except TraceError as error:
            sentence = str(error)
            assert (length < head, sentence.startswith(str(path)), "\n" in sentence) == (True, True, False)
        else:
            assert length >= head
            assert run_of.end is None
            assert not any(span.end for span in spans(run_of, PriceBook())[:1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{} is empty"),
        (b"[]", "{} is no trace of pflow: it is no JSON object"),
        (b"not JSON", "{} is no trace of pflow: it is no JSON object"),
        (b"{}", "{} is no trace of pflow: it has no nodes"),
        (b'{"nodes": []}', "{} is no trace of pflow: it has no nodes"),
        (b'{"format_version": "2.0.0", "nodes": [1', "{} breaks off at line 1, column 40"),
        (b'{"format_version": "2.0.0", "nodes": [}', "{} is damaged at line 1, column 39"),
        (b'{"a": "\xff"}', "{} is damaged at byte 7: no UTF-8"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "{} is damaged: a number has too many digits"),
        (b'{"a": ' * 100_000, "{} is no trace of pflow: it is nested too deeply"),
        (
            b'{"format_version": "3.0.0", "nodes": []}',
            "{} has the format '3.0.0', which this version does not know",
        ),
        (b'{"format_version": "2.0.0", "nodes": []}', "{} is damaged: it has no start_time"),
        (
            b'{"format_version": "2.0.0", "start_time": "2026-11-25T23:00", "nodes": [{"node_type": "X"}]}',
            "{} is damaged: nodes[0] is no step: it has no node_id",
        ),
        (
            b'{"pflow_trace": "jsonl/2"}',
            "{} was written by a newer pflow: pflow_trace is 'jsonl/2', not 'jsonl/1'",
        ),
    ],
)  # fmt: skip
def test_what_is_no_trace_is_one_sentence_and_the_others_are_imported(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "workflow-trace-1.json"
    path.write_bytes(content)
    result = run("import-pflow", "--dir", tmp_path / "runs", path, LINEAR)
    assert result.exit_code == 2
    assert result.stderr == f"Warning: {sentence.format(path)}\n1 run imported, 1 could not be read\n"
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "line", "sentence"),
    [
        (3, "no JSON", "line 3 is no JSON object"),
        (3, '{"kind": "event"}', "line 3 is no step: it has no id"),
        (3, '{"kind": "event", "id": 1, "node_id": 2}', "line 3 is no step: it has no node_id"),
        (3, '{"kind": "event", "id": 9, "parent_id": 7}', "line 3 is in a step that is not there"),
        (3, '{"kind": "event", "id": 0, "parent_id": 0}', "line 3 is in a step that is not there"),
        (7, '{"kind": "gate"}', "line 7 comes after the end of the run"),
    ],
)
def test_a_line_that_does_not_fit_is_named(number: int, line: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    lines = LINEAR.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[: number - 1], line, *lines[number - 1 :]]) + "\n", encoding="utf-8")
    with pytest.raises(TraceError) as raised:
        read(path)
    assert str(raised.value) == f"{path} is damaged: {sentence}"


def test_lines_of_a_kind_nobody_knows_yet_and_empty_ones_do_no_harm(tmp_path: Path) -> None:
    content = documents(LINEAR)
    path = write(tmp_path / "trace", [content[0], {"kind": "new"}, *content[1:]])
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    assert lines_of(path) == lines_of(LINEAR)


def test_another_kind_of_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "workflow-trace-fifo")
    result = run("import-pflow", "--dir", tmp_path / "runs", tmp_path)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2, f"Warning: {tmp_path / 'workflow-trace-fifo'} is no regular file",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 300, "cannot be opened: File name too long"),
        ("loop", "cannot be opened: Too many levels of symbolic links"),
        ("file/trace", "cannot be opened: Not a directory"),
    ],
)
def test_a_name_that_no_file_can_have_is_one_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    result = run("import-pflow", "--dir", tmp_path / "runs", tmp_path / name, LINEAR)
    assert (result.exit_code, result.stderr) == (
        2, f"Warning: {tmp_path / name} {sentence}\n1 run imported, 1 could not be read\n",
    )  # fmt: skip


class Broken:
    """A file on a disk that fails."""

    def __init__(self, readable: int) -> None:
        self._left = readable

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self.readline()

    def readline(self) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "Input/output error")
        return json.dumps(documents(LINEAR)[0]).encode() + b"\n"

    read = readline


@pytest.mark.parametrize("readable", [0, 1])
def test_a_disk_that_fails_is_said_of_the_file_that_cannot_be_read(
    readable: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pocketflow_otel.formats.pflow.pflow_reader.open_regular", lambda path: Broken(readable)
    )
    result = run("import-pflow", "--dir", tmp_path / "runs", LINEAR)
    assert (result.exit_code, result.stderr) == (
        2,
        f"Warning: {LINEAR} cannot be read: Input/output error\n0 runs imported, 1 could not be read\n",
    )


def test_a_trace_that_goes_while_it_is_looked_at_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> bool:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("pocketflow_otel.traces.lock.is_running", gone)
    path = trace_of("0.16.0/killed")
    result = run("import-pflow", "--dir", tmp_path / "runs", path)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        2, f"Warning: {path} cannot be read: No such file or directory",
    )  # fmt: skip


def test_workflows_in_workflows_without_end_are_one_sentence(tmp_path: Path) -> None:
    meta = documents(LINEAR)[0]
    start = {"kind": "node.start", "node_type": "WorkflowExecutor", "node_id": "call"}
    lines = [start | {"id": number, "parent_id": number - 1 if number else None} for number in range(60)]
    event: dict[str, Any] = {"node_id": "call"}
    for _ in range(60):
        event = {"node_id": "call", "sub_workflow_events": [event]}
    for content in ([meta, *lines], [meta, event | {"kind": "event", "id": 0}]):
        with pytest.raises(TraceError, match="nested too deeply"):
            read(write(tmp_path / "trace", content))


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
        st.sampled_from(["", "failed", "\ud800", "9999-12-31T23:59:59", "0001-01-01T00:00+14:00", -1]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip


def damage(content: Any, choose: random.Random, value: Any) -> Any:
    """Put a value somewhere, or take out what is there."""
    while isinstance(content, (dict, list)) and content:
        key = choose.choice(list(content) if isinstance(content, dict) else range(len(content)))
        inner = content[key]
        if not isinstance(inner, (dict, list)) or not inner or choose.random() < 0.3:
            if choose.random() < 0.1:
                del content[key]
            else:
                content[key] = value
            return
        content = inner


@settings(max_examples=examples(200))
@given(path=st.sampled_from(ALL), seed=st.integers(0, 2**32), values=st.lists(JSON, min_size=1, max_size=4))
def test_a_damaged_trace_is_one_sentence_or_a_run_that_every_view_takes(
    path: Path, seed: int, values: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    content = documents(path)
    choose = random.Random(seed)
    for value in values:
        damage(content, choose, value)
    damaged = write(place / "workflow-trace-damaged.json", content)
    outcome = Importer(place / "runs", texts=True).take(damaged)
    if outcome.state == "unreadable":
        assert outcome.problem.startswith(str(damaged))
        return
    assert outcome.summary is not None
    document = json.loads(outcome.summary.path.read_text(encoding="utf-8"))
    VALIDATOR.validate(document)
    trace = reader.read(outcome.summary.path)
    assert list(rows(trace))
    assert list(tree.tree_lines(trace))
    root = steps_of(damaged)[0].span
    assert root.end >= root.start or trace.summary.status == "interrupted"
    shutil.rmtree(place)
