"""The exporters chosen by name: `OTEL_TRACES_EXPORTER=pocketflow_console,pocketflow_file`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from tests.support.outputs import shown
from tests.support.steps import Step

from pocketflow_otel.export.otlp.batch_processor import SafeBatchProcessor
from pocketflow_otel.sdk import named_exporters
from pocketflow_otel.sdk.named_exporters import NamedConsoleExporter, NamedFileExporter, processor_for
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """Stand in for the global provider."""
    made = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(named_exporters, "get_tracer_provider", lambda: made)
    return made


def test_exporters_chosen_by_name_are_live_views_of_the_global_provider(
    provider: TracerProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    exporters = [NamedConsoleExporter(), NamedFileExporter()]
    with capture_spans() as captured:
        Step("A").run({})
    for exporter in exporters:
        exporter.export(captured.spans)

    assert shown(provider) == (True, True)
    assert capsys.readouterr() == ("", "")


def test_a_mode_in_the_environment_wins_over_the_one_of_the_name(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_CONSOLE", "off")
    monkeypatch.setenv("POCKETFLOW_OTEL_FILE", "off")
    NamedConsoleExporter()
    NamedFileExporter()

    assert shown(provider) == (False, False)


def test_a_bad_variable_does_not_keep_the_sdk_from_starting(
    provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_CONSOLE", "lve")
    NamedConsoleExporter()
    NamedFileExporter()

    assert shown(provider) == (True, True)


def test_without_a_provider_yet_the_exporters_tell_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path))
    monkeypatch.setattr(named_exporters, "get_tracer_provider", object)
    exporters = [NamedConsoleExporter(), NamedFileExporter()]
    with capture_spans() as captured:
        Step("A").run({})
    for exporter in exporters:
        exporter.export(captured.spans)

    assert capsys.readouterr().err.splitlines()[-1].endswith(" · 1 step")
    assert len(list(tmp_path.iterdir())) == 1


def test_every_exporter_but_our_views_stands_behind_the_safe_processor() -> None:
    safe = processor_for(ConsoleSpanExporter())
    assert type(safe) is SafeBatchProcessor
    assert type(processor_for(NamedFileExporter())) is SpanProcessor
    safe.shutdown()
