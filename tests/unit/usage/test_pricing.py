"""Price a usage: names of models to dollars or unknown, at prices worked out by hand.

`M` is a million. Beside each name stand the published prices in dollars per million tokens, as
genai-prices 0.2.3 carries them for `AT`; the table's own later prices do not matter here.
"""

from __future__ import annotations

import re
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pocketflow_otel.usage import pricing
from pocketflow_otel.usage.payloads import Usage
from pocketflow_otel.usage.pricing import PriceBook, UserPrice, read_prices

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
M = Decimal(1_000_000)
TABLE = PriceBook()


def usd(*parts: tuple[int, str]) -> Decimal:
    """Add up `(tokens, dollars per million)`."""
    return sum((tokens * Decimal(price) / M for tokens, price in parts), Decimal())


def row(
    model: str, *prices: str, provider: str | None = None, url: str | None = None, name: str | None = None
) -> Any:
    """A model, its prices for input and output (none: unknown), and what else is known of the call."""
    expected = usd(*zip((1000, 500), prices, strict=True)) if prices else None
    return pytest.param(model, provider, url, expected, id=name or "-".join(filter(None, (provider, model))))


KNOWN = [
    # https://platform.openai.com/docs/pricing
    row("gpt-4o-mini", "0.15", "0.60"),
    row("gpt-4o-mini-2024-07-18", "0.15", "0.60"),
    row("GPT-4o-Mini", "0.15", "0.60"),
    row("gpt-4o", "2.50", "10"),
    row("gpt-4o-2024-05-13", "5", "15"),
    row("gpt-4.1", "2", "8"),
    row("gpt-4.1-nano", "0.10", "0.40"),
    row("gpt-4", "30", "60"),
    row("gpt-3.5-turbo", "0.50", "1.50"),
    row("o3", "2", "8"),
    row("o4-mini", "1.10", "4.40"),
    row("gpt-5", "1.25", "10"),
    row("gpt-5-mini", "0.25", "2"),
    row("chatgpt-4o-latest", "5", "15"),
    row("codex-mini-latest", "1.50", "6"),
    row("text-embedding-3-small", "0.02", "0"),
    row("text-embedding-ada-002", "0.10", "0", provider="openai"),
    row("openai/gpt-4o-mini", "0.15", "0.60"),
    # https://docs.claude.com/en/docs/about-claude/pricing
    row("claude-sonnet-4-5", "3", "15"),
    row("claude-sonnet-4-5-20250929", "3", "15"),
    row("claude-opus-4-1-20250805", "15", "75"),
    row("claude-3-5-haiku-latest", "0.80", "4"),
    row("claude-haiku-4-5", "1", "5", provider="anthropic"),
    row("anthropic/claude-sonnet-4-5", "3", "15"),
    row("vertex_ai/claude-sonnet-4-5@20250929", "3", "15"),
    # https://aws.amazon.com/bedrock/pricing: within a region a tenth more than globally
    row("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "3.30", "16.50"),
    row("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "3", "15"),
    row("us-gov.anthropic.claude-3-haiku-20240307-v1:0", "0.25", "1.25"),
    row("bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", "3", "15"),
    row("amazon.nova-pro-v1:0", "0.80", "3.20"),
    row("us.meta.llama3-3-70b-instruct-v1:0", "0.72", "0.72", provider="aws.bedrock"),
    row("deepseek.r1-v1:0", "1.35", "5.40"),
    row("openai.gpt-oss-120b-1:0", "0.15", "0.60"),
    row(
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
        "0.06",
        "0.24",
        name="bedrock-arn",
    ),
    # https://ai.google.dev/gemini-api/docs/pricing
    row("gemini-2.5-pro", "1.25", "10"),
    row("models/gemini-2.5-flash", "0.30", "2.50"),
    row("gemini/gemini-2.5-flash-lite", "0.10", "0.40"),
    row("vertex_ai/gemini-2.5-pro", "1.25", "10"),
    row("publishers/google/models/gemini-2.5-pro", "1.25", "10", provider="gcp.vertex_ai"),
    # https://azure.microsoft.com/pricing/details/cognitive-services/openai-service
    row("azure/gpt-4o", "2.50", "10"),
    row("gpt-35-turbo", "0.50", "1.50", provider="azure.ai.openai"),
    # https://groq.com/pricing
    row("groq/llama-3.3-70b-versatile", "0.59", "0.79"),
    row("groq/openai/gpt-oss-120b", "0.15", "0.60"),
    row("openai/gpt-oss-120b", "0.15", "0.60", provider="groq"),
    # https://openrouter.ai/models
    row("openrouter/openai/gpt-4o", "2.50", "10"),
    row("openrouter/anthropic/claude-sonnet-4.5", "3", "15"),
    row("meta-llama/llama-3.3-70b-instruct", "0.10", "0.32", provider="openrouter"),
    row("openrouter/meta-llama/llama-3.3-70b-instruct:free", "0", "0"),
    # https://www.together.ai/pricing, https://fireworks.ai/pricing
    row("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "0.88", "0.88"),
    row("fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct", "0.20", "0.20"),
    # https://api-docs.deepseek.com/quick_start/pricing, https://mistral.ai/pricing, https://cohere.com/pricing
    row("deepseek/deepseek-chat", "0.27", "1.10"),
    row("mistral-small-latest", "0.15", "0.60"),
    row("mistral/open-mistral-7b", "0.25", "0.25"),
    row("command-r7b-12-2024", "0.0375", "0.15"),
    # https://docs.x.ai/docs/models, https://platform.moonshot.ai/docs/pricing, https://inference-docs.cerebras.ai
    row("xai/grok-4-fast-reasoning", "0.20", "0.50"),
    row("moonshot/kimi-k2-0711-preview", "0.60", "2.50"),
    row("cerebras/llama3.1-8b", "0.10", "0.10"),
]

# OpenAI's client is used with many others' endpoints; its spans say "openai" of those too.
BY_URL = [
    row("llama-3.3-70b-versatile", "0.59", "0.79", provider="openai", url="https://api.groq.com/openai/v1"),
    row("deepseek-chat", "0.27", "1.10", provider="openai", url="https://api.deepseek.com"),
    row("openai/gpt-oss-120b", "0.15", "0.60", provider="openai", url="https://api.groq.com"),
    row("meta-llama/llama-3.3-70b-instruct", "0.10", "0.32", url="https://openrouter.ai/api/v1"),
    row("gpt-4o", "2.50", "10", provider="openai", url="https://acme.openai.azure.com"),
    row("llama3.1-8b", "0.10", "0.10", url="https://api.cerebras.ai/v1"),
    row("gpt-4o-mini", "0.15", "0.60", provider="openai", url="http://localhost:4000"),
    row("claude-haiku-4-5", "1", "5", provider="openai", url="https://llm.acme.example"),
]

UNKNOWN = [
    row("my-gpt-4o-mini"),
    row("gpt-4o-mini-acme"),
    row("gpt-99"),
    row("acme-llm-7b"),
    row("acme/gpt-4o-mini"),
    row("azure/my-deployment"),
    row("my-claude-sonnet"),
    # A fine-tuned model is not priced as its base
    row("ft:gpt-4o-mini-2024-07-18:acme::abc123"),
    row("ft:gpt-4o-mini-2024-07-18:acme::abc123", provider="openai", url="https://api.openai.com/v1"),
    row("openai/ft:gpt-4o-mini-2024-07-18:acme::abc123"),
    row("curie:ft-acme-2022-05-01"),
    row("ft:open-mistral-7b:acme:20250101:abc", provider="mistral"),
    row("tunedModels/my-gemini-x", provider="gcp.gemini"),
    # A model on one's own machine costs nobody's price
    row("llama3.2"),
    row("ollama/llama3.2"),
    row("ollama_chat/deepseek-r1"),
    row("deepseek-r1:7b"),
    row("gpt-oss:20b"),
    row("gpt-oss-120b"),
    row("deepseek-chat", provider="ollama"),
    row("mistral-small-latest", provider="vllm"),
    row("deepseek-r1:7b", provider="openai", url="http://localhost:11434"),
    row("deepseek-chat", provider="openai", url="http://127.0.0.1:8000"),
    row("Qwen/Qwen2.5-7B-Instruct", provider="openai", url="http://10.0.0.5:8000"),
    row("hosted_vllm/mistral-small-latest"),
    row("openrouter/openai/gpt-4o-mini:nitro"),
    row("us.anthropic.claude-99-v1:0"),
    row("/"),
    row("openai/"),
]


@pytest.mark.parametrize(("model", "provider", "url", "expected"), [*KNOWN, *BY_URL, *UNKNOWN])
def test_a_model_has_its_published_price_or_none(
    model: str, provider: str | None, url: str | None, expected: Decimal | None
) -> None:
    usage = Usage(1000, 500, model=model, provider=provider)
    assert TABLE.price(usage, AT, base_url=url) == expected


def test_there_are_forty_names() -> None:
    assert len(KNOWN) >= 40


def test_gpt_4o_mini_100_in_50_out_is_45_millionths() -> None:
    # 100 * $0.15/M + 50 * $0.60/M; a table searched by prefix would take gpt-4's $30 and $60
    assert TABLE.price(Usage(100, 50, model="gpt-4o-mini"), AT) == Decimal("0.000045")


PARTS = [
    pytest.param(
        Usage(2006, 300, cache_read_tokens=1920, model="gpt-4o-mini"),
        # what was not cached, what was, the output
        usd((2006 - 1920, "0.15"), (1920, "0.075"), (300, "0.60")),
        id="openai-cached-at-half",
    ),
    pytest.param(
        Usage(75, 1186, reasoning_tokens=1024, model="o3"),
        usd((75, "2"), (1186, "8")),
        id="openai-reasoning-is-output",
    ),
    pytest.param(
        Usage(4096, 503, cache_read_tokens=1800, cache_write_tokens=248, model="claude-sonnet-4-5"),
        usd((2048, "3"), (1800, "0.30"), (248, "3.75"), (503, "15")),
        id="anthropic-cache-read-and-5m-write",
    ),
    pytest.param(
        Usage(
            4096,
            503,
            cache_read_tokens=1800,
            cache_write_tokens=248,
            model="claude-sonnet-4-5",
            details={"cache_write_1h_tokens": 100},
        ),
        usd((2048, "3"), (1800, "0.30"), (148, "3.75"), (100, "6"), (503, "15")),
        id="anthropic-1h-write-at-double",
    ),
    pytest.param(
        Usage(200_001, 1000, cache_read_tokens=100_000, model="claude-sonnet-4-5"),
        usd((100_001, "6"), (100_000, "0.60"), (1000, "22.50")),
        id="anthropic-above-200k",
    ),
    pytest.param(
        Usage(10682, 510, model="claude-haiku-4-5", details={"web_searches": 1}),
        # $10 for a thousand searches, https://docs.claude.com/en/docs/about-claude/pricing
        usd((10682, "1"), (510, "5")) + Decimal(10) / 1000,
        id="anthropic-web-search",
    ),
    pytest.param(
        Usage(200_000, 1000, model="gemini-2.5-pro"),
        usd((200_000, "1.25"), (1000, "10")),
        id="gemini-pro-at-200k",
    ),
    pytest.param(
        Usage(200_001, 1000, model="gemini-2.5-pro"),
        usd((200_001, "2.50"), (1000, "15")),
        id="gemini-pro-above-200k-all-tokens-cost-more",
    ),
    pytest.param(
        Usage(1000, 10, model="gemini-2.5-flash", details={"input_audio_tokens": 400}),
        usd((600, "0.30"), (400, "1"), (10, "2.50")),
        id="gemini-audio",
    ),
    pytest.param(
        Usage(
            14152,
            129,
            cache_read_tokens=12239,
            model="gemini-2.5-flash",
            details={"input_audio_tokens": 150, "cache_audio_read_tokens": 129},
        ),
        # of the audio 129 were cached, of the text 12239 - 129
        usd((150 - 129, "1"), (129, "0.10"), (14002 - 12110, "0.30"), (12110, "0.03"), (129, "2.50")),
        id="gemini-cached-audio",
    ),
    pytest.param(
        Usage(
            132,
            121,
            cache_read_tokens=64,
            model="gpt-realtime",
            details={"input_audio_tokens": 13, "output_audio_tokens": 91, "cache_audio_read_tokens": 0},
        ),
        usd((119 - 64, "4"), (64, "0.40"), (13, "32"), (30, "16"), (91, "64")),
        id="openai-realtime",
    ),
    pytest.param(
        Usage(
            1000,
            10,
            cache_read_tokens=500,
            model="gemini-2.5-flash",
            details={"input_audio_tokens": 400},
        ),
        None,  # How much of the cached was audio nobody says, and it costs three times as much.
        id="gemini-cached-audio-of-unknown-share",
    ),
    pytest.param(
        Usage(8, 1290, model="gemini-2.5-flash-image", details={"output_image_tokens": 1290}),
        usd((8, "0.30"), (1290, "30")),
        id="gemini-image",
    ),
    pytest.param(
        Usage(100, 500, reasoning_tokens=400, model="sonar-deep-research", provider="perplexity"),
        usd((100, "2"), (100, "8"), (400, "3")),
        id="perplexity-reasoning-has-its-own-price",
    ),
    pytest.param(
        Usage(1000, 1000, model="gpt-5", service_tier="flex"),
        usd((1000, "0.625"), (1000, "5")),
        id="openai-flex",
    ),
    pytest.param(
        Usage(1000, 1000, model="gpt-5", service_tier="priority"),
        usd((1000, "2.50"), (1000, "20")),
        id="openai-priority",
    ),
    pytest.param(
        Usage(1000, 1000, model="gpt-5", service_tier="default"),
        usd((1000, "1.25"), (1000, "10")),
        id="openai-default",
    ),
    pytest.param(
        Usage(1000, 1000, model="claude-haiku-4-5", service_tier="standard"),
        usd((1000, "1"), (1000, "5")),
        id="anthropic-standard",
    ),
    pytest.param(
        Usage(1000, 1000, model="claude-haiku-4-5", service_tier="batch"),
        usd((1000, "0.50"), (1000, "2.50")),
        id="anthropic-batch-at-half",
    ),
    pytest.param(
        Usage(1000, 1000, model="claude-opus-5", service_tier="fast"),
        usd((1000, "10"), (1000, "50")),
        id="anthropic-fast",
    ),
    pytest.param(
        Usage(1000, 1000, model="llama-3.3-70b-versatile", provider="groq", service_tier="on_demand"),
        usd((1000, "0.59"), (1000, "0.79")),
        id="a-tier-without-a-price-of-its-own",
    ),
    pytest.param(Usage(0, 0, model="gpt-4o-mini"), Decimal(0), id="nothing-used"),
    pytest.param(Usage(100, 50), None, id="no-model"),
    pytest.param(Usage(100, 50, model=""), None, id="empty-model"),
    pytest.param(Usage(100, 50, cache_read_tokens=200, model="gpt-4o"), None, id="more-cached-than-used"),
]


@pytest.mark.parametrize(("usage", "expected"), PARTS)
def test_every_part_of_a_usage_has_its_price(usage: Usage, expected: Decimal | None) -> None:
    assert TABLE.price(usage, AT) == expected


@pytest.mark.parametrize(
    ("at", "prices"),
    [
        (datetime(2025, 6, 9, 23, tzinfo=UTC), ("10", "40")),
        (datetime(2025, 6, 10, tzinfo=UTC), ("2", "8")),
        (datetime(2025, 6, 9, 23, tzinfo=UTC).replace(tzinfo=None), ("10", "40")),
    ],
    ids=["before", "since", "without-a-zone"],
)
def test_the_price_is_that_of_the_calls_time(at: datetime, prices: tuple[str, str]) -> None:
    # On 10 June 2025 OpenAI cut o3's price by four fifths.
    assert TABLE.price(Usage(1000, 500, model="o3"), at) == usd((1000, prices[0]), (500, prices[1]))


@pytest.mark.parametrize("cost", [0.0, 0.000123, 1e-12, 7])
def test_a_cost_the_provider_reported_wins(cost: float) -> None:
    own = PriceBook({"gpt-4o-mini": UserPrice(Decimal(9), Decimal(9), Decimal(9))})
    for model in ("gpt-4o-mini", "acme-llm-7b", None):
        assert own.price(Usage(100, 50, model=model, cost=cost), AT) == Decimal(str(cost))


def test_what_a_subscription_paid_for_has_no_price_in_any_list() -> None:
    own = PriceBook({"gpt-4o-mini": UserPrice(Decimal(9), Decimal(9), Decimal(9))})
    assert own.price(Usage(100, 50, model="gpt-4o-mini", subscribed=True), AT) is None


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


PRICES = """
["acme-llm-7b"]
input = 0.20
output = 0.60
cached = 0.05
aliases = ["acme", "acme/latest"]

["gpt-4o-mini"]
input = 1
output = "2"
"""


def test_a_users_price_file_is_read(tmp_path: Path) -> None:
    acme = UserPrice(input=Decimal("0.2"), output=Decimal("0.6"), cached=Decimal("0.05"))
    own = UserPrice(input=Decimal(1), output=Decimal(2), cached=Decimal(1))
    assert read_prices(write(tmp_path / "prices.toml", PRICES)) == {
        "acme-llm-7b": acme,
        "acme": acme,
        "acme/latest": acme,
        "gpt-4o-mini": own,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            Usage(1000, 500, cache_read_tokens=800, model="acme"),
            usd((200, "0.20"), (800, "0.05"), (500, "0.60")),
        ),
        (Usage(1000, 500, model="acme-llm-7b", provider="ollama"), usd((1000, "0.20"), (500, "0.60"))),
        (Usage(1000, 500, model="acme/latest"), usd((1000, "0.20"), (500, "0.60"))),
        (Usage(1000, 500, model="gpt-4o-mini"), usd((1000, "1"), (500, "2"))),
        (Usage(1000, 500, cache_read_tokens=800, model="gpt-4o-mini"), usd((1000, "1"), (500, "2"))),
        (Usage(1000, 500, model="gpt-4o-mini-2024-07-18"), usd((1000, "0.15"), (500, "0.60"))),
        (Usage(1000, 500, model="acme-llm-7b-v2"), None),
        (Usage(10, 500, cache_read_tokens=800, model="acme"), usd((800, "0.05"), (500, "0.60"))),
    ],
    ids=[
        "cached",
        "exact-name",
        "alias",
        "wins-over-the-table",
        "cached-as-input-when-absent",
        "no-other-name",
        "no-prefix",
        "never-below-zero",
    ],
)
def test_a_users_price_wins_for_exactly_the_names_it_gives(
    tmp_path: Path, usage: Usage, expected: Decimal | None
) -> None:
    book = PriceBook(read_prices(write(tmp_path / "prices.toml", PRICES)))
    assert book.price(usage, AT) == expected


NEEDS = "needs input and output in dollars per million tokens; cached and aliases may follow"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[acme", "no TOML ("),
        ("acme = 3", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1\noutput = 1\nprice = 2", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 'cheap'\noutput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = true\noutput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = -1\noutput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = nan\noutput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1\noutput = inf", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1\noutput = 1\ncached = -0.1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = [1]\noutput = 1", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1\noutput = 1\naliases = 'acme-latest'", f"[acme] {NEEDS}"),
        ("[acme]\ninput = 1\noutput = 1\naliases = [1]", f"[acme] {NEEDS}"),
        # Without quotes a dot divides names
        ("[gpt-4.1]\ninput = 1\noutput = 1", f"[gpt-4] {NEEDS}"),
        (
            "[a]\ninput = 1\noutput = 1\n[b]\ninput = 2\noutput = 2\naliases = ['a']",
            "[b] gives a price to 'a', which has one",
        ),
    ],
)
def test_a_bad_price_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path / "prices.toml", text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {says}")):
        read_prices(path)


def test_a_price_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin-1.toml").write_bytes("# größer".encode("latin-1"))
    said = {}
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "latin-1.toml", Path("~nobody-here/p.toml")):
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            read_prices(path)
        said[path.name] = str(caught.value).removeprefix(f"{path}: ")
    assert said == {
        "missing.toml": "No such file or directory",
        tmp_path.name: "Is a directory",
        "latin-1.toml": "no TOML ('utf-8' codec can't decode byte 0xf6 in position 4: invalid start byte)",
        "p.toml": "Could not determine home directory.",
    }


