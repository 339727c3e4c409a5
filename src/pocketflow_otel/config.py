"""Read the settings of a process, once and strictly, into a frozen `Config`."""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, get_args

from pocketflow_otel.guard import let_through

PREFIX: Final = "POCKETFLOW_OTEL_"
DEFAULT_DIRECTORY: Final = "~/.pflow/traces"

ConsoleMode = Literal["live", "summary", "saved", "off"]
FileMode = Literal["all", "failed", "off"]
CostAction = Literal["warn", "stop"]
COMPAT: Final = ("openinference", "langfuse")
PFLOW_DETAILS: Final = ("errors", "paths")
Children = Literal["hide", "trace"]
Mask = Callable[[str, object], object]

_LIMIT: Final = "a number of at least 0, or all"
_MODULES: Final = "give modules, by name as in `import mypkg.pocketflow`"
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(?<!\.py)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a user can choose. Every field has an environment variable `POCKETFLOW_OTEL_<FIELD>`.

    Attributes:
        console: What stderr shows: every step as it happens (`live`), a few lines when a run
            ends (`summary`), one line naming the trace file (`saved`), nothing (`off`). `None`: not
            asked for, so whoever sets the process up decides.
        file: Which runs leave a trace file. `None`: not asked for.
        dir: Where trace files go.
        capture_values: Names, or shell-style patterns, of the store keys whose values may be recorded.
        mask: Called as `mask(key, value)` for each value about to be recorded; what it returns is
            recorded instead. In the environment `module:function`.
        mask_errors: Leave the messages of exceptions out of spans.
        prices: A TOML file of prices, which win over the table: see `usage.pricing.read_prices`.
        max_cost: US dollars; a run that costs more says so once.
        max_cost_action: What else it does then: nothing (`warn`), or raise `BudgetExceeded` before
            its next step (`stop`).
        max_batch_items: Item spans of one batch; beyond it items are counted, and failed ones
            still get a span.
        compat: Back ends that look for attributes of their own, which spans then have as well:
            `openinference`, `langfuse`.
        pflow_details: What spans of pflow's workflows say beyond names and types: the texts of
            failures (`errors`), which hold data; the whole path of the workflow's file (`paths`).
        modules: Modules, or names of some that may be imported later, that have a PocketFlow of their
            own: the program's copies under other names than `pocketflow`.
        children: What the processes started by a pflow shell step see of the tracing: nothing
            (`hide`), or the trace, which they then continue (`trace`).
        keep_runs: How many runs, the newest, stay in `dir` after a run; `None` is no limit, as is
            `all` in the environment. The newest 20 stay whatever the limits are.
        keep_days: How many days they stay.
        keep_bytes: How many bytes they may take together.

    Raises:
        ValueError: A value is not allowed; the text names the field, the value and what is allowed.
    """

    console: ConsoleMode | None = None
    file: FileMode | None = None
    dir: Path = Path(DEFAULT_DIRECTORY)
    capture_values: tuple[str, ...] = ()
    mask: Mask | None = None
    mask_errors: bool = False
    prices: Path | None = None
    max_cost: float | None = None
    max_cost_action: CostAction = "warn"
    max_batch_items: int = 200
    compat: tuple[str, ...] = ()
    pflow_details: tuple[str, ...] = ()
    modules: tuple[str | ModuleType, ...] = ()
    children: Children = "hide"
    keep_runs: int | None = 200
    keep_days: float | None = 30
    keep_bytes: int | None = 500_000_000

    def __post_init__(self) -> None:
        _one_of("console", self.console, get_args(ConsoleMode))
        _one_of("file", self.file, get_args(FileMode))
        _one_of("max_cost_action", self.max_cost_action, get_args(CostAction))
        if self.max_cost is not None and not 0 <= self.max_cost < math.inf:
            raise ValueError(f"max_cost={self.max_cost}: US dollars, at least 0")
        names = self.capture_values
        if type(names) is not tuple or not all(isinstance(name, str) for name in names):
            raise ValueError(f"capture_values={names!r}: give a tuple of names")
        _some_of("compat", self.compat, COMPAT)
        _some_of("pflow_details", self.pflow_details, PFLOW_DETAILS)
        if type(self.modules) is not tuple or not all(map(_is_module, self.modules)):
            raise ValueError(f"modules={self.modules!r}: {_MODULES}")
        _one_of("children", self.children, get_args(Children))
        if self.mask is not None and not callable(self.mask):
            raise ValueError(f"mask={self.mask!r}: give a function")
        if self.max_batch_items < 0:
            raise ValueError(f"max_batch_items={self.max_batch_items}: a number of at least 0")
        for field in ("keep_runs", "keep_days", "keep_bytes"):
            limit = getattr(self, field)
            if limit is not None and not 0 <= limit < math.inf:
                raise ValueError(f"{field}={limit}: {_LIMIT}")

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
            report: Called with one sentence for each bad value, whose default then stands. What
                keeps things private stands closed instead: everything is masked.

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
                let_through(error)
                problem = f"{PREFIX}{field.name.upper()}={text!r}: {_reason(error)}"
                if report is None:
                    raise ValueError(problem) from None
                report(problem)
                if field.name in _SAFE_VALUES:
                    settings[field.name] = _SAFE_VALUES[field.name]
            else:
                settings[field.name] = value
        return cls(**settings)


def _reason(error: ValueError) -> str:
    """Keep what follows the field's name and value, which the variable's name replaces."""
    return str(error).rpartition(": ")[2]


def modules_of(given: str | ModuleType | Iterable[str | ModuleType]) -> tuple[str | ModuleType, ...]:
    """Return what was given for `Config.modules`: one, or several.

    Raises:
        ValueError: Something among it is no module and no name of one.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        given = (given,)
    return Config(modules=tuple(given)).modules


