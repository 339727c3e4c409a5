"""pflow on a real terminal, with our lines between its own: none cuts into another."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from pocketflow import Flow, Node
from tests.pflow.commands import PATIENCE
from tests.pflow.environments import NEWEST, bin_of
from tests.pflow.homes import furnish
from tests.pflow.pairs import lay_out
from tests.pflow.pipes import read_line
from tests.support.processes import write
from tests.support.snapshots import snapshot_text
from tests.support.views import viewed

from pocketflow_otel.export.console.console_view import ConsoleView
from pocketflow_otel.export.console.terminal import end_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.pflow.commands import Commands


SNAPSHOTS: Final = Path(__file__).parent / "snapshots"

NOISY: Final = """\
# Noisy

Has much to say.

## Steps

### pass-over

Fails, and nobody minds.

- type: shell
- ignore_errors: true
- command: echo "no such thing" >&2; exit 3

### search

Finds nothing.

- type: shell
- command: echo abc | grep xyz

### complain

Speaks to stderr.

- type: shell
- command: echo "to stderr" >&2; echo fine

### log

Logs, and prints, which pflow captures.

- type: code
- inputs:
    word: ${complain.stdout}

```python code
import logging
import sys

word: str
logging.getLogger("theirs").warning("a warning of theirs")
print("printed")
print("printed to stderr", file=sys.stderr)
result: str = word
```

### each

Does three things at once.

- type: shell

```yaml batch
items: [0, 2, 4]
parallel: true
```

```shell command
sleep 0.${item}; echo ${item}
```

## Outputs

### said

What was said.

- source: ${log.result}
"""

SLOW: Final = """\
# Slow

Takes its time.

## Steps

### begin

Goes well.

- type: shell
- command: echo begun

### wait

Waits until it is interrupted.

