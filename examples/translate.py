"""Translate a text, or a text file, into several languages at once.

python examples/translate.py "Good morning. Thank you."
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from llm import call_llm_async
from pocketflow import AsyncFlow, AsyncParallelBatchNode, Node

TEXT = "Good morning. The train leaves at nine.\n\nThank you."
MAX_PATH = 255
LANGUAGES = ("French", "German", "Italian", "Spanish")

Shared = dict[str, Any]


class Read(Node):
    """Take the text as it is given, or from the file it names."""

    def prep(self, shared: Shared) -> str:
        return shared["given"]

    def exec(self, prep_res: str) -> str:
        is_file = len(prep_res) <= MAX_PATH and Path(prep_res).is_file()
        return Path(prep_res).read_text(encoding="utf-8") if is_file else prep_res

    def post(self, shared: Shared, prep_res: object, exec_res: str) -> None:
        shared["text"] = exec_res


class Split(Node):
    """Make one task of each paragraph and language."""

    def prep(self, shared: Shared) -> list[str]:
        return [paragraph for paragraph in shared["text"].split("\n\n") if paragraph.strip()]

    def post(self, shared: Shared, prep_res: list[str], exec_res: object) -> None:
        shared["tasks"] = [(language, paragraph) for language in LANGUAGES for paragraph in prep_res]


class Translate(AsyncParallelBatchNode):
    """Do all tasks at once."""

    async def prep_async(self, shared: Shared) -> list[tuple[str, str]]:
        return shared["tasks"]

    async def exec_async(self, prep_res: tuple[str, str]) -> str:
        language, paragraph = prep_res
        return await call_llm_async(f"Translate into {language}:\n\n{paragraph}")

    async def post_async(self, shared: Shared, prep_res: list[tuple[str, str]], exec_res: list[str]) -> None:
        translations: dict[str, list[str]] = {language: [] for language in LANGUAGES}
        for (language, _), paragraph in zip(prep_res, exec_res, strict=True):
            translations[language].append(paragraph)
        shared["translations"] = translations


class Show(Node):
    """Print the translations."""

    def post(self, shared: Shared, prep_res: object, exec_res: object) -> None:
        for language, paragraphs in shared["translations"].items():
            print(f"{language}: {' '.join(paragraphs)}")


def create_translation() -> AsyncFlow:
    """Return the flow that translates `shared["text"]`: a part for larger flows."""
    split = Split()
    split >> Translate(max_retries=3, wait=0.05)
    return AsyncFlow(start=split)


def create_translator() -> AsyncFlow:
    """Return the program: read, translate, show."""
    read = Read()
    read >> create_translation() >> Show()
    return AsyncFlow(start=read)


def main() -> None:
    """Translate what the command line gives."""
    asyncio.run(create_translator().run_async({"given": " ".join(sys.argv[1:]) or TEXT}))


if __name__ == "__main__":
    main()
