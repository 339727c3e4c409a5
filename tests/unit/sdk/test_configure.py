"""`configure()`: what it shows, saves and instruments, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tests.support.outputs import shown
from tests.support.own_copies import COPY
from tests.support.processes import write
from tests.support.steps import Step, named

import pocketflow_otel
from pocketflow_otel import Config, PflowInstrumentor, configure
from pocketflow_otel.guard import set_strict
from pocketflow_otel.sdk.configure import configure as of_module

if TYPE_CHECKING:
    from pathlib import Path


def flow() -> Any:
    return named(pocketflow.Flow(start=Step("A")), "flow")


def saved(folder: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in folder.iterdir()]


# configure()


def test_configure_shows_and_saves_runs_and_returns_the_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = configure(directory=tmp_path)
    flow().run({})

    assert provider is trace.get_tracer_provider()
    assert [run["flow"] for run in saved(tmp_path)] == ["flow"]
    assert "✓ Flow: flow" in capsys.readouterr().err


def test_configure_again_changes_the_views(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = configure(directory=tmp_path / "one")
    other = configure(console="summary", file="failed", directory=tmp_path / "other")
    flow().run({})

    assert one is other
    assert not (tmp_path / "one").exists()
    assert list((tmp_path / "other").iterdir()) == []
    assert re.fullmatch(r"ok  .* · 1 step\n", capsys.readouterr().err)


def test_configure_has_copies_under_other_names_traced_and_may_be_told_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    for name in ("one", "two", "three"):
        copies.append(module := ModuleType(f"{name}_copy"))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(COPY, vars(module))
    monkeypatch.setenv("POCKETFLOW_OTEL_MODULES", "one_copy")
    configure(console="off", directory=tmp_path, modules="two_copy")
    configure(console="off", directory=tmp_path, modules=[copies[2]])
    for module in copies:
        type(f"Of{module.__name__}", (module.Node,), {})().run({})

    assert {run["events"][0]["name"] for run in saved(tmp_path)} == {
        "Ofone_copy",
        "Oftwo_copy",
        "Ofthree_copy",
    }


def test_configure_in_the_middle_of_a_run_changes_the_next_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(console="summary", directory=tmp_path / "one")
    Step("A", 0, lambda shared: configure(console="off", directory=tmp_path / "other") and None).run({})
    Step("B").run({})

    assert [[run["events"][0]["name"] for run in saved(tmp_path / name)] for name in ("one", "other")] == [
        ["A"],
        ["B"],
    ]
    assert capsys.readouterr().err.startswith("ok")


def test_configure_uses_the_sdks_provider_that_is_there(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)

    assert configure(directory=tmp_path) is provider
    assert shown(provider) == (True, True)


def test_configure_refuses_a_provider_that_is_not_the_sdks() -> None:
    trace.set_tracer_provider(trace.NoOpTracerProvider())

    with pytest.raises(RuntimeError, match="the global tracer provider is NoOpTracerProvider, not the SDK's"):
        configure()


def test_configure_with_everything_off_traces_for_other_exporters_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = configure(console="off", file="off", directory=tmp_path)
    flow().run({})

    assert shown(provider) == (False, False)
    assert (list(tmp_path.iterdir()), capsys.readouterr()) == ([], ("", ""))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"console": "loud"}, "console='loud': choose one of live, summary, saved, off"),
        ({"file": "some"}, "file='some': choose one of all, failed, off"),
        (
            {"modules": "my pkg"},
            r"modules=\('my pkg',\): give modules, by name as in `import mypkg.pocketflow`",
        ),
    ],
)
def test_a_bad_argument_is_a_value_error_that_says_what_is_allowed(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        configure(**arguments)


def test_a_bad_variable_is_a_value_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_MAX_BATCH_ITEMS", "many")
    with pytest.raises(ValueError, match="BATCH_ITEMS='many': a number of at least 0"):
        configure()

    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_the_environment_gives_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_DIR", str(tmp_path))
    monkeypatch.setenv("POCKETFLOW_OTEL_CAPTURE_VALUES", "answer")
    configure(console="off")
    Step("A", 0, lambda shared: shared.update(answer=42, secret=43)).run({})

    assert '"{\\"answer\\":42}"' in next(tmp_path.iterdir()).read_text()


def test_a_flow_that_redirects_stderr_captures_nothing_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    configure(file="off")
    captured = io.StringIO()
    ours = sys.stderr

    def redirect(shared: Any) -> None:
        sys.stderr = captured

    def put_back(shared: Any) -> None:
        sys.stderr.write("theirs\n")
        sys.stderr = ours

    first = Step("A", 0, redirect)
    first >> Step("B") >> Step("C", 0, put_back)
    named(pocketflow.Flow(start=first), "flow").run({})

    assert captured.getvalue() == "theirs\n"
    assert "→ B" in capsys.readouterr().err


# configure() and pflow, which tests/pflow/test_in_process.py has really


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Have a module called pflow; return the configurations it is instrumented with."""
    write(tmp_path / "somebodys" / "pflow.py", "raise AssertionError('pflow is imported')")
    monkeypatch.syspath_prepend(tmp_path / "somebodys")
    configs: list[Config] = []
    monkeypatch.setattr(PflowInstrumentor, "_instrument", lambda self, config: configs.append(config))
    monkeypatch.setattr(PflowInstrumentor, "_uninstrument", lambda self: None)
    return configs


def test_configure_instruments_pflow_as_it_does_pocketflow(
    watched: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PflowInstrumentor, "_check_dependency_conflicts", lambda self: None)
    configure(console="off", file="off", capture_values=["answer"])
    configure(console="off", file="off")

    assert [config.capture_values for config in watched] == [("answer",)]


def test_configure_leaves_a_module_alone_that_is_only_called_pflow(
    watched: list[Config], caplog: pytest.LogCaptureFixture
) -> None:
    configure(console="off", file="off")

    assert (watched, caplog.messages) == ([], [])


def test_configure_goes_on_where_pflow_cannot_be_instrumented(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PflowInstrumentor, "_check_dependency_conflicts", lambda self: 1 / 0)
    set_strict(False)
    configure(console="off", file="off")

    assert caplog.messages == ["pocketflow-otel could not instrument pflow; the flow goes on (reported once)"]


# The name of the service


def service_name(**variables: str) -> object:
    with pytest.MonkeyPatch.context() as patches:
        for name, value in variables.items():
            patches.setenv(name, value)
        return configure(console="off", file="off").resource.attributes["service.name"]


def test_the_service_has_the_name_it_is_given() -> None:
    assert configure(service_name="shop").resource.attributes["service.name"] == "shop"


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SERVICE_NAME": "shop"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,team=a"}],
)
def test_the_service_has_the_name_of_the_environment(variables: dict[str, str]) -> None:
    assert service_name(**variables) == "shop"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "/srv/app.py", "--x"], "app"),
        (["python", "/usr/bin/pflow"], "pflow"),
        (["python", "-m", "shop"], "shop"),
        (["python", "-c", "1"], "python"),
        ([], "python"),
    ],
)
def test_else_the_service_has_the_programs_name(
    command: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", command)

    assert service_name() == name


def test_the_package_hands_out_configure_without_importing_the_sdk_before() -> None:
    assert pocketflow_otel.configure is configure
    assert of_module is configure
