"""Faults of the processes of a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from .bench import Bench, late, wait_for


def kill_a_process(bench: Bench, victim: Any) -> None:
    for child in victim.children():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def kill_a_worker(bench: Bench, victim: Any) -> Any:
    victim.send_to_group(signal.SIGKILL)
    return lambda: bench.replace(victim)


def kill_a_supervisor(bench: Bench, victim: Any) -> Any:
    victim.send(signal.SIGKILL)
    return lambda: bench.replace(victim)


@late
def stop_a_worker_for_longer_than_its_lease(bench: Bench, victim: Any) -> Any:
    return _stopped(bench, victim, victim.send_to_group)


@late
def stop_a_supervisor_for_longer_than_its_lease(bench: Bench, victim: Any) -> Any:
    return _stopped(bench, victim, victim.send)


def _stopped(bench: Bench, victim: Any, send: Callable[[int], None]) -> Any:
    from taskq_django.models import WorkerProcess

    told = victim.output.count("under a new id")
    send(signal.SIGSTOP)
    while not _is_writable():  # an SQLite file is locked by who is stopped as it writes, for all and for as long
        send(signal.SIGCONT)
        time.sleep(0.01)
        send(signal.SIGSTOP)

    def mend() -> None:
        rows = WorkerProcess.objects.filter(supervisor=None, pid=victim.process.pid)
        wait_for(lambda: not rows.exists(), what=lambda: "\n".join(worker.output for worker in bench.workers))
        send(signal.SIGCONT)
        wait_for(lambda: victim.output.count("under a new id") > told, what=lambda: victim.output)
        wait_for(lambda: len(victim.children()) == 1, what=lambda: victim.output)

    return mend


def _is_writable() -> bool:
    import sqlite3

    from django.db import connection

    if connection.vendor != "sqlite":
        return True
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=1, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.execute("ROLLBACK")
    return True


def ask_a_worker_to_stop(bench: Bench, victim: Any) -> Any:
    victim.send(signal.SIGTERM)
    return lambda: bench.replace(victim)


FAULTS = [
    kill_a_process,
    kill_a_worker,
    kill_a_supervisor,
    stop_a_supervisor_for_longer_than_its_lease,
    stop_a_worker_for_longer_than_its_lease,
    ask_a_worker_to_stop,
]
