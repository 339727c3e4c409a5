"""The values and texts in a trace of pflow, which stay there unless they are asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_line import run
from tests.support.pflow_traces import ALL, documents, imported, name_of, steps_of, trace_of, write

from pocketflow_otel import semconv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NAMES = ("model", "workflow", "workflow_path", "node_id", "workflow_ref", "_pflow_child_workflow_paths")
"""Whose values name something."""
HOLDERS = (
    "node_output", "inputs", "node_params", "template_resolutions", "llm_prompt", "llm_response", "item",
    "error", "shared_before", "shared_after", "gate_request", "request", "value", "warnings",
)  # fmt: skip


def values_in(content: Any, *, inside: bool = False) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in NAMES:
                yield from values_in(value, inside=inside or key in HOLDERS)
    elif isinstance(content, list):
        for value in content:
            yield from values_in(value, inside=inside)
    elif inside and isinstance(content, str):
        yield content


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_no_value_comes_along(path: Path, tmp_path: Path) -> None:
    (made,) = imported(tmp_path, path)
    text = json.dumps(json.loads(made.read_text(encoding="utf-8")), ensure_ascii=False)
    kinds = {
        "api_warning",
        "on_error_recovery",
        "warning",
        "shell_failure",
        "ShellNode",
        "parallel",
        "sequential",
    }
    names = {step.span.title for step in steps_of(path)}
    values = {value.strip() for value in values_in(documents(path))} - kinds - names
    leaked = [value for value in values if len(value) > 5 and json.dumps(value)[1:-1] in text]
    assert (leaked, "/home/ada" in text, "hunter2" in text) == ([], False, False)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("0.8.1/failing", ["Command failed with exit code 3: password hunter2"]),
        (
            "0.16.0/unrouted",
            ["Node 'choose' returned action 'nowhere' but no successor edge matches"],
        ),
        ("0.16.0/nested", ["Command failed with exit code 1", "Sub-workflow failed at"]),
    ],
)
def test_texts_of_failures_come_along_when_asked_for(name: str, texts: list[str]) -> None:
    said = [step.span.status_message for step in steps_of(trace_of(name), texts=True)]
    said += [
        str(
            event.attributes.get(semconv.EXCEPTION_MESSAGE, event.attributes.get(semconv.WARNING_MESSAGE, ""))
        )
        for step in steps_of(trace_of(name), texts=True)
        for event in step.span.events
    ]
    assert [text for text in texts if not any(text in each for each in said)] == []


def test_a_long_text_is_found_on_its_own_line_and_shortened(tmp_path: Path) -> None:
    content = documents(trace_of("0.16.0/loud"))
    long = next(line["md5"] for line in content if line.get("kind") == "blob")
    failed = next(line for line in content if line.get("status") == "failed")
    failed["error"] = {"$pflow_blob": long}
    last = steps_of(write(tmp_path / "trace", content), texts=True)[-1].span
    assert (last.status_message[:9], len(last.status_message), last.status_message[-1]) == (
        "1000\n1001", 1000, "…",
    )  # fmt: skip
    types = dict(
        zip(
            last.attributes[semconv.SHARED_ADDED_KEYS],
            last.attributes[semconv.SHARED_ADDED_TYPES],
            strict=True,
        )
    )
    assert types["stderr"] == "str"


def test_error_text_is_an_option_of_the_command(tmp_path: Path) -> None:
    run("import-pflow", "--dir", tmp_path, "--error-text", trace_of("0.8.1/failing"))
    assert "hunter2" in run("show", "--dir", tmp_path, "last").stdout
