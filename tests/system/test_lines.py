"""A line to the database that loses what goes one way, and tells nobody: services notice, and can always be stopped."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from taskq_django.models import JobResult, WorkerProcess
from taskq_django.models.moments import database_now
from taskq_django.states import State
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.proxy import FaultProxy
from tests.support.servers import is_gone
from tests.support.workers import RealBeat, RealWorker, wait_for
from tests.system.test_beat import each_second, wait_for_runs
from tests.system.test_crashes import wait_for_end

Start = Callable[..., RealWorker]
Through = Callable[..., dict[str, str]]

needs_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line that could be lost")
LOST = [{"answers": True}, {"requests": True}, {"answers": True, "requests": True}]
WAYS = pytest.mark.parametrize("lost", LOST, ids=lambda lost: " and ".join(lost))
KINDS = pytest.mark.parametrize("flags", [(), ("-p", "0"), ("-B",)], ids=" ".join)
LEASE = 3.0
SOON = 15.0  # seconds, of which a machine with nothing else to do needs one; the jobs and the grace take longer


@pytest.fixture
def through(proxy: FaultProxy, settings_with: Callable[..., dict[str, str]]) -> Through:
    """The environment of services that reach the database through the proxy."""

    def make(**worker: float) -> dict[str, str]:
        entry = settings.DATABASES["default"]
        known = ("ENGINE", "HOST", "USER", "PASSWORD", "OPTIONS")
        place = {"HOST": "127.0.0.1", "PORT": proxy.port, "NAME": connections["default"].settings_dict["NAME"]}
        databases = {"default": {**{key: entry[key] for key in known if key in entry}, **place}}
        return settings_with(DATABASES=databases, TASKQ={"WORKER": worker})

    return make


@needs_server
@KINDS
@WAYS
def test_a_worker_notices_within_its_lease_that_its_line_is_lost(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, through: Through, flags: Any, lost: Any
) -> None:
    env = through(HEARTBEAT=0.5, LEASE=LEASE, MAINTENANCE=0.5)
    worker = start_worker("-t", "2", *flags, env=env).wait_until_ready()
    running = tasks.ledgered.enqueue(str(ledger.path), 0.5)
    wait_for(ledger.running, what=lambda: worker.output)
    proxy.lose(**lost)
    lost_at = time.monotonic()
    waiting = tasks.ledgered.enqueue(str(ledger.path), 0.0)
    wait_for_end(worker, running, waiting)
    assert time.monotonic() - lost_at < 10 * LEASE, "the system would notice after minutes"
    assert not ledger.lost({running.id, waiting.id})
    assert ledger.duplicated() == 0, worker.output
    assert set(JobResult.objects.values_list("attempts", "crashes", "tries")) == {(1, 0, 0)}
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert "Traceback" not in worker.output
    assert WorkerProcess.objects.count() == 0


@needs_server
@WAYS
def test_an_idle_worker_notices_too_and_hears_a_stop(
    start_worker: Start, proxy: FaultProxy, through: Through, lost: Any
) -> None:
    """With the lease that it comes with: 30 seconds."""
    worker = start_worker("-p", "2", env=through()).wait_until_ready()
    assert tasks.add.enqueue(1).get(timeout=60) == 3
    proxy.lose(**lost)
    lost_at = time.monotonic()
    assert tasks.add.enqueue(2).get(timeout=60) == 4, worker.output
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert time.monotonic() - lost_at < 60, "the system would notice after minutes"


@needs_server
@WAYS
@pytest.mark.parametrize("task", [tasks.is_paused, tasks.acount], ids=["thread", "coroutine"])
def test_a_job_does_not_wait_for_ever_for_a_line_that_the_job_before_has_used(
    start_worker: Start, proxy: FaultProxy, through: Through, lost: Any, task: Any
) -> None:
    given = ["default"] if task is tasks.is_paused else []
    worker = start_worker("-t", "1", env=through(HEARTBEAT=0.5, LEASE=LEASE)).wait_until_ready()
    assert task.enqueue(*given).get(timeout=60) == 0
    Event().wait(1.2)  # a line that was used so lately is not tried
    assert proxy.lose(**lost) > 2
    assert task.enqueue(*given).get(timeout=60) == 0, worker.output


def wait_for_silence() -> None:
    """No row of a worker changes any more."""
    seen: list[Any] = []
    since = 0.0

    def is_silent() -> bool:
        nonlocal seen, since
        now, rows = time.monotonic(), list(WorkerProcess.objects.order_by("id").values_list("id", "seen_at"))
        if rows != seen:
            seen, since = rows, now
        return now - since > 1.5

    wait_for(is_silent)


def seconds_to_end(service: RealWorker) -> float:
    begun = time.monotonic()
    wait_for(lambda: service.process.poll() is not None, what=lambda: service.output)
    return time.monotonic() - begun


@needs_server
@KINDS
def test_a_worker_that_reaches_nothing_ends_within_seconds_when_it_is_told_twice(
    start_worker: Start, ledger: Ledger, proxy: FaultProxy, through: Through, flags: Any
) -> None:
    worker = start_worker(*flags, env=through(HEARTBEAT=0.2)).wait_until_ready()
    job = tasks.ledgered.enqueue(str(ledger.path), 60)
    wait_for(ledger.running, what=lambda: worker.output)
    children = worker.children()
    proxy.swallow()
    wait_for_silence()  # so they all wait for an answer
    worker.send(signal.SIGTERM)
    wait_for(lambda: not _is_pending(worker.process.pid, signal.SIGTERM))  # else the second would be the first
    worker.send(signal.SIGTERM)
    assert seconds_to_end(worker) < SOON, worker.output
    assert worker.process.returncode == 3
    wait_for(lambda: all(map(is_gone, children)))
    job.refresh()
    assert job.state is State.RUNNING, "until others count the worker as lost"


def _is_pending(pid: int, number: int) -> bool:
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(status["ShdPnd"], 16) | int(status["SigPnd"], 16)) >> (number - 1) & 1)


@needs_server
@WAYS
def test_a_beat_notices_too_and_can_be_stopped(
    start_beat: Callable[..., RealBeat], proxy: FaultProxy, through: Through, lost: Any
) -> None:
    row = each_second()
    beat = start_beat(env=through()).wait_until_ready()
    wait_for_runs(row, 2, [beat])
    proxy.lose(**lost)
    wait_for_runs(row, 2, [beat])
    proxy.swallow()
    runs = row.runs.count()
    wait_for(lambda: database_now("default") > row.runs.latest("slot").slot + timedelta(seconds=3))
    assert row.runs.count() <= runs + 1, "it waits for an answer; one may have been on its way"
    beat.send(signal.SIGTERM)
    wait_for(lambda: not _is_pending(beat.process.pid, signal.SIGTERM))
    beat.send(signal.SIGTERM)
    assert seconds_to_end(beat) < SOON, beat.output
    assert beat.process.returncode in {0, 3}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="whose locks are waited for in C")
@KINDS
def test_a_worker_on_a_locked_file_ends_within_seconds_when_it_is_told_twice(
    start_worker: Start, ledger: Ledger, settings_with: Through, flags: Any
) -> None:
    env = settings_with(TASKQ={"WORKER": {"HEARTBEAT": 0.2}})
    worker = start_worker(*flags, env=env).wait_until_ready()
    tasks.ledgered.enqueue(str(ledger.path), 60)
    wait_for(ledger.running, what=lambda: worker.output)
    with transaction.atomic():
        WorkerProcess.objects.update(host="locked")
        locked_at = time.monotonic()
        wait_for(lambda: time.monotonic() > locked_at + 2)  # by now a sign of life is due, and waits
        worker.send(signal.SIGTERM)
        wait_for(lambda: not _is_pending(worker.process.pid, signal.SIGTERM))
        worker.send(signal.SIGTERM)
        assert seconds_to_end(worker) < SOON, worker.output
        assert worker.process.returncode == 3
