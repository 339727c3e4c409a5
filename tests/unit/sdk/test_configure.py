"""`configure()`, private ids, and the resource."""

from __future__ import annotations

import io
import json
import random
import re
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pocketflow
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.util._once import Once
from tests.support.outputs import shown
from tests.support.processes import write
from tests.support.steps import Step, named

import pocketflow_otel
from pocketflow_otel import Config, PflowInstrumentor, PocketFlowInstrumentor, configure
from pocketflow_otel.guard import set_strict
from pocketflow_otel.sdk import flush as flush_module
from pocketflow_otel.sdk.configure import configure as of_module
from pocketflow_otel.sdk.flush import flush
from pocketflow_otel.sdk.ids import PrivateIdGenerator
from pocketflow_otel.sdk.provider import shows_live

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_provider_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test begin as a process does: no global provider, nothing instrumented."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    yield
    for instrumentor in (PocketFlowInstrumentor(), PflowInstrumentor()):
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


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


# Private ids


def numbers() -> list[float]:
    return [random.random() for _ in range(3)]


def seeded() -> list[float]:
    """Do what a seeded program does: draw, run a flow, draw."""
    random.seed(7)
    first = numbers()
    flow().run({})
    return first + numbers()


@pytest.fixture
def bare() -> list[float]:
    random.seed(7)
    return numbers() + numbers()


def test_a_seeded_program_is_not_changed_by_configure(bare: list[float]) -> None:
    configure(console="off", file="off")

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_gave_to_instrument(bare: list[float]) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_set_before(bare: list[float]) -> None:
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    PocketFlowInstrumentor().instrument(config=Config())

    assert seeded() == bare


def test_a_seeded_program_is_not_changed_on_a_provider_it_set_afterwards(bare: list[float]) -> None:
    PocketFlowInstrumentor().instrument(config=Config())
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))

    assert seeded() == bare


def test_tracers_that_were_there_before_have_private_ids_too(bare: list[float]) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("theirs")
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())
    random.seed(7)
    tracer.start_span("s").end()

    assert numbers() == bare[:3]


def test_an_id_generator_that_somebody_chose_stays() -> None:
    class Chosen(RandomIdGenerator):
        pass

    chosen = Chosen()
    provider = TracerProvider(id_generator=chosen, shutdown_on_exit=False)
    PocketFlowInstrumentor().instrument(tracer_provider=provider, config=Config())

    assert provider.id_generator is chosen


def test_private_ids_have_the_bits_they_should_and_are_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    generator: IdGenerator = PrivateIdGenerator()
    spans = [generator.generate_span_id() for _ in range(1000)]
    traces = [generator.generate_trace_id() for _ in range(1000)]

    assert len({*spans, *traces}) == 2000
    assert 2**63 < max(spans) < 2**64
    assert 2**127 < max(traces) < 2**128
    assert generator.is_trace_id_random() is True

    drawn = iter([0, 5, 0, 6])
    monkeypatch.setattr(PrivateIdGenerator, "_random", SimpleNamespace(getrandbits=lambda bits: next(drawn)))
    assert (generator.generate_span_id(), generator.generate_trace_id()) == (5, 6)


# What the instrumentors ask of the SDK's side


@pytest.mark.parametrize("mode", ["live", "summary", "saved", "off"])
def test_a_live_view_is_known_from_other_views(tmp_path: Path, mode: Any) -> None:
    assert shows_live(configure(console=mode, directory=tmp_path)) == (mode == "live")
    assert not shows_live(TracerProvider())
    assert not shows_live(None)
    assert not shows_live(trace.NoOpTracerProvider())


class Slow(SpanProcessor):
    """Holds up a flush, whatever time it is given, as the SDK's own processor does."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.may_go_on = threading.Event()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.asked.append(timeout_millis)
        return self.may_go_on.wait(60)


def test_a_flush_is_bounded_whatever_the_processors_do_and_holds_up_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flush_module, "FLUSH_SECONDS", 0.2)
    provider, slow = TracerProvider(shutdown_on_exit=False), Slow()
    provider.add_span_processor(slow)
    for _ in range(3):
        flush(provider)  # Would never end, else.
    asked_while_it_went_on = len(slow.asked)
    slow.may_go_on.set()
    for thread in threading.enumerate():
        if thread.name == "pocketflow-otel-flush":
            thread.join()
    flush(provider)
    flush(None)

    assert asked_while_it_went_on == 1
    assert [170 < milliseconds <= 190 for milliseconds in slow.asked] == [True, True]


def test_a_flush_that_fails_is_ours_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            raise RuntimeError("broken")

    set_strict(False)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken())
    flush(provider)

    assert caplog.messages == [
        "pocketflow-otel could not send the spans of a run; the flow goes on (reported once)"
    ]


def test_the_package_hands_out_configure_without_importing_the_sdk_before() -> None:
    assert pocketflow_otel.configure is configure
    assert of_module is configure