def _is_module(given: object) -> bool:
    return isinstance(given, ModuleType) or (type(given) is str and _MODULE.fullmatch(given) is not None)


def _one_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{field}={value!r}: choose one of {', '.join(allowed)}")


def _some_of(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if type(value) is not tuple or any(name not in allowed for name in value):
        raise ValueError(f"{field}={value!r}: choose among {', '.join(allowed)}")


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


def _dollars(text: str) -> float:
    try:
        return float(text.removeprefix("$"))
    except ValueError:
        raise ValueError("US dollars, at least 0") from None


def _limit(text: str) -> int | None:
    if text.lower() == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(_LIMIT) from None


def _days(text: str) -> float | None:
    if text.lower() == "all":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(_LIMIT) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


class ImportedMask:
    """A mask named `module:function`, imported when the first value is about to be recorded.

    Not before: the program's own folder is on Python's path only once the program runs.

    Raises:
        ValueError: The name is not like that.
    """

    def __init__(self, text: str) -> None:
        self._module, colon, self._name = text.partition(":")
        if not (self._module and colon and self._name.isidentifier()):
            raise ValueError("give module:function")

    def __call__(self, key: str, value: object) -> object:
        """Return what to record; without the function nothing is."""
        function: Mask = getattr(importlib.import_module(self._module), self._name)
        return function(key, value)


def _mask_everything(key: str, value: object) -> object:
    """Mask everything: what stands in for a mask that was asked for and is not one."""
    return "***"


_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "console": str.lower,
    "file": str.lower,
    "dir": Path,
    "capture_values": _names,
    "mask": ImportedMask,
    "mask_errors": _boolean,
    "prices": Path,
    "max_cost": _dollars,
    "max_cost_action": str.lower,
    "compat": _names,
    "pflow_details": _names,
    "modules": _names,
    "children": str.lower,
    "max_batch_items": _number,
    "keep_runs": _limit,
    "keep_days": _days,
    "keep_bytes": _limit,
}

_SAFE_VALUES: Final[Mapping[str, object]] = {"mask": _mask_everything, "mask_errors": True}
"""What a value that is not allowed becomes, where the default would record what was to be kept private."""

VARIABLES: Final = tuple(PREFIX + field.name.upper() for field in dataclasses.fields(Config))
"""Every variable that `Config.from_env` reads."""


def no_report(problem: str) -> None:
    """Pass over a bad value: the instrumentor reports each, once."""
