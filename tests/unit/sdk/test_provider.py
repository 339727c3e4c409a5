"""One state and one run processor for each provider, whoever prepares it and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tests.support.outputs import show, shown
from tests.support.steps import Step

from pocketflow_otel import Config, configure
from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.file.file_view import FileView
from pocketflow_otel.sdk.provider import prepare_provider, run_processor_of, shows_live
from pocketflow_otel.testing import capture_spans

if TYPE_CHECKING:
    from pathlib import Path


def test_asking_twice_gives_one_processor_and_one_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capture_spans() as captured:
        for _ in range(2):
            show(captured.provider, console="summary", file="all", directory=tmp_path)
            prepare_provider(captured.provider, Config(console="summary", file="all", dir=tmp_path))
        Step("A").run({})

    assert run_processor_of(captured.provider) is run_processor_of(captured.provider)
    assert capsys.readouterr().err.startswith("ok ")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_file_comes_first_whatever_was_asked_for_first(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    show(provider, console="live", file=None, directory=tmp_path)
    show(provider, console=None, file="all", directory=tmp_path)

    assert [type(view) for view in run_processor_of(provider).views] == [FileView, ConsoleView]


def test_a_view_can_be_changed_and_switched_off(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    seen = [shown(provider)]
    for console, file in (("live", "all"), ("summary", "failed"), ("off", None), (None, "off")):
        show(provider, console=console, file=file, directory=tmp_path)  # type: ignore[arg-type]
        seen.append(shown(provider))

    assert seen == [(False, False), (True, True), (True, True), (False, True), (False, False)]


def test_a_provider_has_its_own_views(tmp_path: Path) -> None:
    one, other = (TracerProvider(shutdown_on_exit=False) for _ in range(2))
    show(one, console="live", file=None, directory=tmp_path)

    assert (shown(one), shown(other)) == ((True, False), (False, False))


@pytest.mark.parametrize("mode", ["live", "summary", "saved", "off"])
def test_a_live_view_is_known_from_other_views(tmp_path: Path, mode: Any) -> None:
    assert shows_live(configure(console=mode, directory=tmp_path)) == (mode == "live")
    assert not shows_live(TracerProvider())
    assert not shows_live(None)
    assert not shows_live(trace.NoOpTracerProvider())
