"""The pages of the documentation, and somebody who does what they say.

Markers are comments on the line before a code block:

    <!-- file: app.py -->   the block is a file that later blocks use
    <!-- insert: app.py: x = 1 -->   the block goes into that file, below the line `x = 1`
    <!-- run -->            a program, or commands after `$`, that is run; its output stands in the
                            next `text` block, or below the command
    <!-- help: run -->      what `pocketflow-otel run --help` prints

In an expected output a line `...` stands for any lines, `... 3 lines are cut here` for three.
Times, percentages and ids may differ; a step is the slowest instead of another if it took longer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
_PROJECT = (README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")
PAGES = {page.stem: page for page in (*_PROJECT, *sorted((ROOT / "docs").glob("*.md")))}

_BLOCK = re.compile(
    r"^(?:<!-- (?P<marker>.+?) -->\n)?(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_OTHER_DISTRO = re.compile(r"^Configuration of \w+ not loaded, pocketflow already loaded\n", re.MULTILINE)
_SLOWEST = re.compile(r"^(slowest )(.+?)( (\d+\.\d\d)s \(\d+%\))", re.MULTILINE)
DEMO_SLOWEST = (("AskModel", 0.6),)
"""The step of the demo that takes longest, and its seconds: those of its model's canned answers."""
_CUT = re.compile(r" *\.\.\.(?: (\d+) lines are cut here)?")


@dataclass
class Block:
    marker: str
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["marker"] or "", one["language"], one["text"]) for one in found]


def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def rows(page: str, heading: str = "") -> Iterator[list[str]]:
    """Yield the cells of the rows of tables below a heading, or anywhere, whose first is `code`."""
    inside = not heading
    for line in PAGES[page].read_text(encoding="utf-8").splitlines():
        if heading and line.startswith("#"):
            inside = line.strip("# ") == heading
        elif inside and line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def names_in(page: str, heading: str = "") -> list[str]:
    return [row[0].strip("`") for row in rows(page, heading)]


def normalised(text: str) -> list[str]:
    for pattern, replacement in (
        (r"\d{8}T\d{6}Z-[0-9a-f]{8}", "<run>"),
        (r"\b\d+\.\d\ds\b", "0.00s"),
        (r"\(\d+%\)", "(N%)"),
        (r"\b[0-9a-f]{32}\b", "<trace>"),
        (r"\b[0-9a-f]{16}\b", "<span>"),
        (r"\b\d+\.\d{3,}\b", "0.0"),
        (r'(?<="duration": )\d[\d.e-]*', "0.0"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "<time>"),
    ):
        text = re.sub(pattern, replacement, text)
    return [line.rstrip() for line in text.splitlines()]


def with_slowest(output: str, steps: Iterable[tuple[str, float]]) -> str:
    """Return an output with these as its slowest steps, where others took longer than they should take.

    How long a step takes at most, nobody can say of a machine with much else to do.
    """
    usual = iter(steps)

    def named(found: re.Match[str]) -> str:
        name, least = next(usual, (found[2], 0.0))
        return found[1] + (name if float(found[4]) >= least else found[2]) + found[3]

    return _SLOWEST.sub(named, output)


def check_output(expected: str, output: str) -> None:
    """Compare line by line."""
    output = with_slowest(output, [(found[2], float(found[4])) for found in _SLOWEST.finditer(expected)])
    pattern = ""
    for line in normalised(expected):
        cut = _CUT.fullmatch(line)
        if cut is None:
            pattern += re.escape(line) + "\n"
        else:
            pattern += rf"(?:.*\n){{{cut[1]}}}" if cut[1] else r"(?:.*\n)*?"
    got = "".join(f"{line}\n" for line in normalised(output))
    if re.fullmatch(pattern, got) is None:
        assert normalised(output) == normalised(expected)
        raise AssertionError(output)


class Reader:
    """Somebody who types what a page says, in a folder of an empty home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "flows"
        self._folder.mkdir()
        path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        self._environ = {
            "HOME": str(home),
            # The reader has no other distro; who runs these tests may.
            "OTEL_PYTHON_CONFIGURATOR": "pocketflow",
            "OTEL_PYTHON_DISTRO": "pocketflow",
            "PATH": os.pathsep.join(path),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
        }

    def prefer(self, folder: Path) -> None:
        """Have the commands of a folder found first."""
        self._environ["PATH"] = os.pathsep.join((str(folder), self._environ["PATH"]))

    def read(self, page: Path) -> None:
        waiting: str | None = None
        for block in blocks(page):
            kind, _, name = block.marker.partition(": ")
            if waiting is not None and block.language == "text" and not kind:
                check_output(block.text, waiting)
            waiting = None
            if kind == "file":
                (self._folder / name).write_text(block.text, encoding="utf-8")
            elif kind == "insert":
                self._insert(block.text, *name.split(": "))
            elif kind == "run" and block.language == "python":
                waiting = self.run_program(block.text, name or "example.py")
            elif kind == "run":
                self._type(block.text)

    def run_program(self, text: str, name: str = "example.py") -> str:
        (self._folder / name).write_text(text, encoding="utf-8")
        return self.run([sys.executable, name])

    def _insert(self, text: str, file: str, line: str) -> None:
        path = self._folder / file
        before, found, after = path.read_text(encoding="utf-8").partition(f"{line}\n")
        assert found
        path.write_text(before + found + text + after, encoding="utf-8")

    def _type(self, session: str) -> None:
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
            if command.startswith("export "):
                name, _, self._environ[name] = command.removeprefix("export ").partition("=")
                continue
            if re.search(r"\bjq\b", command):
                needs_program("jq")
            check_output(expected, self.run(["bash", "-c", command], may_fail=True))

    def run(self, command: list[str], *, may_fail: bool = False) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=180,
            check=False,
            encoding="utf-8",
        )
        assert may_fail or done.returncode == 0, done.stdout
        return _OTHER_DISTRO.sub("", done.stdout)
