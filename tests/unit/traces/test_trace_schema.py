"""The JSON Schema of the trace file: every file of ours fits it, and it refuses what is none."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from tests.support.saved import create_flow, save, save_journal
from tests.support.schema import SCHEMA, SHIPPED, VALIDATOR

from pocketflow_otel.traces import finalize

if TYPE_CHECKING:
    from collections.abc import Callable


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_schema_is_one_and_that_of_the_documentation() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    documented = Path(__file__).parents[3] / "docs" / "trace.schema.json"
    assert documented.read_text(encoding="utf-8") == SHIPPED.read_text(encoding="utf-8")


def test_files_of_runs_that_went_well_failed_or_were_interrupted_fit(tmp_path: Path) -> None:
    paths = save(tmp_path, create_flow(), shared={"answer": 1}) + save(tmp_path, create_flow())
    paths += [finalize.write_trace_file(save_journal(tmp_path, create_flow(), lines)) for lines in (2, 5, 8)]
    statuses = []
    for path in paths:
        VALIDATOR.validate(document(path))
        statuses.append(document(path)["status"])
    assert statuses == ["ok", "failed", "interrupted", "interrupted", "interrupted"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: run.pop("format"),
        lambda run: run.update(format="pocketflow-otel/2"),
        lambda run: run.update(status="running"),
        lambda run: run.update(duration=-1),
        lambda run: run["summary"].pop("errors"),
        lambda run: run["summary"].update(total_cost="0.1"),
        lambda run: run["events"][0].update(type="flow_began"),
        lambda run: run["events"][1].pop("shared_types"),
        lambda run: run["events"].append({}),
        lambda run: run["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(spanId="7"),
        lambda run: run["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(startTimeUnixNano=1),
        lambda run: run["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"][0].update(
            value={"int": "1"}
        ),
    ],
)
def test_what_is_no_trace_file_is_refused(tmp_path: Path, spoil: Callable[[Any], object]) -> None:
    (path,) = save(tmp_path, create_flow())
    run = document(path)
    spoilt = copy.deepcopy(run)
    spoil(spoilt)
    assert (VALIDATOR.is_valid(run), VALIDATOR.is_valid(spoilt)) == (True, False)


def test_later_versions_may_add_fields(tmp_path: Path) -> None:
    (path,) = save(tmp_path, create_flow())
    run = document(path)
    run["new"] = run["summary"]["new"] = run["events"][0]["new"] = 1
    VALIDATOR.validate(run)
