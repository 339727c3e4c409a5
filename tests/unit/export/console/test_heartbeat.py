"""One thread watches for silences, as long as there are runs, and a little longer."""

from __future__ import annotations

import threading

from pocketflow_otel.export.console.heartbeat import Heartbeat

PATIENCE = 60.0
"""Seconds for what comes."""


def test_runs_that_follow_each_other_share_a_thread() -> None:
    heartbeat = Heartbeat(lambda: None, PATIENCE)
    threads = set()
    for _ in range(5):
        heartbeat.start()
        threads.add(heartbeat._thread)
        heartbeat.stop()
    assert len(threads) == 1


def test_the_thread_ends_when_there_has_been_no_run_for_a_silence() -> None:
    heartbeat = Heartbeat(lambda: None, 0.005)
    heartbeat.start()
    thread = heartbeat._thread
    heartbeat.stop()
    assert thread is not None
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_thread_that_a_fork_took_away_is_replaced() -> None:
    silent = threading.Event()
    heartbeat = Heartbeat(silent.set, 0.005)
    heartbeat._thread = ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    heartbeat.start()
    assert silent.wait(PATIENCE)
    heartbeat.stop()
