"""An agent that looks things up and calculates until it can answer a question.

python examples/qa_agent.py "How much higher is Fuji than Ben Nevis?"
"""

from __future__ import annotations

import ast
import json
import operator
import sys
from pathlib import Path
from typing import Any

from llm import call_llm
from pocketflow import Flow, Node

QUESTION = "How much higher is Mont Blanc than the Zugspitze, in metres?"
KNOWLEDGE = Path(__file__).with_name("knowledge.txt")
MAX_NOTES = 6

Shared = dict[str, Any]


class Decide(Node):
    """Choose the next tool, by what is known so far."""

    def prep(self, shared: Shared) -> tuple[str, list[str]]:
        return shared["question"], shared["notes"]

    def exec(self, prep_res: tuple[str, list[str]]) -> dict[str, str]:
        question, notes = prep_res
        if len(notes) >= MAX_NOTES:
            return {"action": "answer", "input": ""}
        reply = call_llm(
            "You answer a question, one step at a time. Reply with JSON only:\n"
            '{"action": "search", "input": "<a name to look up>"},\n'
            '{"action": "calculate", "input": "<an expression>"} or\n'
            '{"action": "answer", "input": ""} as soon as the notes say enough.\n\n'
            f"Question: {question}\n\nNotes:\n" + "\n".join(notes)
        )
        step: dict[str, str] = json.loads(reply)
        if step["action"] not in {"search", "calculate", "answer"}:
            raise ValueError(f"no such action: {step['action']!r}")
        return step

    def post(self, shared: Shared, prep_res: object, exec_res: dict[str, str]) -> str:
        shared["input"] = exec_res["input"]
        return exec_res["action"]


class Search(Node):
    """Find what the knowledge file says about a name."""

    def prep(self, shared: Shared) -> str:
        return shared["input"]

    def exec(self, prep_res: str) -> str:
        facts = KNOWLEDGE.read_text(encoding="utf-8").splitlines()
        found = [fact for fact in facts if prep_res.lower() in fact.lower()]
        return " ".join(found) or "nothing found"

    def post(self, shared: Shared, prep_res: str, exec_res: str) -> None:
        shared["notes"].append(f"- search {prep_res}: {exec_res}")


class Calculate(Node):
    """Work out an expression; of a bad one, say what is wrong with it."""

    def prep(self, shared: Shared) -> str:
        return shared["input"]

    def exec(self, prep_res: str) -> str:
        return f"{evaluate(prep_res):.10g}"

    def exec_fallback(self, prep_res: str, exc: Exception) -> str:
        return f"not possible ({exc})"

    def post(self, shared: Shared, prep_res: str, exec_res: str) -> None:
        shared["notes"].append(f"- calculate {prep_res}: {exec_res}")


class Answer(Node):
    """Answer from the notes."""

    def prep(self, shared: Shared) -> tuple[str, list[str]]:
        return shared["question"], shared["notes"]

    def exec(self, prep_res: tuple[str, list[str]]) -> str:
        question, notes = prep_res
        return call_llm(
            f"Answer the question from the notes, in one sentence.\n\nQuestion: {question}\n\nNotes:\n"
            + "\n".join(notes)
        )

    def post(self, shared: Shared, prep_res: object, exec_res: str) -> None:
        shared["answer"] = exec_res


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def evaluate(expression: str) -> float:
    """Return the value of an arithmetic expression; anything else in it is an error."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left, operation, right) if type(operation) in OPERATORS:
                return OPERATORS[type(operation)](value(left), value(right))
            case ast.UnaryOp(operation, operand) if type(operation) in OPERATORS:
                return OPERATORS[type(operation)](value(operand))
            case _:
                raise ValueError(f"cannot calculate {ast.unparse(node)}")

    return value(ast.parse(expression.strip(), mode="eval").body)


def create_qa_agent() -> Flow:
    """Return the flow: decide, use a tool, decide again, and answer in the end."""
    decide = Decide(max_retries=3, wait=0.05)
    decide - "search" >> Search() >> decide
    decide - "calculate" >> Calculate() >> decide
    decide - "answer" >> Answer(max_retries=3, wait=0.05)
    return Flow(start=decide)


def main() -> None:
    """Answer the question of the command line."""
    question = " ".join(sys.argv[1:]) or QUESTION
    shared: Shared = {"question": question, "notes": []}
    create_qa_agent().run(shared)
    print(shared["answer"])


if __name__ == "__main__":
    main()