def test_a_price_file_may_lie_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "prices.toml", PRICES)
    assert len(read_prices(Path("~/prices.toml"))) == 4


@pytest.mark.parametrize(
    ("usage", "knows"),
    [
        (Usage(1, 1, model="gpt-4o", cost=0.1), True),
        (Usage(1, 1), True),
        (Usage(1, 1, model="acme"), True),
        (Usage(1, 1, model="gpt-4o", subscribed=True), True),
        (Usage(1, 1, model="llama3.2", provider="ollama"), True),
        (Usage(1, 1, model="openai/gpt-4o", provider="ollama"), False),
        (Usage(1, 1, model="gpt-4o"), False),
    ],
    ids=["reported", "no-model", "users-own", "subscribed", "local", "local-gateway", "needs-the-table"],
)
def test_what_needs_no_table_is_known_at_once(
    monkeypatch: pytest.MonkeyPatch, usage: Usage, knows: bool
) -> None:
    monkeypatch.setattr(pricing, "table", pricing._Table())
    book = PriceBook({"acme": UserPrice(Decimal(1), Decimal(1), Decimal(1))})
    assert (book.knows_without_table(usage), book.ready) == (knows, False)


class SlowTable:
    """A stand-in for loading genai-prices: it goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.loads = threading.Event(), 0
        self.fails: BaseException | None = None
        self.table = pricing._Table()
        monkeypatch.setattr(pricing, "table", self.table)
        monkeypatch.setattr(pricing, "_ask", self.ask)

    def ask(self, *call: Any, **more: Any) -> Decimal | None:
        self.loads += 1
        self.go.wait()
        if self.fails is not None:
            raise self.fails
        return None


def test_the_table_is_loaded_once_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, book = SlowTable(monkeypatch), PriceBook()
    before = threading.enumerate()  # Another table may still be loading.
    for _ in range(3):
        book.load()
    begun = [thread.name for thread in threading.enumerate() if thread not in before]
    assert (book.ready, begun) == (False, ["pocketflow-otel-prices"])
    slow.go.set()
    book.wait()
    book.wait()
    assert (book.ready, slow.loads) == (True, 1)


@pytest.mark.parametrize("failure", [ImportError("no genai_prices"), TypeError("another version")], ids=repr)
def test_a_table_that_cannot_be_loaded_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    slow, book = SlowTable(monkeypatch), PriceBook()
    slow.fails = failure
    slow.go.set()
    book.wait()
    assert book.ready


def test_the_wait_for_a_table_that_hangs_is_bounded_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, waited = SlowTable(monkeypatch), []
    real = slow.table._loaded.wait
    monkeypatch.setattr(
        slow.table._loaded, "wait", lambda seconds=None: waited.append(seconds) or real(0.001)
    )
    book = PriceBook()
    book.wait()
    book.wait()
    assert (waited, book.ready) == ([10.0], False)
    slow.go.set()


def test_a_table_half_loaded_in_a_parent_process_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowTable(monkeypatch)
    # After a fork there is the thread's object, and no thread.
    slow.table._thread = SimpleNamespace(is_alive=lambda: False)  # type: ignore[assignment]
    slow.go.set()
    PriceBook().wait()
    assert slow.table.ready


def test_a_missing_table_knows_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    pricing._genai_prices.cache_clear()
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    try:
        assert TABLE.price(Usage(100, 50, model="gpt-4o-mini"), AT) is None
    finally:
        pricing._genai_prices.cache_clear()
