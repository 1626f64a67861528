"""Runs that are ended from outside: time limits, cancelling, expiry."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from taskq_django.models import PausedQueue
from taskq_django.states import State
from tests.app import tasks
from tests.support.ledger import Ledger
from tests.support.workers import RealWorker, wait_for
from tests.system.test_crashes import has_ended, wait_for_end

Start = Callable[..., RealWorker]

TIMEOUT = "taskq_django.exceptions.TaskTimeout"


@pytest.mark.parametrize("task", [tasks.spin, tasks.wait_long], ids=["Python code", "coroutine"])
def test_a_run_past_its_limit_is_ended_where_it_is(start_worker: Start, task: Any) -> None:
    worker = start_worker("-t", "1").wait_until_ready()
    wait_for(worker.children)
    (pid,) = worker.children()
    job = task.enqueue()
    wait_for_end(worker, job)
    assert job.state is State.FAILED
    assert [error.exception_class_path for error in job.errors] == [TIMEOUT]
    assert f"in {task.name.rpartition('.')[2]}" in job.errors[0].traceback
    assert "executor.py" not in job.errors[0].traceback
    assert tasks.my_pid.enqueue().get(timeout=10) == pid


@pytest.mark.parametrize(
    "task", [tasks.swallow_everything, tasks.block_the_event_loop], ids=["swallows it", "blocks the event loop"]
)
def test_a_run_that_does_not_come_back_ends_with_its_process(start_worker: Start, task: Any) -> None:
    worker = start_worker().wait_until_ready()
    wait_for(worker.children)
    (pid,) = worker.children()
    job = task.enqueue()
    wait_for_end(worker, job)
    assert (job.state, job.errors[0].exception_class_path) == (State.FAILED, TIMEOUT)
    assert tasks.my_pid.enqueue().get(timeout=10) != pid


def test_neighbours_of_a_run_that_does_not_come_back_finish_and_pay_nothing(
    start_worker: Start, tmp_path: Path, ledger: Ledger
) -> None:
    worker = start_worker("-t", "2").wait_until_ready()
    stuck = tasks.sleep_through.enqueue(str(tmp_path / "notes"))
    neighbour = tasks.ledgered.enqueue(str(ledger.path), 2.0)
    wait_for_end(worker, stuck, neighbour)
    assert (neighbour.state, neighbour.attempts) == (State.SUCCESSFUL, 1)
    assert (stuck.state, stuck.attempts) == (State.FAILED, 2)
    pids = (tmp_path / "notes").read_text().split()[1::2]
    assert len(set(pids)) == 2, "the second run is in another process"


def test_a_call_that_holds_the_interpreter_past_its_limit_is_killed(start_worker: Start) -> None:
    job = tasks.hold_the_interpreter.enqueue()
    worker = start_worker("-t", "1")
    wait_for_end(worker, job)
    assert (job.state, job.attempts, job.errors[0].exception_class_path) == (State.FAILED, 1, TIMEOUT)
    assert tasks.add.enqueue(1).get(timeout=10) == 3


def test_an_interrupted_transaction_is_rolled_back_and_its_connection_closed(start_worker: Start) -> None:
    worker = start_worker("-t", "1").wait_until_ready()
    job = tasks.interrupt_my_transaction.enqueue("mail")
    wait_for_end(worker, job)
    assert job.errors[0].exception_class_path == TIMEOUT
    assert not PausedQueue.objects.exists()
    assert tasks.is_paused.enqueue("mail").get(timeout=10) is False


def test_a_limit_that_is_reached_as_a_job_ends_harms_no_other(start_worker: Start) -> None:
    jobs = tasks.near_its_limit.enqueue_many([()] * 300)
    worker = start_worker("-t", "4")
    wait_for_end(worker, *jobs)
    assert {job.state for job in jobs} <= {State.SUCCESSFUL, State.FAILED}
    assert {error.exception_class_path for job in jobs for error in job.errors} <= {TIMEOUT}
    assert {job.attempts for job in jobs} == {1}
    assert [tasks.add.enqueue(n).get(timeout=10) for n in range(8)] == [n + 2 for n in range(8)]
    assert "Exception in thread" not in worker.output


def test_a_running_job_is_cancelled_within_two_seconds(start_worker: Start, ledger: Ledger) -> None:
    worker = start_worker("-t", "4").wait_until_ready()
    jobs = [
        tasks.wait_for_cancel.enqueue(),
        tasks.spin_without_limit.enqueue(),
        tasks.ledgered.enqueue(str(ledger.path), 60.0),
        tasks.anap.enqueue(60.0),
    ]
    wait_for(lambda: all((job.refresh(), job.state is State.RUNNING)[1] for job in jobs))
    asked_at = time.monotonic()
    for job in jobs:
        assert job.cancel(reason="enough")
    waits = {}
    while len(waits) < len(jobs):
        for job in jobs:
            if job.id not in waits and has_ended(job):
                waits[job.id] = time.monotonic() - asked_at
        assert time.monotonic() - asked_at < 30, worker.output
    assert {job.state for job in jobs} == {State.CANCELLED}
    assert jobs[0].reason == "it was noticed"
    assert max(waits.values()) < 4, "two seconds on a machine that does nothing else"
    assert tasks.add.enqueue(1).get(timeout=10) == 3


def test_a_job_that_was_not_started_in_time_expires(start_worker: Start) -> None:
    stale, fresh = tasks.soon_stale.enqueue(), tasks.add.enqueue(1)
    if connection.vendor == "sqlite":
        wait_for(lambda: (time.time() - stale.enqueued_at.timestamp()) > 0.1)
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.1)" if connection.vendor == "postgresql" else "SELECT SLEEP(0.1)")
    worker = start_worker("--burst")
    assert worker.wait() == 0, worker.output
    stale.refresh()
    fresh.refresh()
    assert (stale.state, stale.reason, fresh.state) == (State.EXPIRED, "it had not started in time", State.SUCCESSFUL)
