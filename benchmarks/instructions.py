"""Count the instructions of a traced step: `python -m benchmarks.instructions`.

valgrind counts the same to the digit whatever else the machine does, so small changes show, which
times hide. `--calls` prints what is called in a step instead, without valgrind.
"""

from __future__ import annotations

import cProfile
import gc
import os
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.flows import bare, chain, count_up, instrumented, plain_store, sdk, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import CodeType

    Contestants = dict[str, Callable[[], object]]

STEPS = 100
"""Steps of a flow, where the flow's own span must not count."""
ROUNDS = 3
MARK = "getpgrp"
"""A function of libc that Python has, and that nothing else calls: here valgrind begins to count anew."""
SELDOM = 0.1
"""Calls per step, below which it is no step's call."""
AIM = 1.8
"""The most instructions of a traced step, over those of a span."""


def contestants() -> Contestants:
    """Return what is compared: a span of the SDK that says what a step's says, a bare step, a traced one."""
    provider = sdk()
    return {
        "span": spans(provider.get_tracer("by hand"), STEPS),
        "bare": chain(bare(), STEPS, plain_store(10), count_up),
        "traced": chain(instrumented(provider), STEPS, plain_store(10), count_up),
    }


def call_between_marks(contestants: Iterable[Callable[[], object]]) -> None:
    """Call each contestant between two marks, when the interpreter knows it and has no garbage."""
    for contestant in contestants:
        contestant()
        gc.collect()
        gc.freeze()
        os.getpgrp()
        for _ in range(ROUNDS):
            contestant()
        os.getpgrp()


def counted(folder: Path) -> dict[str, float]:
    """Return the instructions per step by contestant.

    Args:
        folder: An empty one, for what valgrind writes.
    """
    subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/counts",
            sys.executable,
            "-c",
            "from benchmarks.instructions import *; call_between_marks(contestants().values())",
        ],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stderr=subprocess.PIPE,
        check=True,
    )
    return per_step(folder, list(contestants()))


def per_step(folder: Path, names: list[str]) -> dict[str, float]:
    """Return the instructions per step, of so many contestants, out of what valgrind has written.

    The first file is of all that lies before the first mark. Then one within marks and one between
    them take turns.
    """
    return {
        name: _total(folder / f"counts.{2 * number}") / STEPS / ROUNDS
        for number, name in enumerate(names, start=1)
    }


def _total(file: Path) -> int:
    found = re.search(r"^totals: (\d+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, file
    return int(found[1])


def rows(counts: Mapping[str, float]) -> Iterable[str]:
    """Yield the lines that tell of the instructions per step of each contestant."""
    line = "{:<48}{:>10}{:>12}{:>10}{:>10}".format
    span, plain, traced = counts["span"], counts["bare"], counts["traced"]
    yield line("instructions per step", "ours", "other", "result", "at most")
    for what, ours in (
        ("traced step / SDK span", traced),
        ("(traced − bare step) / SDK span", traced - plain),
    ):
        yield line(what, f"{ours:,.0f}", f"{span:,.0f}", f"× {ours / span:.2f}", f"× {AIM}")


def calls() -> Iterable[str]:
    """Yield what is called in a traced step, most of the time first: how often, and its own share of it.

    The profiler pays for each call, so what calls much looks dearer than it is.
    """
    traced = contestants()["traced"]
    traced()
    profile = cProfile.Profile()
    profile.runcall(lambda: [traced() for _ in range(ROUNDS)])
    entries = sorted(profile.getstats(), key=lambda entry: -entry.inlinetime)
    whole = sum(entry.inlinetime for entry in entries)
    line = "{:>16}{:>12}  {}".format
    yield line("calls per step", "own share", "function")
    for entry in entries:
        often = entry.callcount / STEPS / ROUNDS
        if often >= SELDOM:
            yield line(f"{often:.1f}", f"{entry.inlinetime / whole:.1%}", _place(entry.code))


def _place(code: CodeType | str) -> str:
    """Return the name of a function and, unless it is written in C, where it is."""
    if isinstance(code, str):
        return code
    path = Path(code.co_filename)
    return f"{code.co_qualname} ({path.parent.name}/{path.name}:{code.co_firstlineno})"


def main() -> None:
    """Count the instructions or list the calls, and print."""
    parser = ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__.split("\n")[0])
    parser.add_argument("--calls", action="store_true", help="print what a step calls instead")
    if parser.parse_args().calls:
        print(*calls(), sep="\n")
    elif shutil.which("valgrind") is None:
        print("no instructions are counted: valgrind is not installed")
    else:
        with TemporaryDirectory() as folder:
            print(*rows(counted(Path(folder))), sep="\n")


if __name__ == "__main__":
    main()