- type: shell
- command: echo waits > waiting; sleep 60
"""

APPROVE: Final = ("[y/N]: ", "y\n")
DENY: Final = ("[y/N]: ", "n\n")
INTERRUPT: Final = ("wait", "\x03")
WAITING: Final = "waiting"
"""A pipe that the step to be interrupted writes to when it runs."""

PLAIN, LAUNCHED, OURS = "plain", "launched", "ours"
"""How pflow is started: by itself, under `opentelemetry-instrument`, by `pocketflow-otel run -v`."""


class Desk:
    """A home with a terminal in it.

    Args:
        home: The home.
        version: The pflow there.
        processes, forks: How commands are run; what is typed is typed to a process.
    """

    def __init__(self, home: Path, version: str, processes: Commands, forks: Commands) -> None:
        self.version = version
        self._processes, self._forks = processes, forks
        self._home, self._desk = home, home / "desk"
        # 0.8 looks for a key of a model for seconds.
        self._variables = furnish(home, version) | {
            "OPENAI_API_KEY": "sk-not-a-key",
            "TERM": "xterm-256color",
        }
        lay_out(self._desk, version)
        write(self._desk / "noisy.pflow.md", NOISY)
        write(self._desk / "slow.pflow.md", SLOW)
        os.mkfifo(self._desk / WAITING)

    def command(self, start: str, arguments: Sequence[str]) -> list[str]:
        folder = bin_of(self.version)
        return {
            PLAIN: [f"{folder}/pflow"],
            LAUNCHED: [f"{folder}/opentelemetry-instrument", "pflow"],
            OURS: [f"{folder}/pocketflow-otel", "run", "-v", "--", "pflow"],
        }[start] + list(arguments)

    def see(
        self,
        workflow: str,
        *arguments: str,
        start: str = LAUNCHED,
        columns: int = 100,
        typed: tuple[str, str] | None = None,
        code: int = 0,
        keep: bool = False,
        **variables: str,
    ) -> str:
        """Run a workflow on a terminal, and return what was to be seen there.

        Args:
            workflow: Its name.
            arguments: Its inputs.
            start: How pflow is started.
            columns: The terminal's width.
            typed: What is waited for, and what is typed then.
            code: The exit code it must have.
            keep: Whether what earlier runs left in pflow's cache is kept.
        """
        terminal, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
        if not keep:
            shutil.rmtree(self._home / ".pflow/cache", ignore_errors=True)
        running = (self._forks if typed is None else self._processes).start(
            self.command(start, [f"{workflow}.pflow.md", *arguments]),
            cwd=self._desk,
            env={**self._variables, "NO_COLOR": "1", **variables},
            streams=(end, end, end),
            terminal=True,
        )
        os.close(end)
        sent = b""
        while read := _read(terminal):
            sent += read
            if typed is not None and typed[0].encode() in sent:
                if typed == INTERRUPT:
                    read_line(self._desk / WAITING)
                os.write(terminal, typed[1].encode())
                typed = None
        assert running.wait() == code, sent.decode()
        os.close(terminal)
        return self.normalised(sent.decode().replace("\r\n", "\n"))

    def stdout(self, *arguments: str, start: str, **variables: str) -> str:
        """Return what a run writes to a terminal that is its stdin and stdout, and not its stderr."""
        terminal, end = pty.openpty()
        with Path(os.devnull).open("wb") as nowhere:
            running = self._forks.start(
                self.command(start, arguments),
                cwd=self._desk,
                env={**self._variables, **variables},
                streams=(end, end, nowhere.fileno()),
            )
        os.close(end)
        sent = b"".join(iter(lambda: _read(terminal), b""))
        assert running.wait() == 0, sent.decode()
        os.close(terminal)
        return re.sub(r"\d+\.\d+(e-\d+)?", "0", sent.decode())

    def normalised(self, shown: str) -> str:
        """Take out colours, and what differs from run to run."""
        shown = shown.replace(str(self._home), "HOME")
        for pattern, replacement in MASKS:
            shown = re.sub(pattern, replacement, shown)
        if " parallel\n" not in shown:
            return shown
        items = iter(sorted(ITEM.findall(shown)))  # They may end in any order.
        return ITEM.sub(lambda _: next(items), shown)


MASKS: Final = (
    (r"\x1b\[[\d;]*m", ""),
    (r"\b\d{8}T\d{6}Z-[0-9a-f]{8}", "20261122T193012Z-7f3a91c2"),
    (r"workflow-trace-(?:[0-9a-f]{8}-)?([\w-]+?)-\d{8}-\d{6}(?:-\d+)?", r"workflow-trace-\1"),
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"\b\d+\.\d\ds", "0.00s"),
    (r"\b\d+\.(?:\d|\d{3,})s", "0.0s"),
    (r"<?\d+ms", "0ms"),
    (r"(?m)^slowest .*\n", ""),  # It is named if it took any time.
    (r"\(\d+%\)", "(33%)"),
    (r"(\w+\.py):\d+", r"\1"),
)


ITEM: Final = re.compile(r"\[\d\](?= ✓ 0\.00s  \(\d/\d\)$)", re.MULTILINE)
"""The place of an item in its batch, where it ended like the others."""


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # What Linux says when the other end is closed.
        return b""


@pytest.fixture(scope="module")
def desk(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    processes: Commands,
    forks: Commands,
) -> Desk:
    return Desk(tmp_path_factory.mktemp("pflow") / "home", request.param, processes, forks)


def compare(shown: str, name: str) -> None:
    """Compare a screen with its snapshot."""
    assert shown == snapshot_text(SNAPSHOTS / f"{name}.txt", shown)


def on(*versions: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("desk", versions, indirect=True)


LIVE: Final = {"POCKETFLOW_OTEL_CONSOLE": "live"}


@on("0.8.1", "0.11.0", NEWEST)
@pytest.mark.parametrize("workflow", ["nested", "noisy"])
def test_our_view_stands_where_pflow_tells_of_its_steps(desk: Desk, workflow: str) -> None:
    compare(desk.see(workflow, **LIVE), f"{desk.version}-{workflow}-100")


@on("0.11.0", NEWEST)
@pytest.mark.parametrize("workflow", ["nested", "noisy"])
def test_our_view_is_short_where_the_terminal_is_narrow(desk: Desk, workflow: str) -> None:
    compare(desk.see(workflow, columns=50, **LIVE), f"{desk.version}-{workflow}-50")


@on(NEWEST)
@pytest.mark.parametrize(
    ("start", "variables"),
    [(LAUNCHED, LIVE), (LAUNCHED, {"OTEL_TRACES_EXPORTER": "pocketflow_console"}), (OURS, {})],
    ids=["variable", "exporter", "run -v"],
)
def test_whichever_way_the_view_is_asked_for_it_is_the_same(
    desk: Desk, start: str, variables: dict[str, str]
) -> None:
    compare(desk.see("linear", "name=ada", start=start, **variables), f"{desk.version}-linear-100")


@on("0.8.1", "0.11.0", NEWEST)
def test_a_failed_step_says_what_was_raised(desk: Desk) -> None:
    compare(desk.see("code-failing", code=1, **LIVE), f"{desk.version}-code-failing-100")


@pytest.mark.parametrize(
    ("desk", "workflow"),
    [("0.11.0", "failing"), (NEWEST, "failing"), (NEWEST, "template-error")],
    indirect=["desk"],
)
def test_a_failed_step_says_what_kind_of_failure_it_is(desk: Desk, workflow: str) -> None:
    compare(desk.see(workflow, code=1, **LIVE), f"{desk.version}-{workflow}-100")


@on(NEWEST)
def test_a_failed_step_tells_the_whole_story_if_asked_to(desk: Desk) -> None:
    shown = desk.see("failing", code=1, **LIVE, POCKETFLOW_OTEL_PFLOW_DETAILS="errors")
    compare(shown, f"{desk.version}-failing-told-100")


@on("0.11.0", NEWEST)
def test_a_workflow_that_recovers_is_marked(desk: Desk) -> None:
    code = 2 if desk.version == "0.11.0" else 0
    compare(desk.see("recovery", code=code, **LIVE), f"{desk.version}-recovery-100")


@on(NEWEST)
def test_a_batch_that_leaves_an_item_out_is_marked(desk: Desk) -> None:
    compare(desk.see("batch-continue", **LIVE), f"{desk.version}-batch-continue-100")


@on("0.11.0", NEWEST)
def test_a_step_says_that_it_was_cached(desk: Desk) -> None:
    desk.see("cached")
    compare(desk.see("cached", keep=True, **LIVE), f"{desk.version}-cached-100")


@on(NEWEST)
@pytest.mark.parametrize(("typed", "code"), [(APPROVE, 0), (DENY, 3)], ids=["approved", "denied"])
def test_a_gate_is_asked_and_answered_on_lines_of_its_own(
    desk: Desk, typed: tuple[str, str], code: int
) -> None:
    name = "denied" if code else "approved"
    compare(desk.see("gate", typed=typed, code=code, **LIVE), f"{desk.version}-gate-{name}-100")


@on("0.11.0", NEWEST)
def test_an_interrupt_ends_the_view_in_whole_lines(desk: Desk) -> None:
    compare(desk.see("slow", typed=INTERRUPT, code=130, **LIVE), f"{desk.version}-interrupted-100")


class Impatient(ConsoleView):
    """A live view that soon takes a silence for a long one, and counts them."""

    def __init__(self, stream: io.StringIO) -> None:
        self._silences = threading.Semaphore(0)
        super().__init__("live", stream, silence=0.01)

    def _still_running(self) -> None:
        super()._still_running()
        self._silences.release()

    def after_a_silence(self) -> None:
        """Wait for a silence that begins now."""
        while self._silences.acquire(blocking=False):
            pass
        for _ in range(2):  # The first may have begun before.
            assert self._silences.acquire(timeout=PATIENCE)


class Asks(Node):
    """Asks something on the stream of the view, and has its answer after a while."""

    def __init__(self, stream: io.StringIO, view: Impatient) -> None:
        super().__init__()
        self.stream, self.view = stream, view

    def exec(self, prep_res: None) -> None:
        self.stream.write("Go on? [y/N]: ")
        self.view.after_a_silence()
        end_lines()
        self.view.after_a_silence()


def test_nothing_is_said_into_a_question_that_waits_for_its_answer() -> None:
    stream = io.StringIO()
    view = Impatient(stream)
    with viewed(view):
        Flow(start=Asks(stream, view)).run({})
    before, _, after = stream.getvalue().partition("Go on? [y/N]: ")
    lines = [line for line in before.splitlines() if not line.startswith("…")]  # It may be slow to ask.
    assert lines[-1].split()[1:] == ["→", "Asks"]
    assert after.startswith("… still running: Asks ")  # Where the terminal has ended the line.


SUMMARY: Final = re.compile(
    r"^(?:(?:ok|degraded|denied|paused)(?: at \S+)?  |FAILED(?: at [^\n]+)? · |slowest |trace ~/|show it: )"
    r"[^\n]*\n",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("desk", "workflow", "typed", "code"),
    [
        ("0.8.1", "noisy", None, 0),
        ("0.8.1", "code-failing", None, 1),
        ("0.11.0", "noisy", None, 0),
        ("0.11.0", "nested", None, 0),
        ("0.11.0", "code-failing", None, 1),
        ("0.11.0", "slow", INTERRUPT, 130),
        (NEWEST, "noisy", None, 0),
        (NEWEST, "nested", None, 0),
        (NEWEST, "code-failing", None, 1),
        (NEWEST, "slow", INTERRUPT, 130),
        (NEWEST, "gate", DENY, 3),
    ],
    indirect=["desk"],
)
def test_the_summary_adds_its_lines_to_what_pflow_shows(
    desk: Desk, workflow: str, typed: tuple[str, str] | None, code: int
) -> None:
    bare = desk.see(workflow, start=PLAIN, typed=typed, code=code)
    shown, ours = SUMMARY.subn("", desk.see(workflow, typed=typed, code=code))
    if workflow == "code-failing" and desk.version != NEWEST:
        bare = bare.replace("divide...", "divide...\n")  # pflow leaves that line open; ours begin a new one.
    assert (shown, ours in (3, 4)) == (bare, True)  # The slowest step is named if it took any time.


@on("0.8.1", "0.11.0", NEWEST)
@pytest.mark.parametrize("arguments", [["-p"], ["--output-format", "json"]], ids=["print", "json"])
def test_stdout_on_a_terminal_is_pflows_alone(desk: Desk, arguments: list[str]) -> None:
    asked = [*arguments, "linear.pflow.md", "name=ada"]
    bare = desk.stdout(*asked, start=PLAIN)
    assert desk.stdout(*asked, start=LAUNCHED, **LIVE) == bare
    assert "HELLO ADA" in bare
