"""Files that were damaged: one sentence that says what is wrong and where, or what is left; no traceback."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from click.testing import CliRunner
from tests.support.effort import examples, share
from tests.support.saved import Ask, create_flow, save, save_journal

from pocketflow_otel.cli.main import main
from pocketflow_otel.traces import finalize, reader
from pocketflow_otel.traces.records import TraceError

if TYPE_CHECKING:
    from pathlib import Path

    from pocketflow_otel.traces.trace import Trace

COMMANDS = (
    ["show"],
    ["show", "--gantt"],
    ["show", "--events"],
    ["show", "--markdown", "--values"],
    ["show", "--json"],
    ["graph"],
    ["graph", "--format", "dot"],
    ["replay", "--speed", "0"],
    ["tail"],
    ["export"],
    ["export", "--format", "chrome"],
    ["export", "--format", "csv"],
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trace file, and the journal it was made of."""
    place = tmp_path_factory.mktemp("files")
    journal = save_journal(place, create_flow())
    copy = journal.with_name("journal.jsonl")
    copy.write_bytes(journal.read_bytes())
    return finalize.write_trace_file(journal), copy


def said(arguments: list[str], path: Path) -> tuple[int, str, str]:
    command, *options = arguments
    result = CliRunner().invoke(main, [command, str(path), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


def refused(path: Path) -> str:
    """Return the one sentence that every command says of a file."""
    sentences = set()
    for arguments in COMMANDS:
        code, printed, sentence = said(arguments, path)
        assert (code, printed) == (2, ""), arguments
        sentences.add(sentence)
    (sentence,) = sentences
    assert sentence.startswith(f"Error: {path}") or f"file {path}" in sentence
    assert sentence.count("\n") == 1
    return sentence.removeprefix("Error: ").replace(str(path), "FILE").strip()


def summary(trace: Trace) -> tuple[Any, ...]:
    found = trace.summary
    return found.flow, found.status, found.steps, found.errors, found.calls, found.tokens, len(trace.spans)


def test_a_trace_file_and_its_journal_read_alike(files: tuple[Path, Path]) -> None:
    finished, journal = files
    expected = ("flow", "failed", 3, 1, 1, 7, 7)
    assert (summary(reader.read(finished)), summary(reader.read(journal))) == (expected, expected)
    assert list(reader.read(finished).events) == reader.read(journal).events
    key = lambda span: span.span_id  # noqa: E731
    assert sorted(reader.read(finished).spans, key=key) == sorted(reader.read(journal).spans, key=key)
    assert reader.read_summary(finished) == reader.read(finished).summary


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_reads_both(files: tuple[Path, Path], arguments: list[str]) -> None:
    for path in files:
        code, printed, _ = said(arguments, path)
        assert (code, bool(printed)) == (0, True)


class AskInVain(Ask):
    """Has all that a short trace file can have: usage, a failure, a name of letters that are two bytes."""

    def post(self, shared: Any, prepared: object, executed: object) -> None:
        super().post(shared, prepared, executed)
        raise KeyError("answer")


def test_a_trace_file_cut_off_at_any_byte_is_refused_in_one_sentence(tmp_path: Path) -> None:
    flow = pocketflow.Flow(start=AskInVain())
    flow.name = "größe"
    (path,) = save(tmp_path, flow)
    # Without its last newline a file still has all that it says.
    whole = path.read_bytes().rstrip()
    cut = tmp_path / "cut.json"
    cut.write_bytes(whole)
    for length in share(range(len(whole) - 1, 0, -1)):
        os.truncate(cut, length)
        for read in (reader.read, reader.read_summary):
            with pytest.raises(TraceError) as caught:
                read(cut)
            assert str(caught.value).startswith(f"{cut} breaks off at line "), length
    for length in share(range(1, len(whole), len(whole) // 20)):
        cut.write_bytes(whole[:length])
        assert refused(cut).startswith("FILE breaks off at line ")


def test_a_journal_cut_off_at_any_byte_has_what_was_written_before(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = b"".join(files[1].read_bytes().splitlines(keepends=True)[:4])
    header, cut = whole.index(b"\n"), tmp_path / "cut.jsonl"
    cut.write_bytes(whole)
    for length in share(range(len(whole) - 1, 0, -1)):
        os.truncate(cut, length)
        # A line counts from its last brace on, whether its end of line was written or not.
        lines = [line for line in whole[:length].splitlines() if _is_json(line)]
        if length < header:
            with pytest.raises(TraceError, match=r"cut.jsonl (cannot be read|breaks off)"):
                reader.read(cut)
            continue
        trace = reader.read(cut)
        starts, ends = (sum(line.startswith(kind) for line in lines) for kind in (b'{"start"', b'{"end"'))
        assert len(trace.spans) == starts
        going = sum("pocketflow.interrupted" in span.attributes for span in trace.spans)
        assert (trace.summary.status, going) == ("interrupted", starts - ends)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("which", [0, 1], ids=["trace file", "journal"])
def test_a_flipped_bit_is_a_sentence_or_does_no_harm(
    files: tuple[Path, Path], tmp_path: Path, which: int
) -> None:
    whole = files[which].read_bytes()
    chance = random.Random(7)
    flipped = tmp_path / f"flipped{files[which].suffix}"
    outcomes = {0: 0, 2: 0}
    for round_ in range(examples(600)):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        flipped.write_bytes(data)
        code, _, stderr = said(COMMANDS[round_ % len(COMMANDS)], flipped)
        assert code in (0, 2)
        assert (stderr.count("\n") == 1) == (code == 2) or code == 0
        outcomes[code] += 1
    assert examples(600) < 600 or min(outcomes.values()) > 10  # Else the bits did not matter.


def _edited(path: Path, target: Path, edit: Any) -> Path:
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (
            {"format": "pocketflow-otel/2"},
            (
                "FILE cannot be read: it was written by a newer pocketflow-otel "
                "(pocketflow-otel/2; this one reads pocketflow-otel/1)"
            ),
        ),
        (
            {"format": "pocketflow-otel/1x"},
            (
                "FILE cannot be read: it is no trace of pocketflow-otel "
                "(its format is 'pocketflow-otel/1x', not 'pocketflow-otel/1')"
            ),
        ),
        ({"resourceSpans": 5}, "FILE is damaged: events or resourceSpans are not as they should be"),
        ({"resourceSpans": [{}]}, "FILE is damaged: events or resourceSpans are not as they should be"),
        ({"events": [5]}, "FILE is damaged: events or resourceSpans are not as they should be"),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}, "FILE: a span is damaged"),
    ],
    ids=["newer", "not ours", "no spans", "no scopes", "no events", "no span"],
)
def test_a_file_of_another_schema_is_refused(
    files: tuple[Path, Path], tmp_path: Path, edit: dict[str, Any], sentence: str
) -> None:
    path = _edited(files[0], tmp_path / "other.json", lambda document: document.update(edit))
    assert refused(path) == sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "FILE is empty"),
        (b"[]", "FILE is no trace of pocketflow-otel: it is no JSON object"),
        (
            b"{}",
            (
                "FILE cannot be read: it is no trace of pocketflow-otel "
                "(its format is None, not 'pocketflow-otel/1')"
            ),
        ),
        (b"[" * 100_000, "FILE is no trace of pocketflow-otel: it is nested too deeply"),
        (b"\xff\xfe{}", "FILE is damaged at byte 0: no UTF-8"),
        (b'{"a": "\xff"}', "FILE is damaged at byte 7: no UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "FILE is damaged: a number has too many digits"),
        (b"\x00" * 50, "FILE is no trace of pocketflow-otel: it is no JSON object"),
        (b'{"a" 1}', "FILE is damaged at line 1, column 6"),
    ],
    ids=["empty", "list", "object", "deep", "utf-16", "not utf-8", "digits", "zeros", "colon"],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert refused(path) == sentence


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    directory, fifo, absent = tmp_path / "directory", tmp_path / "fifo", tmp_path / "absent.json"
    directory.mkdir()
    os.mkfifo(fifo)
    assert (refused(directory), refused(fifo), refused(absent)) == (
        "FILE is a directory",
        "FILE is no regular file",
        "there is no file FILE",
    )


def test_a_damaged_line_of_a_journal_is_left_out_and_counted(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    lines = files[1].read_bytes().splitlines(keepends=True)
    end = next(place for place, line in enumerate(lines) if line.startswith(b'{"end"'))
    lines[end] = b"garbage\n"
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(lines))
    code, printed, _ = said(["show"], path)
    assert (code, "1 line of the journal could not be read" in printed) == (0, True)
    assert reader.read(finalize.write_trace_file(path)).summary.damaged == 1


def test_spans_that_are_each_others_parents_are_all_shown(files: tuple[Path, Path], tmp_path: Path) -> None:
    def ring(document: dict[str, Any]) -> None:
        spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
        spans[0]["parentSpanId"] = spans[0]["spanId"]
        spans[1]["parentSpanId"], spans[2]["parentSpanId"] = spans[2]["spanId"], spans[1]["spanId"]

    path = _edited(files[0], tmp_path / "ring.json", ring)
    assert len(list(reader.read(path).walk())) == 7
    for arguments in COMMANDS:
        assert said(arguments, path)[0] == 0
