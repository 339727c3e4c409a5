"""The files of a run: names and ids, there and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketflow_otel.traces import run_files

RUN = "20261122T193012Z-7f3a91c2"


@pytest.mark.parametrize("run_id", [RUN, f"{RUN}-2"])
def test_a_runs_files_bear_its_id(run_id: str) -> None:
    journal = run_files.journal_path(Path("traces"), run_id)
    trace_file, draft = run_files.trace_path(journal), run_files.draft_path(journal)

    assert [path.name for path in (journal, trace_file)] == [f"{run_id}.jsonl", f"{run_id}.json"]
    assert {run_files.run_id_of(path) for path in (journal, trace_file)} == {run_id}
    assert [run_files.is_journal(path) for path in (journal, trace_file, draft)] == [True, False, False]
    names = [run_files.parse_name(path.name) for path in (journal, trace_file, draft)]
    assert [(name and name.run_id, name and name.is_draft) for name in names] == [
        (run_id, False),
        (run_id, False),
        (run_id, True),
    ]


@pytest.mark.parametrize("name", ["notes.json", f"{RUN}.txt", f".{RUN}.json", f"{RUN[:-1]}g.json"])
def test_other_files_are_not_ours(name: str) -> None:
    assert run_files.parse_name(name) is None


def test_drafts_of_one_run_have_names_of_their_own() -> None:
    journal = run_files.journal_path(Path("traces"), RUN)
    assert run_files.draft_path(journal) != run_files.draft_path(journal)
