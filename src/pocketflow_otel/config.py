"""Read the settings of a process, once and strictly, into a frozen `Config`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

PREFIX: Final = "POCKETFLOW_OTEL_"

ConsoleMode = Literal["live", "summary", "saved", "off"]
FileMode = Literal["all", "failed", "off"]
Mask = Callable[[str, object], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a user can choose. Every field has an environment variable `POCKETFLOW_OTEL_<FIELD>`.

    Attributes:
        console: What stderr shows: every step as it happens (`live`), two lines when a run ends
            (`summary`), one line naming the trace file (`saved`), nothing (`off`). `None`: not
            asked for, so whoever sets the process up decides.
        file: Which runs leave a trace file. `None`: not asked for.
        dir: Where trace files go.
        capture_values: Names, or shell-style patterns, of the store keys whose values may be recorded.
        mask: Called as `mask(key, value)` for each value about to be recorded; what it returns is
            recorded instead. In the environment `module:function`.
        mask_errors: Leave the messages of exceptions out of spans.
        max_batch_items: Item spans of one batch; beyond it items are counted, and failed ones
            still get a span.

    Raises:
        ValueError: A value is not allowed; the text names the field, the value and what is allowed.
    """

    console: ConsoleMode | None = None
    file: FileMode | None = None
    dir: Path = Path("~/.pflow/traces")
    capture_values: tuple[str, ...] = ()
    mask: Mask | None = None
    mask_errors: bool = False
    max_batch_items: int = 200

    def __post_init__(self) -> None:
        _one_of("console", self.console, get_args(ConsoleMode))
        _one_of("file", self.file, get_args(FileMode))
        if type(self.capture_values) is not tuple:
            raise ValueError(f"capture_values={self.capture_values!r}: give a tuple of names")
        if self.max_batch_items < 0:
            raise ValueError(f"max_batch_items={self.max_batch_items}: a number of at least 0")

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        report: Callable[[str], None] | None = None,
    ) -> Config:
        """Read the `POCKETFLOW_OTEL_*` variables.

        Args:
            environ: The variables; those of the process by default.
            report: Called with one sentence for each bad value, whose default then stands.

        Raises:
            ValueError: A value is not allowed, and there is no `report`.
        """
        environ = os.environ if environ is None else environ
        settings: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = environ.get(PREFIX + field.name.upper(), "").strip()
            if not text:
                continue
            try:
                value: Any = _PARSERS[field.name](text)
                cls(**{field.name: value})
            except ValueError as error:
                problem = f"{PREFIX}{field.name.upper()}={text!r}: {_reason(error)}"
                if report is None:
                    raise ValueError(problem) from None
                report(problem)
            else:
                settings[field.name] = value
        return cls(**settings)


def _reason(error: ValueError) -> str:
    """Keep what follows the field's name and value, which the variable's name replaces."""
    return str(error).rpartition(": ")[2]


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{field}={value!r}: choose one of {', '.join(allowed)}")


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError("choose one of true, false") from None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a number of at least 0") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _function(text: str) -> Mask:
    import importlib

    module, _, name = text.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ValueError("give module:function, and both must exist") from None
    if not callable(found):
        raise ValueError("give module:function, and it must be callable")
    return found  # type: ignore[no-any-return]  # callable() narrows to (...) -> object


_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "console": str.lower,
    "file": str.lower,
    "dir": Path,
    "capture_values": _names,
    "mask": _function,
    "mask_errors": _boolean,
    "max_batch_items": _number,
}

VARIABLES: Final = tuple(PREFIX + field.name.upper() for field in dataclasses.fields(Config))
"""Every variable that `Config.from_env` reads."""


def no_report(problem: str) -> None:
    """Pass over a bad value: the instrumentor reports each, once."""
