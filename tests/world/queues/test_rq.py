"""RQ ends a job that takes too long, traced or not: the exception of its time limit arrives."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NobodyListens
from rq import Queue
from tests.support.command_line import run as show
from tests.support.processes import PYTHON, environment, run, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = """
import time
import pocketflow_otel
from pocketflow import Flow, Node

pocketflow_otel.configure()

class Poll(Node):
    def post(self, shared, prepared, executed):
        return "stop" if time.monotonic() > shared["stop"] else "default"

poll = Poll()
poll >> poll
poll - "stop" >> Node()

def poll_too_long():
    Flow(start=poll).run({"stop": time.monotonic() + 8})
"""
"""A job of nodes that do nothing, so that most of its time is ours; a limit that is lost, it outlives."""
WORKER = """
import sys
import jobs  # Here, so that no job pays for the import out of its second.
from redis import Redis
from rq import Queue, Worker

connection = Redis.from_url(sys.argv[1])
Worker([Queue(connection=connection)], connection=connection).work(burst=True, logging_level="ERROR")
"""
COUNT, WORKERS = 20, 4
PATIENCE = 60.0
"""Seconds until Redis has begun."""


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis that keeps nothing."""
    socket = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(f"unix://{socket}")
            yield f"unix://{socket}"
        finally:
            server.terminate()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    with closing(Redis.from_url(url)) as redis:
        while True:
            try:
                redis.ping()
            except NobodyListens:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return


@pytest.mark.needs_program("redis-server")
def test_every_job_is_ended_by_its_limit(redis_url: str, tmp_path: Path) -> None:
    write(tmp_path / "jobs.py", JOBS)
    program, traces = write(tmp_path / "worker.py", WORKER), tmp_path / "traces"
    with closing(Redis.from_url(redis_url)) as redis:
        queue = Queue(connection=redis)
        jobs = [queue.enqueue("jobs.poll_too_long", job_timeout=1) for _ in range(COUNT)]
        env = environment(POCKETFLOW_OTEL_DIR=str(traces))
        work = partial(run, PYTHON, program, redis_url, env=env, cwd=tmp_path)
        with ThreadPoolExecutor(WORKERS) as pool:  # Each job takes its whole second.
            workers = list(pool.map(lambda _: work(), range(WORKERS)))
        ends = Counter((job.get_status(), job.latest_result().exc_string.splitlines()[-1]) for job in jobs)

    message = "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (1 seconds)"
    assert ends == {("failed", message): COUNT}, [worker.stderr for worker in workers]
    # RQ ends a process by `_exit`: its run may be a journal yet, beside half of its trace file.
    runs = json.loads(show("list", "--dir", traces, "--json").stdout)
    shown = [show("show", run["path"], "--json").stdout for run in runs]
    told = Counter((json.loads(run)["status"], "rq.timeouts.JobTimeoutException" in run) for run in shown)
    assert told == {("failed", True): COUNT}
