"""The flow of the demo: it plans a journey with a canned model, and tells what each call used."""

from __future__ import annotations

import asyncio
from typing import Any

import pocketflow

from pocketflow_otel import record_usage
from pocketflow_otel.cli.demo_model import LARGE, SMALL, complete

PLACES = ("Reykjavik", "Lisbon", "Naples", "Kyoto")


async def call_llm(model: str, prompt: str) -> str:
    """Return the model's answer, and have its tokens and its cost counted for the step that asks."""
    response = await complete(model, prompt)
    record_usage(response)
    return str(response["choices"][0]["message"]["content"])


class Plan(pocketflow.Node):  # type: ignore[misc]
    """Chooses the places to ask about."""

    def exec(self, question: str) -> list[str]:
        return list(PLACES)

    def prep(self, shared: dict[str, Any]) -> str:
        return str(shared["question"])

    def post(self, shared: dict[str, Any], question: str, places: list[str]) -> str:
        shared["places"] = places
        shared["notes"] = []
        return "research"


class AskModel(pocketflow.AsyncParallelBatchNode):  # type: ignore[misc]
    """Asks about all places at once; the model is busy the first time it hears of Naples."""

    async def prep_async(self, shared: dict[str, Any]) -> list[str]:
        self.busy = {"Naples"} if not shared["notes"] else set()
        return list(shared["places"])

    async def exec_async(self, place: str) -> str:
        if place in self.busy:
            await asyncio.sleep(0.25)
            self.busy.remove(place)
            raise ConnectionError("429: the model is busy")
        fact = await call_llm(SMALL, f"Why go to {place}?")
        return f"{place}: {fact}"

    async def post_async(self, shared: dict[str, Any], places: list[str], facts: list[str]) -> None:
        shared["facts"] = facts


class Rank(pocketflow.AsyncNode):  # type: ignore[misc]
    """Notes the longest fact, without a model."""

    async def prep_async(self, shared: dict[str, Any]) -> list[str]:
        return list(shared["facts"])

    async def exec_async(self, facts: list[str]) -> list[str]:
        await asyncio.sleep(0.2)
        return sorted(facts, key=len, reverse=True)

    async def post_async(self, shared: dict[str, Any], facts: list[str], ranked: list[str]) -> None:
        shared["notes"].append(ranked[0])


class Review(pocketflow.AsyncNode):  # type: ignore[misc]
    """Asks for a second round, without Reykjavik."""

    async def prep_async(self, shared: dict[str, Any]) -> int:
        return len(shared["notes"])

    async def exec_async(self, rounds: int) -> str:
        return await call_llm(LARGE, "Is 1 note enough?" if rounds == 1 else f"Are {rounds} notes enough?")

    async def post_async(self, shared: dict[str, Any], rounds: int, verdict: str) -> str:
        if verdict == "research again":
            shared["places"].remove("Reykjavik")
        return verdict


class Answer(pocketflow.AsyncNode):  # type: ignore[misc]
    """Gives the advice."""

    async def prep_async(self, shared: dict[str, Any]) -> str:
        return str(shared["notes"][-1])

    async def exec_async(self, note: str) -> str:
        place, _, _ = note.partition(": ")
        return await call_llm(LARGE, f"Why is {place} the best?")

    async def post_async(self, shared: dict[str, Any], note: str, answer: str) -> str:
        shared["answer"] = answer
        del shared["facts"]
        return "done"


def create_travel_advice() -> Any:
    """Return the flow: plan, then research and review until the review is content, then answer."""
    plan, review, answer = Plan(), Review(), Answer()
    ask = AskModel(max_retries=3, wait=0.1)
    ask >> Rank()
    research = pocketflow.AsyncFlow(start=ask)
    research.name = "research"
    plan - "research" >> research
    research >> review
    review - "research again" >> research
    review - "answer" >> answer
    return pocketflow.AsyncFlow(start=plan)
