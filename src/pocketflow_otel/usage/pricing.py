"""Price a usage: what was reported, else the user's price file, else genai-prices, else unknown.

genai-prices knows dated, tiered and cached prices of some two thousand models, offline; it takes
half a second and a hundred megabytes to load, so it is loaded in a thread, when a call needs it.
"""

from __future__ import annotations

import re
import sys
import threading
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from pocketflow_otel.guard import let_through, quiet
from pocketflow_otel.usage.providers import is_tuned, maker_of, runs_locally, split_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from pocketflow_otel.usage.payloads import Usage

MILLION: Final = Decimal(1_000_000)

_PATIENCE: Final = 10.0
"""Seconds a step waits for the table, once a process, before a cost stays unknown."""

_OWN_MACHINE: Final = re.compile(r"https?://(?:localhost|127\.|0\.0\.0\.0|\[::1\]|host\.docker\.internal)")
_OWN_COPY: Final = re.compile(r"gpt-oss|.*:")
"""Names of weights that people run themselves: `gpt-oss`, and what has a tag, as Ollama's have."""


@dataclass(frozen=True, slots=True)
class UserPrice:
    """Dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached: Decimal


def read_prices(path: Path) -> dict[str, UserPrice]:
    """Read a price file.

    One table a model, dollars per million tokens, `cached` (read from a cache) as `input` if absent:

        ["acme-llm-7b"]
        input = 0.20
        output = 0.60
        cached = 0.05
        aliases = ["acme", "acme-latest"]

    Raises:
        ValueError: It cannot be read, or a table is not like that.
    """
    try:
        tables = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: no TOML ({error})") from None
    prices: dict[str, UserPrice] = {}
    for model, table in tables.items():
        try:
            price, names = _user_price(table), [model, *_aliases(table)]
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path}: [{model}] needs input and output in dollars per million tokens; "
                f"cached and aliases may follow"
            ) from None
        for name in names:
            if name in prices:
                raise ValueError(f"{path}: [{model}] gives a price to {name!r}, which has one")
            prices[name] = price
    return prices


def _user_price(table: Mapping[str, Any]) -> UserPrice:
    if set(table) - {"input", "output", "cached", "aliases"}:
        raise KeyError
    dollars = [Decimal(str(table[name])) for name in ("input", "output")]
    dollars.append(Decimal(str(table.get("cached", table["input"]))))
    if not all(each.is_finite() and each >= 0 for each in dollars):
        raise ValueError
    return UserPrice(*dollars)


def _aliases(table: Mapping[str, Any]) -> list[str]:
    aliases = table.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise TypeError
    return aliases


class PriceBook:
    """Knows prices: the user's, and the table's once that is loaded.

    Args:
        user: The user's prices, by exact name.
    """

    def __init__(self, user: Mapping[str, UserPrice] | None = None) -> None:
        self._user = user or {}

    def price(self, usage: Usage, at: datetime, *, base_url: str | None = None) -> Decimal | None:
        """Return dollars, or `None` for unknown. Waits for the table where it must.

        Args:
            usage: What to price.
            at: When the call was made: prices change.
            base_url: Where it was sent, if known.
        """
        if usage.cost is not None:
            return Decimal(str(usage.cost))
        model = usage.model
        if not model or usage.subscribed:
            return None
        own = self._user.get(model)
        if own is not None:
            uncached = max(usage.input_tokens - usage.cache_read_tokens, 0)
            tokens = (uncached, usage.cache_read_tokens, usage.output_tokens)
            prices = (own.input, own.cached, own.output)
            return sum(
                (number * price / MILLION for number, price in zip(tokens, prices, strict=True)), Decimal()
            )
        return _table_price(usage, model, at, base_url)

    def knows_without_table(self, usage: Usage) -> bool:
        """Return whether `price` answers at once, whether or not the table is loaded."""
        unpriced = usage.subscribed or not usage.model or runs_locally(usage.model, usage.provider)
        return usage.cost is not None or unpriced or usage.model in self._user or table.ready

    @property
    def ready(self) -> bool:
        """Whether the table is loaded."""
        return table.ready

    def load(self) -> None:
        """Begin to load the table, in a thread."""
        table.start()

    def wait(self) -> None:
        """Wait until the table is loaded, but not for ever."""
        table.wait(_PATIENCE)


class _Table:
    """genai-prices, loaded once, in a thread."""

    def __init__(self) -> None:
        self._loaded = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_vain = False
        # Reentrant: a signal handler may run a flow, and a collection end a step, while a thread starts.
        self._lock = threading.RLock()

    @property
    def ready(self) -> bool:
        """Whether asking a price takes no time to speak of."""
        return self._loaded.is_set()

    def start(self) -> None:
        """Begin to load, if nobody has, or a fork has taken the thread away.

        Where no thread can start, the first price that is asked for loads it, in the thread that asks.
        """
        if not self._loading():
            with self._lock:
                if not self._loading():
                    self._thread = threading.Thread(
                        target=self._load, name="pocketflow-otel-prices", daemon=True
                    )
                    with quiet(RuntimeError):
                        self._thread.start()

    def _loading(self) -> bool:
        return self.ready or (self._thread is not None and self._thread.is_alive())

    def wait(self, seconds: float) -> None:
        """Wait until it is loaded, at most so long, and only if that has never been in vain."""
        self.start()
        if self._loading() and not self._in_vain:
            self._in_vain = not self._loaded.wait(seconds)

    def _load(self) -> None:
        with quiet():  # It fails again, in a guard, where a price is asked for.
            _ask("gpt-4o-mini", "openai", None, {"input_tokens": 1}, None, None)
        self._loaded.set()


table: Final = _Table()


def _table_price(usage: Usage, model: str, at: datetime, base_url: str | None) -> Decimal | None:
    tokens: dict[str, int] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        **usage.details,
    }
    ask = partial(_ask, tokens=tokens, at=at, tier=usage.service_tier)
    provider, name = split_provider(model, usage.provider)
    # OpenAI's client is used with many others' endpoints, and then calls those "openai" too.
    if base_url is not None and not is_tuned(model) and (usage.provider or "openai").lower() == "openai":
        price = ask(model, None, base_url)
        if price is not None:
            return price
    if name is None:
        return None
    if provider is not None:
        price = ask(name, provider, None)
        if price is not None or provider != "openai":
            return price
    if _OWN_COPY.match(name) or (base_url is not None and _OWN_MACHINE.match(base_url)):
        return None
    return ask(name, maker_of(name), None)


def _ask(
    model: str,
    provider: str | None,
    base_url: str | None,
    tokens: Mapping[str, int],
    at: datetime | None,
    tier: str | None,
) -> Decimal | None:
    try:
        result = _genai_prices().calc_price(
            _genai_prices().Usage(**tokens),
            model,
            provider_id=provider,
            provider_api_url=base_url,
            genai_request_timestamp=at,
            # What Anthropic calls a tier, genai-prices calls the way of processing, or the speed.
            price_context=dict.fromkeys(("service_tier", "processing", "speed"), tier) if tier else None,
        )
    except (ImportError, LookupError, ValueError) as error:
        let_through(error)
        return None
    return Decimal(result.total_price)


_FETCHING: Final = "genai_prices.update_prices"


@cache
def _genai_prices() -> Any:
    """Import genai-prices, and its part that fetches prices only when somebody uses that.

    That part imports an HTTP client. We import in a thread, and the user's threads may just then be
    importing the same client, as openai's do at their first call: they then found half of it.
    """
    if "genai_prices" in sys.modules or _FETCHING in sys.modules:
        return import_module("genai_prices")
    stand_in = ModuleType(_FETCHING)
    stand_in.__dict__["__getattr__"] = _forwarded
    sys.modules[_FETCHING] = stand_in
    try:
        return import_module("genai_prices")
    finally:
        del sys.modules[_FETCHING]


def _forwarded(name: str) -> Callable[..., Any]:
    """Return what stands for a class or function of the part that has not been imported."""
    if name.startswith("__"):
        raise AttributeError(name)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(_FETCHING), name)(*args, **kwargs)

    return forward
