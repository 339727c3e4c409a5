"""The provider of a model, from what is given and from the name of the model."""

from __future__ import annotations

import pytest

from pocketflow_otel.usage.providers import split_provider


@pytest.mark.parametrize(
    ("model", "given", "split"),
    [
        ("gpt-4o", None, (None, "gpt-4o")),
        ("gpt-4o", "OpenAI", ("openai", "gpt-4o")),
        ("gpt-4o", "acme-cloud", (None, "gpt-4o")),
        ("gpt-4o", "az.ai.openai", ("azure", "gpt-4o")),
        ("openai/gpt-4o", "openrouter", ("openrouter", "openai/gpt-4o")),
        ("openrouter/openai/gpt-4o", None, ("openrouter", "openai/gpt-4o")),
        ("acme/gpt-4o", None, (None, None)),
        ("ft:gpt-4o:acme::x", "openai", ("openai", None)),
        ("llama3.2", "ollama", (None, None)),
        ("eu.anthropic.claude-haiku-4-5-v1:0", None, ("aws", "eu.anthropic.claude-haiku-4-5-v1:0")),
    ],
)
def test_the_provider_is_told_from_what_is_given_and_the_prefix(
    model: str, given: str | None, split: tuple[str | None, str | None]
) -> None:
    assert split_provider(model, given) == split
