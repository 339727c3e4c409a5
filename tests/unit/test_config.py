"""Settings are read once and strictly: what is misspelled is refused, and by name."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pocketflow_otel.config import PREFIX, VARIABLES, Config


def mask(key: str, value: object) -> object:
    return "masked"


@pytest.fixture(autouse=True)
def _module_with_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("masks")
    module.mask, module.number = mask, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "masks", module)


def read(**variables: str) -> Config:
    return Config.from_env({PREFIX + name.upper(): text for name, text in variables.items()})


def test_nothing_is_asked_for_by_default() -> None:
    assert read() == Config()


def test_values_are_kept_back_by_default() -> None:
    assert (Config().capture_values, Config().mask, Config().console, Config().file) == ((), None, None, None)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"console": "summary"}, Config(console="summary")),
        ({"console": " LIVE "}, Config(console="live")),
        ({"file": "failed"}, Config(file="failed")),
        ({"dir": "/tmp/x y"}, Config(dir=Path("/tmp/x y"))),
        ({"capture_values": "question, answer*,,"}, Config(capture_values=("question", "answer*"))),
        ({"mask_errors": "true"}, Config(mask_errors=True)),
        ({"mask_errors": "1"}, Config(mask_errors=True)),
        ({"mask_errors": "False"}, Config(mask_errors=False)),
        ({"mask_errors": "0"}, Config(mask_errors=False)),
        ({"prices": "prices.toml"}, Config(prices=Path("prices.toml"))),
        ({"max_cost": "$0.50"}, Config(max_cost=0.5)),
        ({"max_cost": "2"}, Config(max_cost=2.0)),
        ({"max_cost_action": "STOP"}, Config(max_cost_action="stop")),
        ({"max_batch_items": "0"}, Config(max_batch_items=0)),
        ({"compat": "langfuse, openinference"}, Config(compat=("langfuse", "openinference"))),
        ({"keep_runs": "7"}, Config(keep_runs=7)),
        ({"keep_runs": "ALL"}, Config(keep_runs=None)),
        ({"keep_days": "0.5"}, Config(keep_days=0.5)),
        ({"keep_days": "all"}, Config(keep_days=None)),
        ({"keep_bytes": "1000"}, Config(keep_bytes=1000)),
        ({"pflow_details": "errors, paths"}, Config(pflow_details=("errors", "paths"))),
        ({"modules": "mypkg.pocketflow, __main__"}, Config(modules=("mypkg.pocketflow", "__main__"))),
        ({"children": "Trace"}, Config(children="trace")),
        ({"compat": "openinference,langfuse"}, Config(compat=("openinference", "langfuse"))),
        ({"console": "", "file": "  "}, Config()),
        ({"console": "off", "file": "off"}, Config(console="off", file="off")),
    ],
    ids=lambda given: str(given) if type(given) is dict else "",
)
def test_a_variable_sets_its_field(variables: dict[str, str], expected: Config) -> None:
    assert read(**variables) == expected


def test_every_field_has_its_variable() -> None:
    assert tuple(f"POCKETFLOW_OTEL_{field.name.upper()}" for field in dataclasses.fields(Config)) == VARIABLES


def test_every_variable_is_read() -> None:
    class Asked(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            self[name] = ""
            return default

    asked = Asked()
    Config.from_env(asked)
    assert tuple(asked) == VARIABLES


def test_the_variables_of_the_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETFLOW_OTEL_CONSOLE", "saved")
    assert Config.from_env().console == "saved"


WRONG = [
    ("console", "loud", "choose one of live, summary, saved, off"),
    ("console", "a: b", "choose one of live, summary, saved, off"),
    ("file", "yes", "choose one of all, failed, off"),
    ("pflow_details", "texts", "choose among errors, paths"),
    ("modules", "mypkg/pocketflow.py", "give modules, by name as in `import mypkg.pocketflow`"),
    ("modules", "pocketflow.py", "give modules, by name as in `import mypkg.pocketflow`"),
    ("modules", "mypkg..pocketflow", "give modules, by name as in `import mypkg.pocketflow`"),
    ("children", "show", "choose one of hide, trace"),
    ("compat", "phoenix", "choose among openinference, langfuse"),
    ("compat", "openinference, langfoose", "choose among openinference, langfuse"),
    ("mask", "masks", "give module:function"),
    ("mask", ":mask", "give module:function"),
    ("mask", "masks:", "give module:function"),
    ("mask", "masks:a mask", "give module:function"),
    ("mask_errors", "ture", "choose one of true, false"),
    ("max_cost", "much", "US dollars, at least 0"),
    ("max_cost", "-1", "US dollars, at least 0"),
    ("max_cost", "nan", "US dollars, at least 0"),
    ("max_cost", "inf", "US dollars, at least 0"),
    ("max_cost_action", "halt", "choose one of warn, stop"),
    ("compat", "langfuse, phoenix", "choose among openinference, langfuse"),
    ("keep_runs", "some", "a number of at least 0, or all"),
    ("keep_runs", "-1", "a number of at least 0, or all"),
    ("keep_days", "inf", "a number of at least 0, or all"),
    ("keep_days", "long", "a number of at least 0, or all"),
    ("max_batch_items", "many", "a number of at least 0"),
    ("max_batch_items", "-1", "a number of at least 0"),
]


@pytest.mark.parametrize(("field", "text", "allowed"), WRONG)
def test_a_bad_variable_is_refused_by_name_value_and_what_is_allowed(
    field: str, text: str, allowed: str
) -> None:
    with pytest.raises(ValueError, match="POCKETFLOW") as refused:
        read(**{field: text})
    assert str(refused.value) == f"POCKETFLOW_OTEL_{field.upper()}={text!r}: {allowed}"


@pytest.mark.parametrize(("field", "text", "allowed"), WRONG)
def test_a_bad_variable_is_reported_and_the_others_stand(field: str, text: str, allowed: str) -> None:
    reports: list[str] = []
    environ = {PREFIX + field.upper(): text, "POCKETFLOW_OTEL_DIR": "x"}
    config = Config.from_env(environ, report=reports.append)
    assert (len(reports), reports[0].startswith(f"POCKETFLOW_OTEL_{field.upper()}={text!r}: {allowed}")) == (
        1,
        True,
    )
    assert config.dir == Path("x")


def test_every_bad_variable_is_reported() -> None:
    reports: list[str] = []
    environ = {"POCKETFLOW_OTEL_CONSOLE": "loud", "POCKETFLOW_OTEL_MAX_BATCH_ITEMS": "x"}
    config = Config.from_env(environ, report=reports.append)
    assert (config, reports) == (
        Config(),
        [
            "POCKETFLOW_OTEL_CONSOLE='loud': choose one of live, summary, saved, off",
            "POCKETFLOW_OTEL_MAX_BATCH_ITEMS='x': a number of at least 0",
        ],
    )


def test_a_mask_is_imported_when_it_is_first_asked() -> None:
    masks = [
        read(mask=name).mask for name in ("masks:mask", "not_there_yet:mask", "masks:nothing", "masks:number")
    ]
    found: list[object] = []
    for masking in masks:
        assert masking is not None
        try:
            found.append(masking("answer", 42))
        except (ImportError, AttributeError, TypeError) as error:
            found.append(type(error))
    assert found == ["masked", ModuleNotFoundError, AttributeError, TypeError]


def test_everything_is_masked_while_it_is_not_clear_by_what() -> None:
    environ = {"POCKETFLOW_OTEL_CAPTURE_VALUES": "answer", "POCKETFLOW_OTEL_MASK": "masks.mask"}
    hide = Config.from_env(environ, report=lambda _: None).mask
    assert hide is not None
    assert hide("answer", 42) == "***"


def test_messages_are_masked_while_it_is_not_clear_whether_they_are_to_be() -> None:
    environ = {"POCKETFLOW_OTEL_MASK_ERRORS": "yes"}
    assert Config.from_env(environ, report=lambda _: None).mask_errors is True


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"console": "loud"}, "console='loud': choose one of live, summary, saved, off"),
        ({"file": "none"}, "file='none': choose one of all, failed, off"),
        ({"capture_values": "answer"}, "capture_values='answer': give a tuple of names"),
        ({"capture_values": ("answer", 7)}, "capture_values=('answer', 7): give a tuple of names"),
        ({"mask": "masks:mask"}, "mask='masks:mask': give a function"),
        ({"compat": ["langfuse"]}, "compat=['langfuse']: choose among openinference, langfuse"),
        ({"max_batch_items": -1}, "max_batch_items=-1: a number of at least 0"),
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_by_name_value_and_what_is_allowed(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="=") as refused:
        Config(**settings)
    assert str(refused.value) == message


def test_a_misspelled_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="capture_value"):
        Config(capture_value=("answer",))  # type: ignore[call-arg]


def test_settings_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        Config("live")  # type: ignore[misc]


def test_a_config_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().console = "off"  # type: ignore[misc]
