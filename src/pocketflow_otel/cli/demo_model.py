"""The model of the demo: it answers from memory, in the shape of OpenRouter's responses.

A real response of that shape tells the tokens of the call and what it cost, and so does this one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

SMALL: Final = "openai/gpt-5.4-mini"
LARGE: Final = "openai/gpt-5.4"


class Price(NamedTuple):
    """US dollars for a million tokens."""

    input: float
    cached: float
    output: float


PRICES: Final = {SMALL: Price(0.75, 0.075, 4.5), LARGE: Price(2.5, 0.25, 15)}
"""What OpenRouter takes for these models."""


class ModelAnswer(NamedTuple):
    """What the model says, how long it takes to, and its count of tokens, instructions included."""

    text: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


ANSWERS: Final = {
    "Why go to Reykjavik?": ModelAnswer("geothermal pools steam beside lava fields", 0.15, 214, 9),
    "Why go to Lisbon?": ModelAnswer("yellow trams climb seven hills above the Tagus", 0.2, 213, 11),
    "Why go to Naples?": ModelAnswer("pizza was born in streets under Vesuvius", 0.25, 213, 10),
    "Why go to Kyoto?": ModelAnswer("maple gardens glow around wooden temples", 0.3, 213, 8),
    "Is 1 note enough?": ModelAnswer("research again", 0.1, 1310, 3),
    "Are 2 notes enough?": ModelAnswer("answer", 0.1, 1354, 2, cached_tokens=1280),
    "Why is Lisbon the best?": ModelAnswer(
        "Go to Lisbon: yellow trams climb seven hills above the Tagus.", 0.3, 1402, 16, cached_tokens=1280
    ),
}


async def complete(model: str, prompt: str) -> dict[str, Any]:
    """Return the model's response, after the time that the answer takes."""
    answer, price = ANSWERS[prompt], PRICES[model]
    await asyncio.sleep(answer.seconds)
    uncached = answer.prompt_tokens - answer.cached_tokens
    dollars = (
        uncached * price.input + answer.cached_tokens * price.cached + answer.completion_tokens * price.output
    ) / 1_000_000
    return {
        "object": "chat.completion",
        "provider": "OpenAI",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": answer.text}}],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
            "cost": round(dollars, 9),
        },
    }
