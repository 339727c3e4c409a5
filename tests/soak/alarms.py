"""Set time limits that are up at random moments of traced flows: as many get to the program as bare.

    python tests/soak/alarms.py [--alarms N] [--seed N] [OUTPUT ...]

Prints a line for each output, and ends with 1 if a limit was lost: if its signal handler ran, and what
it raised did not come out of the flow. Runs for half a minute an output with 500 alarms, of which
`tests/integration/test_alarms.py` sets fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pocketflow

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 0.005
"""Seconds of a step."""
UP = 0.025
"""Seconds in which a limit is up."""
OUTPUTS = {
    "bare": None,
    "off": {"console": "off", "file": "off"},
    "live": {"console": "live", "file": "off"},
    "file": {"console": "off", "file": "all"},
    "closed port": {"console": "off", "file": "off"},
    "receiver": {"console": "off", "file": "off"},
    "everything": {"console": "live", "file": "all"},
}
SENDING = {"closed port": "http://127.0.0.1:1", "receiver": "", "everything": ""}
"""Outputs with OTLP, and where to; `""` stands for a receiver that takes all."""

Store = dict[str, Any]


class JobTimeout(Exception):
    """As job queues have it."""


class Limit:
    """A time limit; its exceptions are of those kinds that `except` clauses are often made for."""

    kinds = (JobTimeout, TimeoutError, ValueError, RuntimeError)

    def __init__(self) -> None:
        self.raised = 0

    def __call__(self, number: int, frame: object) -> None:
        self.raised += 1
        raise self.kinds[self.raised % len(self.kinds)]("the limit")


class Empty(pocketflow.Node):  # type: ignore[misc]
    """A step that takes no time."""


class Work(pocketflow.Node):  # type: ignore[misc]
    """A step that takes some, and leaves something."""

    def prep(self, shared: Store) -> float:
        return float(shared["random"].choice((0, 0, shared["random"].uniform(0, LONGEST))))

    def exec(self, prepared: float) -> float:
        time.sleep(prepared)
        return prepared

    def post(self, shared: Store, prepared: float, executed: float) -> str:
        shared["slept"] = executed
        shared["log"] = [*shared.get("log", ())[-5:], {"slept": executed}]
        return "default"


class Batch(pocketflow.BatchNode):  # type: ignore[misc]
    """A step of a few items."""

    def prep(self, shared: Store) -> list[int]:
        return [1, 2, 3]

    def exec(self, prepared: int) -> int:
        return prepared


class Again(pocketflow.Node):  # type: ignore[misc]
    """Goes on until the limit is up; without an exception it is lost."""

    def post(self, shared: Store, prepared: object, executed: object) -> str:
        return "stop" if shared["limit"].raised > shared["before"] else "again"


def create_flow() -> Any:
    first, last = Empty(), Again()
    inner = pocketflow.Flow(start=Empty())
    first >> Work() >> Batch() >> inner >> last
    last - "again" >> first
    last - "stop" >> Empty()
    return pocketflow.Flow(start=first)


def lost_of(alarms: int, seed: int) -> int:
    """Return how many of so many limits do not come out of a flow."""
    limit, chance, flow = Limit(), random.Random(seed), create_flow()
    signal.signal(signal.SIGALRM, limit)
    caught = 0
    for _ in range(alarms):
        shared: Store = {"limit": limit, "before": limit.raised, "random": chance}
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, UP))
            flow.run(shared)
        except Limit.kinds:
            caught += 1
    assert limit.raised == alarms
    return alarms - caught


def child(output: str, alarms: int, seed: int, folder: Path) -> None:
    """Print what became of an output's alarms, as JSON."""
    options = OUTPUTS[output]
    if options is not None:
        import pocketflow_otel

        pocketflow_otel.configure(directory=folder, **options)  # type: ignore[arg-type]
    print(json.dumps({"alarms": alarms, "lost": lost_of(alarms, seed)}))


class TakesAll(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    """Yield the endpoint of a server that takes all."""
    with ThreadingHTTPServer(("127.0.0.1", 0), TakesAll) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def results(output: str, alarms: int, seed: int) -> dict[str, int]:
    """Return what became of the alarms in a process of its own: how many were set, how many lost."""
    with TemporaryDirectory() as folder, receiver() as endpoint:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        if output in SENDING:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = SENDING[output] or endpoint
            environment["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        arguments = ["--child", folder, "--alarms", str(alarms), "--seed", str(seed), output]
        done = subprocess.run(
            [sys.executable, __file__, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{output}: {done.stderr[-4000:]}")
    return dict(json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--alarms", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("outputs", nargs="*", choices=[*OUTPUTS, []], metavar="OUTPUT")
    given = parser.parse_args()
    if given.child is not None:
        child(given.outputs[0], given.alarms, given.seed, given.child)
        return 0
    lost = 0
    for output in given.outputs or OUTPUTS:
        found = results(output, given.alarms, given.seed)
        print(f"{output}: {found['alarms']} alarms, {found['lost']} lost", flush=True)
        lost += found["lost"]
    return min(lost, 1)


if __name__ == "__main__":
    sys.exit(main())
