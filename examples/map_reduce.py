"""Summarise text files: each for itself (map), then all together (reduce).

python examples/map_reduce.py README.md examples/knowledge.txt
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from llm import call_llm
from pocketflow import BatchNode, Flow, Node

MAX_PROMPT = 4000

Shared = dict[str, Any]


class Text(NamedTuple):
    """A file's name and content."""

    name: str
    content: str


class Summary(NamedTuple):
    """What is kept of a text."""

    name: str
    words: Counter[str]
    sentence: str


class ReadFiles(Node):
    """Read the files."""

    def prep(self, shared: Shared) -> list[Path]:
        return shared["files"]

    def exec(self, prep_res: list[Path]) -> list[Text]:
        return [Text(path.name, path.read_text(encoding="utf-8")) for path in prep_res]

    def post(self, shared: Shared, prep_res: object, exec_res: list[Text]) -> None:
        shared["texts"] = exec_res


class Summarise(BatchNode):
    """Count each text's words, and have it summarised in a sentence."""

    def prep(self, shared: Shared) -> list[Text]:
        return shared["texts"]

    def exec(self, prep_res: Text) -> Summary:
        name, content = prep_res
        words = Counter(re.findall(r"\w+", content.lower()))
        return Summary(name, words, call_llm(f"Summarise in one sentence:\n\n{content[:MAX_PROMPT]}"))

    def post(self, shared: Shared, prep_res: object, exec_res: list[Summary]) -> None:
        shared["summaries"] = exec_res


class Combine(Node):
    """Add the counts up, and have the sentences made one."""

    def prep(self, shared: Shared) -> list[Summary]:
        return shared["summaries"]

    def exec(self, prep_res: list[Summary]) -> Summary:
        words = sum((summary.words for summary in prep_res), Counter[str]())
        sentences = "\n".join(summary.sentence for summary in prep_res)
        return Summary("together", words, call_llm(f"Combine into one sentence:\n\n{sentences}"))

    def post(self, shared: Shared, prep_res: object, exec_res: Summary) -> None:
        shared["together"] = exec_res


def create_map_reduce() -> Flow:
    """Return the flow: read, map, reduce."""
    read = ReadFiles()
    read >> Summarise(max_retries=3, wait=0.05) >> Combine(max_retries=3, wait=0.05)
    return Flow(start=read)


def main() -> None:
    """Summarise the files of the command line."""
    parser = ArgumentParser(description="Summarise text files.")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    shared: Shared = {"files": parser.parse_args().files}
    create_map_reduce().run(shared)
    for name, words, sentence in (*shared["summaries"], shared["together"]):
        often = [word for word, _ in words.most_common() if len(word) > 3][:3]
        print(f"{name}: {words.total()} words (often {', '.join(often)}). {sentence}")


if __name__ == "__main__":
    main()
